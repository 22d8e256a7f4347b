package collator

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config says which fleets there are and what they listen on.
type Config struct {
	Fleets []Fleet
	// ACMEApp is the id of the app whose port 0 answers ACME challenges;
	// "/marathon-acme" when empty.
	ACMEApp string
	// CertificateSources names the sources that call SyncCertificates. Until
	// each has done so, nothing is said about the https listener.
	CertificateSources []string
}

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
	// ClustersOnDemand lets each Envoy load a cluster when the first request
	// needs it: for very many apps, most of them idle. Its bootstrap must not
	// subscribe to clusters.
	ClustersOnDemand bool
	// ServerNames are those whose certificates the Envoys get, so that none has the
	// private keys of another fleet's: domains, or wildcards for all names below,
	// as sources.NormalizeDomain writes them. All when empty.
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

func (f Fleet) hasHTTPS() bool { return f.HTTPS.IsValid() }

// check returns what makes the configuration unusable.
func (c Config) check(publishers map[string]Publisher) error {
	if len(c.Fleets) == 0 {
		return errors.New("no fleet is configured: name at least one group")
	}
	seen := make(map[string]bool)
	for _, f := range c.Fleets {
		if err := f.check(); err != nil {
			return fmt.Errorf("fleet %q: %w", f.Name, err)
		}
		if seen[f.Name] {
			return fmt.Errorf("fleet %q is configured twice", f.Name)
		}
		if publishers[f.Name] == nil {
			return fmt.Errorf("fleet %q has no publisher", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

func (f Fleet) check() error {
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

// httpsPort is the port in redirects; 0 when there is nothing to redirect to.
func (f Fleet) httpsPort() uint32 {
	if !f.hasHTTPS() {
		return 0
	}
	return uint32(cmp.Or(f.HTTPSPublicPort, 443))
}
