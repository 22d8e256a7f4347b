// Package routing says what a fleet of Envoys does with the apps: which app port gets
// the requests of a domain, the connections to a TCP port, or the TLS of a server
// name, and which certificate answers for which name. It knows no message of Envoy, and
// keeps nothing: all of it is a function of apps, certificates and the options of a
// fleet.
package routing

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Fleet is the Envoys of one group, which all get the same resources.
type Fleet struct {
	// Name is the group in the apps' HAPROXY_GROUP label, and node.cluster of
	// the Envoys.
	Name string
	// HTTP is what the http listener binds, and HTTPS the https listener; the
	// zero value of HTTPS means that the fleet has none.
	HTTP, HTTPS netip.AddrPort
	// HTTPSPublicPort is the port by which clients reach the https listener; 443
	// when 0.
	HTTPSPublicPort uint16
	// TLS is how the https listener meets clients.
	TLS DownstreamTLS
	// ACMEApp is the id of the app whose port 0 answers ACME challenges. New sets
	// that of the Config.
	ACMEApp string
	// ClustersOnDemand lets each Envoy load a cluster when the first request
	// needs it: for very many apps, most of them idle. Its bootstrap must not
	// subscribe to clusters.
	ClustersOnDemand bool
	// ServerNames are those whose certificates the Envoys get, so that none has the
	// private keys of another fleet's: domains, or wildcards for all names below,
	// as hostname.Domain writes them. All when empty.
	ServerNames []string
	// CertificatesOnDemand lets each Envoy that can load a certificate when the
	// first client asks for it, by the Resolver in a Change: for thousands of
	// certificates. Envoys that cannot get a filter chain for each, as without it.
	CertificatesOnDemand bool
	// UpstreamCA holds the certificates, in PEM, of the authorities of apps that
	// take TLS and ask to be verified.
	UpstreamCA []byte
	// TCP says which TCP services are opened.
	TCP TCPServices
	// ReservedPorts are not given to TCP services: what listens there is none of
	// the apps' business. Those of HTTP and HTTPS need not be among them.
	ReservedPorts []uint16
	Options       Options
}

// TCPServices says which ports of apps a fleet opens as TCP services.
type TCPServices string

// The choices; the zero value is TCPLabelled.
const (
	// TCPLabelled opens those that ask for it.
	TCPLabelled TCPServices = "labels"
	// TCPAll opens the service ports of all ports that are not HTTP too.
	TCPAll TCPServices = "all"
	// TCPNone opens none.
	TCPNone TCPServices = "off"
)

// Options tune what Envoy does with connections and requests. Start from
// DefaultOptions: zero is a value of its own.
type Options struct {
	// StreamIdleTimeout ends requests and WebSockets on which nothing moved for
	// that long; 0 never does.
	StreamIdleTimeout time.Duration
	// RequestHeadersTimeout is how long a client may take to send the head of a
	// request; 0 is without limit.
	RequestHeadersTimeout time.Duration
	// ConnectTimeout is how long connecting to an endpoint may take.
	ConnectTimeout time.Duration
	// UpstreamIdleTimeout closes unused connections to endpoints; 0 never does.
	UpstreamIdleTimeout time.Duration
	// Retries is how often a request that cannot have reached the app is sent to
	// another endpoint.
	Retries uint32
}

// DefaultOptions returns what suits most fleets.
func DefaultOptions() Options {
	return Options{
		StreamIdleTimeout:     time.Hour,
		RequestHeadersTimeout: 15 * time.Second,
		ConnectTimeout:        3 * time.Second,
		// Below the keep-alive of common app servers (Node.js and many others
		// close after 5 s), so that Envoy never sends a request on a connection
		// which the app is closing.
		UpstreamIdleTimeout: 4 * time.Second,
		Retries:             2,
	}
}

func (f *Fleet) HasHTTPS() bool { return f.HTTPS.IsValid() }

func (f *Fleet) Check() error {
	switch o := f.Options; {
	case f.Name == "":
		return errors.New("has no name")
	case !f.HTTP.IsValid():
		return errors.New("has no address for http")
	case f.HTTP == f.HTTPS:
		return fmt.Errorf("has %s for both http and https", f.HTTP)
	case o.ConnectTimeout <= 0:
		return fmt.Errorf("connect timeout is %s: it must be positive", o.ConnectTimeout)
	case !slices.Contains([]TCPServices{"", TCPLabelled, TCPAll, TCPNone}, f.TCP):
		return fmt.Errorf("opens %q TCP services: use labels, all or off", f.TCP)
	case len(f.UpstreamCA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(f.UpstreamCA):
		return errors.New("has authorities for connections to apps that are not certificates in PEM")
	case min(o.StreamIdleTimeout, o.RequestHeadersTimeout, o.UpstreamIdleTimeout) < 0:
		return errors.New("has a negative timeout")
	}
	return f.checkTLS()
}

// RedirectPort is the port in redirects; 0 when there is nothing to redirect to.
func (f *Fleet) RedirectPort() uint32 {
	if !f.HasHTTPS() {
		return 0
	}
	return uint32(cmp.Or(f.HTTPSPublicPort, 443))
}
