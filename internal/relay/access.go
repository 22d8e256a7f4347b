package relay

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"relay/admin"
	"relay/internal/files"
	"relay/internal/secret"
)

func (c *Config) xdsTLS() *serverTLS {
	return &serverTLS{PortTLS: c.XDS.TLS, protocols: []string{"h2"}}
}

func (c *Config) adminTLS() *serverTLS {
	return &serverTLS{
		PortTLS: c.Admin.TLS, protocols: []string{"http/1.1"},
		// Without a certificate, a token or the network may do.
		optionalClient: true,
	}
}

// validatePorts refuses ports that would be open to more than this machine by
// mistake.
func (c *Config) validatePorts() error {
	var errs []error
	errs = append(errs, c.XDS.TLS.validate("xds"), c.Admin.TLS.validate("admin"))
	if !loopback(c.XDS.Address) && c.XDS.TLS.ClientCAFile == "" && !c.XDS.Plaintext {
		errs = append(errs, fmt.Errorf("--xds %s is reachable beyond this machine, and gives the private keys to whoever connects: "+
			"give --xds-cert, --xds-key and --xds-client-ca, or, in a network where that is fine, --xds-insecure-plaintext-beyond-loopback", c.XDS.Address))
	}
	guarded := c.Admin.TLS.CertFile != "" && (c.Admin.TLS.ClientCAFile != "" || c.Admin.TokenFile != "")
	if !loopback(c.Admin.Address) && !guarded && !c.Admin.Open {
		errs = append(errs, fmt.Errorf("--admin %s is reachable beyond this machine: "+
			"give --admin-cert and --admin-key with --admin-token-file or --admin-client-ca, or --admin-insecure-open-beyond-loopback", c.Admin.Address))
	}
	for _, f := range c.Fleets {
		if len(f.Clients) > 0 && c.XDS.TLS.ClientCAFile == "" {
			errs = append(errs, fmt.Errorf("fleet %q names its clients, which only --xds-client-ca can tell apart", f.Name))
		}
	}
	return errors.Join(errs...)
}

// loopback reports whether only this machine can connect to an address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // refused elsewhere
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// access says who may use the admin endpoint.
func (p AdminPort) access() (admin.Access, error) {
	access := admin.Access{
		ClientCertificates: p.TLS.ClientCAFile != "", HookNetworks: p.HookNetworks,
		ThisMachine: loopback(p.Address) && p.TLS.ClientCAFile == "" && p.TokenFile == "",
	}
	if p.TokenFile == "" {
		return access, nil
	}
	if _, err := files.Secret(p.TokenFile); err != nil {
		return access, fmt.Errorf("--admin-token-file: %w", err)
	}
	access.Token = func() secret.String {
		token, err := files.Secret(p.TokenFile)
		if err != nil {
			return "" // which lets nobody in
		}
		return token
	}
	return access, nil
}

// clientRules say which client may be of which fleet.
type clientRules struct {
	tls *serverTLS
	// names, by fleet, are those of which a client must have one; a fleet without
	// takes every client whose certificate was verified.
	names map[string][]string
}

func newClientRules(tls *serverTLS, fleets []Fleet) clientRules {
	rules := clientRules{tls: tls, names: make(map[string][]string)}
	for _, f := range fleets {
		rules.names[f.Name] = f.Clients
	}
	return rules
}

// authorize compares the names in a client's certificate with those of the
// fleet, if the certificate is good still.
func (rules clientRules) authorize(p *peer.Peer, fleet string) error {
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if ok && len(info.State.VerifiedChains) > 0 {
		if err := rules.tls.verifyAgain(info.State.VerifiedChains, time.Now()); err != nil {
			return err
		}
	}
	wanted := rules.names[fleet]
	if len(wanted) == 0 {
		return nil
	}
	if !ok || len(info.State.VerifiedChains) == 0 {
		return fmt.Errorf("fleet %q is for clients with a certificate", fleet)
	}
	leaf := info.State.VerifiedChains[0][0]
	names := slices.Clone(leaf.DNSNames)
	for _, uri := range leaf.URIs {
		names = append(names, uri.String())
	}
	for _, pattern := range wanted {
		if slices.ContainsFunc(names, func(name string) bool { return matchName(pattern, name) }) {
			return nil
		}
	}
	return fmt.Errorf("fleet %q is not for a client named %q", fleet, names)
}

// matchName compares a name with a pattern in which a first label of "*" stands
// for any one label.
func matchName(pattern, name string) bool {
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		_, parent, found := strings.Cut(name, ".")
		return found && strings.EqualFold(parent, rest)
	}
	return strings.EqualFold(pattern, name)
}
