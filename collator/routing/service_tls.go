package routing

import (
	"slices"
	"strings"
	"time"

	"relay/certs"
	"relay/internal/hostname"
	"relay/sources"
)

// AsksForCertificates reports whether clients of a service whose TLS Envoy ends are asked for one.
func AsksForCertificates(t *sources.ServiceTLS) bool { return t.ClientCA != "" || t.Refused }

// CountsOnMore says what instances of a port count on, if they get connections as another port has them;
// empty if nothing is missing.
func CountsOnMore(port, as sources.Port) string {
	wanted, given := serviceTLSOf(port), serviceTLSOf(as)
	if headers := toldMore(port, as); headers != "" {
		return "it is told who somebody is by " + headers + ", which clients could send themselves"
	}
	switch {
	case wanted == nil:
		return ""
	case AsksForCertificates(wanted) && !wanted.OptionalCertificate && (given == nil || !AsksForCertificates(given) || given.OptionalCertificate && !given.Refused):
		return "its clients must show certificates"
	case toldWho(port) && (given == nil || !toldWho(as)):
		return "it is told who connects, in the header of the PROXY protocol"
	}
	return ""
}

// toldMore returns the headers that tell instances of a port who somebody is, and that would reach them as a client
// sends them if requests came as another port has them.
func toldMore(port, as sources.Port) string {
	if IsTCP(port) || port.HTTP == nil || port.HTTP.SignOn == nil || port.HTTP.Closed {
		return ""
	}
	var given []string
	if !IsTCP(as) && as.HTTP != nil {
		switch {
		case as.HTTP.Closed:
			return ""
		case as.HTTP.SignOn != nil:
			given = as.HTTP.SignOn.Told()
		}
	}
	more := slices.DeleteFunc(port.HTTP.SignOn.Told(), func(name string) bool { return slices.Contains(given, name) })
	return strings.Join(more, ", ")
}

// OtherAccess reports whether an app lets others in than another one does, and both are not of one tenant: requests
// would come past what one of them asks for.
func OtherAccess(app, other *sources.App) bool {
	if sources.TopFolder(app.ID) == sources.TopFolder(other.ID) {
		return false
	}
	for i := range min(len(app.Ports), len(other.Ports)) {
		a, b := httpOf(app.Ports[i]), httpOf(other.Ports[i])
		if !sameAccess(a, b) || a.SignOn != nil {
			return true
		}
	}
	return false
}

func httpOf(port sources.Port) (h sources.HTTP) {
	if port.HTTP != nil {
		h = *port.HTTP
	}
	return h
}

func serviceTLSOf(port sources.Port) *sources.ServiceTLS {
	if port.TCP == nil {
		return nil
	}
	return port.TCP.ServiceTLS
}

// toldWho reports whether instances get version 2 of the PROXY protocol's header.
func toldWho(port sources.Port) bool { return port.Upstream != nil && port.Upstream.ProxyProtocol == 2 }

// Chains are the filter chains of a service whose TLS Envoy ends: one for each server name, and at the
// end the one for clients that ask for no name, or for another one.
func (s Service) Chains() []ServiceChain {
	chains := make([]ServiceChain, 0, len(s.ServerNames)+1)
	for _, name := range append(slices.Clone(s.ServerNames), "") {
		chains = append(chains, ServiceChain{s.Cluster(), name})
	}
	return chains
}

// ServiceChain is a filter chain of a service whose TLS Envoy ends. Its secrets are the service's, and
// not those of the store: which certificates are in them changes, and the chain does not.
type ServiceChain struct {
	cluster string
	// ServerName is the one that clients ask for; empty for all others.
	ServerName string
}

const (
	serviceCertPrefix    = "service-cert/"
	serviceClientsPrefix = "service-clients/"
	// secondKey ends the name of a secret with the second certificate. No server name has a space.
	secondKey = " rsa"
	// anyName stands for no server name.
	anyName = "*"
)

// Name is that of the filter chain.
func (c ServiceChain) Name() string {
	if c.ServerName == "" {
		return "service/" + c.cluster
	}
	return "service/" + c.cluster + "/" + c.ServerName
}

// Secrets are those of its certificates: with an ECDSA key, and with an RSA key. If there is only
// one, both have it: a chain that named one would be another chain when a second comes.
func (c ServiceChain) Secrets() [2]string {
	name := c.ServerName
	if name == "" {
		name = anyName
	}
	first := serviceCertPrefix + c.cluster + "/" + name
	return [2]string{first, first + secondKey}
}

// ClientsSecret is the name of the secret that says which certificates of clients a service takes.
func ClientsSecret(cluster string) string { return serviceClientsPrefix + cluster }

