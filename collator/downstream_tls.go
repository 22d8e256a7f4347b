package collator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
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

// downstreamTLS is what a filter chain of the https listener does with a
// connection, whatever certificate it shows. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/transport_sockets/tls/v3/tls.proto
func downstreamTLS(f *Fleet, secret string) *tlsv3.DownstreamTlsContext {
	tls := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{
		TlsParams:                      tlsParameters(f.TLS),
		AlpnProtocols:                  []string{"h2", "http/1.1"},
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secretFromStream(secret)},
	}}
	askForCertificate(tls, f.TLS)
	resumeSessions(tls, f.TLS)
	return tls
}

// tlsParameters leaves the cipher suites of TLS 1.2 to Envoy: its own are those
// with ECDHE and AES-GCM or ChaCha20-Poly1305 only.
func tlsParameters(t DownstreamTLS) *tlsv3.TlsParameters {
	least := tlsv3.TlsParameters_TLSv1_2
	if t.MinVersion == TLS13 {
		least = tlsv3.TlsParameters_TLSv1_3
	}
	return &tlsv3.TlsParameters{TlsMinimumProtocolVersion: least}
}

// secretFromStream has a limit: a secret that Envoy rejects must not hold back
// the listener and every other certificate.
func secretFromStream(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: adsSource(15 * time.Second)}
}
