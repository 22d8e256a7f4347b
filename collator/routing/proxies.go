package routing

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Proxies are the balancers and other proxies between clients and the Envoys of a fleet. The
// zero value is for a fleet that clients connect to themselves.
type Proxies struct {
	// Networks are those that the proxies connect from. From there, what x-forwarded-for and
	// x-forwarded-proto say is believed; from everywhere else it is not.
	Networks []netip.Prefix
	// Protocol says whether their connections begin with a header of the PROXY protocol.
	Protocol ProxyProtocol
}

// ProxyProtocol says what the connections to the http and https listeners of a fleet begin
// with. See https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
type ProxyProtocol string

// The choices; the zero value is ProxyProtocolOff.
const (
	// ProxyProtocolOff takes connections without the header.
	ProxyProtocolOff ProxyProtocol = "off"
	// ProxyProtocolRequired takes only connections from the networks of the proxies, and
	// with the header, of version 1 or 2.
	ProxyProtocolRequired ProxyProtocol = "required"
)

// Trusted reports whether there are proxies to believe.
func (p Proxies) Trusted() bool { return len(p.Networks) > 0 }

// RequiresProtocol reports whether connections without the header of the PROXY protocol are
// refused.
func (p Proxies) RequiresProtocol() bool { return p.Protocol == ProxyProtocolRequired }

// Check returns what makes the settings unusable.
func (p Proxies) Check() error {
	for _, network := range p.Networks {
		switch {
		case !network.IsValid() || network.Addr().Is4In6():
			return fmt.Errorf("has the trusted proxies %s: use a network such as 10.0.0.0/8 or fd00::/8", network)
		case network.Bits() == 0:
			return fmt.Errorf("has the trusted proxies %s: every client could claim any address; name the networks of the balancers", network)
		}
	}
	switch {
	case !slices.Contains([]ProxyProtocol{"", ProxyProtocolOff, ProxyProtocolRequired}, p.Protocol):
		return fmt.Errorf("has proxy-protocol: %s: use %s or %s", p.Protocol, ProxyProtocolOff, ProxyProtocolRequired)
	case p.RequiresProtocol() && !p.Trusted():
		return errors.New("requires the PROXY protocol of nobody: give trusted-proxies")
	}
	return nil
}

// OffersHTTPS reports whether clients reach the fleet by HTTPS: at its https listener, or at
// a trusted proxy that ends their TLS, of which the public port is known.
func (f *Fleet) OffersHTTPS() bool {
	return f.HasHTTPS() || f.Proxies.Trusted() && f.HTTPSPublicPort != 0
}

// PublicHTTPSPort is the port by which clients reach the fleet by HTTPS.
func (f *Fleet) PublicHTTPSPort() uint16 { return cmp.Or(f.HTTPSPublicPort, 443) }

// BelievesProxies reports whether a trusted proxy may say that a request came by HTTPS. Where
// clients must show a certificate it may not: no proxy can show that of the client.
func (f *Fleet) BelievesProxies() bool {
	return f.Proxies.Trusted() && !f.TLS.RequiresCertificates()
}

// overlap reports whether one of two addresses takes connections that are for the other. The
// kernel lets Envoy listen on both, and hands a connection to the one that is more exact.
func overlap(a, b netip.AddrPort) bool {
	if !a.IsValid() || !b.IsValid() || a.Port() != b.Port() || a.Port() == 0 {
		return false
	}
	within := func(all, one netip.Addr) bool {
		return all == netip.IPv6Unspecified() || all == netip.IPv4Unspecified() && one.Is4()
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	return x == y || within(x, y) || within(y, x)
}

// CheckAddresses returns which listeners have the same address.
func (f *Fleet) CheckAddresses() error {
	switch {
	case f.HTTP.IsValid() && f.HTTP == f.HTTPS:
		return fmt.Errorf("has %s for both http and https", f.HTTP)
	case f.Health.IsValid() && (f.Health == f.HTTP || f.Health == f.HTTPS):
		return fmt.Errorf("has %s for health and for clients", f.Health)
	case overlap(f.HTTP, f.HTTPS):
		return fmt.Errorf("has %s for http and %s for https: one of them is part of the other", f.HTTP, f.HTTPS)
	case overlap(f.Health, f.HTTP):
		return fmt.Errorf("has %s for health and %s for clients: one of them is part of the other", f.Health, f.HTTP)
	case overlap(f.Health, f.HTTPS):
		return fmt.Errorf("has %s for health and %s for clients: one of them is part of the other", f.Health, f.HTTPS)
	case f.Health.IsValid() && f.Health.Port() == 0:
		return errors.New("has port 0 for health: give a port")
	}
	return nil
}