// SecretOfService returns the cluster of a service's secret, and the chain that shows it; no chain for a
// ClientsSecret. ok is false for any other secret.
func SecretOfService(secret string) (cluster string, chain *ServiceChain, ok bool) {
	if cluster, ok = strings.CutPrefix(secret, serviceClientsPrefix); ok {
		return cluster, nil, true
	}
	rest, ok := strings.CutPrefix(strings.TrimSuffix(secret, secondKey), serviceCertPrefix)
	// Server names have no slash, and ids of apps may have some.
	i := strings.LastIndexByte(rest, '/')
	if !ok || i < 0 {
		return "", nil, false
	}
	chain = &ServiceChain{rest[:i], rest[i+1:]}
	if chain.ServerName == anyName {
		chain.ServerName = ""
	}
	return chain.cluster, chain, true
}

// IsClientsSecret reports whether a secret is a ClientsSecret.
func IsClientsSecret(secret string) bool { return strings.HasPrefix(secret, serviceClientsPrefix) }

// ServiceSecrets are all secrets of a service whose TLS Envoy ends; none for any other service.
func (s Service) ServiceSecrets() (secrets []string) {
	if s.TLS == nil {
		return nil
	}
	for _, chain := range s.Chains() {
		names := chain.Secrets()
		secrets = append(secrets, names[:]...)
	}
	if AsksForCertificates(s.TLS) {
		secrets = append(secrets, ClientsSecret(s.Cluster()))
	}
	return secrets
}

// Shown are the certificates that clients of a service are shown for a server name.
type Shown struct {
	// First has an ECDSA key if there is one, and Second an RSA key. Both are the same if there is
	// only one, and nil if there is none.
	First, Second *certs.Certificate
	// Reason is why clients do not accept them; empty if they do.
	Reason string
}

// Certificate is First or Second.
func (s Shown) Certificate(i int) *certs.Certificate {
	if i == 0 {
		return s.First
	}
	return s.Second
}

// certificateFor finds the certificates for a server name, as clients of HTTPS are shown them: those of
// the exact name, or of the wildcard over it. It returns none if there is none.
func (f *Fleet) certificateFor(s certs.Selection, name string, now time.Time) Shown {
	_, wildcard := hostname.CutWildcard(name)
	for i, candidate := range hostname.Candidates(name) {
		// Clients refuse a wildcard two levels up (RFC 6125, section 6.4.3).
		if i > 1 || i == 1 && wildcard || !f.HasServerName(candidate) {
			continue
		}
		first, second := s.Winners[candidate], s.Seconds[candidate]
		if first == nil && !f.HasServerName(hostname.WildcardOver(candidate)) {
			first = s.LeftToWildcard[candidate]
		}
		if first == nil {
			continue
		}
		return inOrder(first, second, now)
	}
	return Shown{Reason: "no certificate covers it"}
}

func inOrder(first, second *certs.Certificate, now time.Time) Shown {
	shown := Shown{First: first, Second: second}
	switch {
	case second == nil:
		shown.Second = first
	case second.Kind == certs.ECDSA:
		shown.First, shown.Second = second, first
	}
	switch first.ValidAt(now) {
	case certs.Expired:
		shown.Reason = "the certificate " + SecretName(first) + " has expired"
	case certs.NotYetValid:
		shown.Reason = "the certificate " + SecretName(first) + " is not valid yet"
	}
	return shown
}

// ShownBy returns the certificates of a chain of a service. Where there is none for its name, that for
// clients without a name is shown: they see which name it has. Devices often ask for no name: they are shown
// that of the service's first name that is no wildcard, and without one the default certificate.
func (f *Fleet) ShownBy(s certs.Selection, service Service, serverName string, now time.Time) Shown {
	reason := ""
	if serverName != "" {
		shown := f.certificateFor(s, serverName, now)
		if shown.First != nil {
			return shown
		}
		reason = shown.Reason
	}
	byDefault := Shown{Reason: "there is no certificate"}
	if s.Default != nil {
		byDefault = inOrder(s.Default, s.DefaultSecond, now)
	}
	for _, name := range wildcardsLast(service.ServerNames) {
		if shown := f.certificateFor(s, name, now); shown.First != nil {
			byDefault = shown
			break
		}
	}
	if reason != "" {
		byDefault.Reason = reason
	}
	return byDefault
}

func wildcardsLast(names []string) []string {
	isWildcard := func(name string) int {
		if _, ok := hostname.CutWildcard(name); ok {
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return isWildcard(a) - isWildcard(b) })
}
