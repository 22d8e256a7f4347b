package routing

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// TLSVersion is a version of TLS.
type TLSVersion string

// The versions that can be the least; the zero value is TLS12.
const (
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// DownstreamTLS is how the https listener of a fleet meets its clients. The
// zero value suits most.
type DownstreamTLS struct {
	// MinVersion is the least version that clients may use.
	MinVersion TLSVersion
	// ClientCertificates says whether clients have to show a certificate, of the
	// authorities given by SetClientCA.
	ClientCertificates ClientCertificates
	// SharedTickets has all Envoys of the fleet take each other's session tickets,
	// by the keys given by SetTicketKeys; else each makes keys of its own. It has
	// no effect where clients are asked for certificates: sessions are not resumed
	// there.
	SharedTickets bool
}

func (f *Fleet) checkTLS() error {
	switch t := f.TLS; {
	case !slices.Contains([]TLSVersion{"", TLS12, TLS13}, t.MinVersion):
		return fmt.Errorf("takes TLS %s or newer: use %s or %s", t.MinVersion, TLS12, TLS13)
	case !slices.Contains([]ClientCertificates{"", ClientCertificatesOff, ClientCertificatesOptional, ClientCertificatesRequired}, t.ClientCertificates):
		return fmt.Errorf("asks for %q client certificates: use off, optional or required", t.ClientCertificates)
	case t.AsksForCertificates() && !f.HasHTTPS():
		return errors.New("asks clients for certificates, but has no address for https")
	}
	return nil
}

// ClientCertificates says what a fleet wants of its clients by HTTPS.
type ClientCertificates string

// The choices; the zero value is ClientCertificatesOff.
const (
	// ClientCertificatesOff asks for none.
	ClientCertificatesOff ClientCertificates = "off"
	// ClientCertificatesOptional asks for one, and takes clients without. One
	// that is shown must be good.
	ClientCertificatesOptional ClientCertificates = "optional"
	// ClientCertificatesRequired takes no client without. Plain HTTP is redirected
	// to HTTPS, but for ACME challenges.
	ClientCertificatesRequired ClientCertificates = "required"
)

func (t DownstreamTLS) AsksForCertificates() bool {
	return t.ClientCertificates == ClientCertificatesOptional || t.ClientCertificates == ClientCertificatesRequired
}

func (t DownstreamTLS) RequiresCertificates() bool {
	return t.ClientCertificates == ClientCertificatesRequired
}

// TicketKeyPeriod is how long new session tickets are encrypted by the same key.
const TicketKeyPeriod = 12 * time.Hour
