package collator

import (
	"fmt"
	"slices"
	"strings"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
)

// What one app may ask for. The limits are far beyond what people do. They are there so
// that other apps need not wait. docs/labels.md describes them.
const (
	// maxAppSize is how large, in bytes, the configuration of an app in one Envoy
	// may be, without its endpoints.
	maxAppSize = 2 << 20
	// maxDomains is how many domains the ports of an app may claim together. Domains for
	// ACME are counted apart.
	maxDomains = 2000
	// maxDomainBytes is longer than any domain, however it is written.
	maxDomainBytes = 1024
	// maxGroups is how many fleets a port may ask for.
	maxGroups = 100
	// maxEndpoints is how many endpoints the ports of an app have together.
	maxEndpoints = 20_000
	// maxProblems is how many problems are shown of those that a source found in an app.
	// Sources have limits of their own and say how many problems there are beyond them;
	// this one is larger, so that it cuts nothing of that.
	maxProblems = 3 * sources.MaxProblems
	// maxLosses is how many of the paths are shown that a port loses in one domain.
	maxLosses = 10
)

// What things count for, in bytes: about what they take in an Envoy, or more where it
// takes Relay long to make them.
const (
	portSize   = 1000 // a cluster and its endpoints
	domainSize = 600  // a scope
	labelSize  = 200  // a label of a domain, beyond usualDots
	shedSize   = 1000 // the filter that ends connections
	routeSize  = 200
	filterSize = 400 // a filter of a route
	scriptSize = envoy.LocationScriptSize
	entrySize  = 64 // a header or network, besides its text
	// serverNameSize is a filter chain for a server name, with two secrets that have a certificate.
	serverNameSize = 8000
	// redisSize is what answers clients of Redis: a hundred commands, in each filter chain.
	redisSize = 100 << 10
	// expressionSize is a regular expression that matches a name of a client, in part: it takes 6 kB of Envoy.
	expressionSize = 1000
	// clientsSize is a secret with authorities of clients, and their lists of revoked certificates.
	clientsSize = 64 << 10

	// clientsOfLimitSize is less than what Envoys may come to keep of the clients of a route, as few routes
	// have as many clients. It bounds how many such routes an app has, at about 200.
	clientsOfLimitSize = 8000

	// maxLimitedClients is how many clients an Envoy remembers for all routes of an app: in 32 MB, as one takes 1.1 kB at
	// most.
	maxLimitedClients = 28_000

	usualDots = 5
)

// budget is what is left to an app of its limits.
type budget struct {
	size, domains, acmeDomains int
	// externals are the hosts outside that were counted.
	externals map[routing.External]struct{}
}

func newBudget() *budget {
	return &budget{size: maxAppSize, domains: maxDomains, acmeDomains: maxDomains}
}

// limit takes from a port what is over the budget: the last domains in the order of the
// alphabet, or all of the port. The result depends on the app alone.
func (b *budget) limit(port *sources.Port, report func(field, reason string)) {
	if len(port.Groups) == 0 {
		return
	}
	size := portSize + networksSize(*port) + clientNamesSize(*port) + b.externalsSize(*port) + redisChainSize(*port)
	if port.TCP != nil && port.TCP.Rebalance > 0 {
		size += shedSize
	}
	if size > b.size {
		port.Groups = nil
		report("configuration", "is not routed: "+tooLarge)
		return
	}
	b.size -= size
	port.Domains = b.fitting(port.Domains, domainSize+requestSize(*port), "domains", report)
	port.ACMEDomains = b.fitting(port.ACMEDomains, domainSize+routeSize, "ACME domains", report)
}

var tooLarge = fmt.Sprintf("the ports, domains, paths, headers and networks of the app would make more than %d MB in each Envoy, "+
	"where each path counts once for each domain; see the limits in docs/labels.md", maxAppSize>>20)

// fitting returns as many of the first domains as fit into the budget, each of a size,
// and takes that from the budget.
func (b *budget) fitting(domains []string, each int, what string, report func(field, reason string)) []string {
	for i, domain := range domains {
		size := each + max(0, strings.Count(domain, ".")-usualDots)*labelSize
		if size > b.size {
			report("configuration", fmt.Sprintf("%d of %d %s are not routed, from %s on: %s", len(domains)-i, len(domains), what, domain, tooLarge))
			return slices.Clip(domains[:i])
		}
		b.size -= size
	}
	return domains
}

// networksSize is what the allowed networks of a port take in the listener that its
// fleet may open for it.
func networksSize(port sources.Port) int {
	if port.HTTP == nil || port.TCP == nil {
		return 0
	}
	return len(port.HTTP.AllowedNetworks) * entrySize
}

// clientNamesSize is what takes note of which clients of a TCP service are let in.
func clientNamesSize(port sources.Port) int {
	if port.TCP == nil || port.TCP.ServiceTLS == nil || !routing.AsksForCertificates(port.TCP.ServiceTLS) {
		return 0
	}
	return clientsSize + matchersSize(port)
}

// matchersSize is what matches names of clients, which each filter chain of a service has for itself.
func matchersSize(port sources.Port) (size int) {
	for _, name := range port.TCP.ServiceTLS.ClientNames {
		size += entrySize + len(name.Value)
		if name.Type == sources.NameDNS && !name.Prefix {
			size += expressionSize
		}
	}
	return size
}

// redisChainSize is what a filter chain takes that answers clients of Redis.
func redisChainSize(port sources.Port) int {
	if port.TCP == nil || port.TCP.Redis == nil {
		return 0
	}
	size := redisSize
	for _, of := range port.TCP.Redis.Prefixes {
		size += entrySize + len(of.Prefix) + len(of.App.App)
	}
	return size
}

// requestSize is what a port takes for each of its domains.
func requestSize(port sources.Port) int {
	h := port.HTTP
	switch {
	case routing.IsTCP(port) && port.TCP.Passthrough:
		return networksSize(port) + routeSize
	case routing.IsTCP(port) && port.TCP.ServiceTLS != nil:
		return networksSize(port) + serverNameSize + matchersSize(port) + redisChainSize(port)
	case routing.IsTCP(port):
		return networksSize(port)
	case h == nil:
		return routesOf(port) * routeSize
	}
	size := routeSize + handlingSize(*h) + shapingSize(h.Shaping)
	if h.Shaping != nil && len(h.Shaping.Urgent) > 0 {
		size *= 2 // a second route, for the urgent paths
	}
	if h.Paths == nil {
		return routesOf(port)*size*max(1, len(h.Match)) + matchesSize(h.Match)*routesOf(port)
	}
	total := routeSize // that which refuses "..", in each domain
	for _, path := range h.Paths {
		total += routesOf(port) * (max(1, len(h.Match))*(size+len(path.Prefix)+len(path.Pattern)) + matchesSize(h.Match))
		if (routing.Rule{HTTP: *h}).HasGuard() {
			// A second time, for the paths that an app may take for this one.
			total += routesOf(port) * (max(1, len(h.Match))*(size+envoy.GuardSize(path)) + matchesSize(h.Match))
		}
	}
	return total
}

// matchesSize is what all that requests must be like takes, besides the routes.
func matchesSize(matches []sources.Match) (size int) {
	for _, m := range matches {
		size += entrySize
		for _, fields := range [][]sources.FieldMatch{m.Headers, m.Query} {
			for _, f := range fields {
				size += entrySize + 2*len(f.Name) + 2*len(f.Value)
			}
		}
		for _, path := range m.NotPaths {
			size += entrySize + envoy.GuardSize(path) + len(path.Pattern)
		}
	}
	return size
}

// routesOf is how many routes each path of a port has, at most.
func routesOf(port sources.Port) int {
	n := 1
	if port.RedirectToHTTPS || routing.OIDCOf(port.HTTP) != nil {
		n++
	}
	if port.HTTP != nil && port.HTTP.HSTS {
		n++
	}
	return n
}

// oidcBytes is the filter by which people log in, beside what the app says: it has names of cookies and secrets.
const oidcBytes = 8 << 10

func oidcSize(o *sources.OIDC) int {
	if o == nil {
		return 0
	}
	size := oidcBytes + len(o.ClientID) + len(o.AuthorizationEndpoint) + len(o.TokenEndpoint) + len(o.EndSessionEndpoint) + 2*len(o.CallbackPath) + len(o.SignOutPath)
	for _, scope := range o.Scopes {
		size += entrySize + len(scope)
	}
	return size
}

// handlingSize is what a route takes besides its path.
func handlingSize(h sources.HTTP) int {
	size := len(h.AllowedNetworks)*entrySize + len(h.RootRedirect) + 2*len(h.StripPrefix)
	for _, edits := range []sources.HeaderEdits{h.RequestHeaders, h.ResponseHeaders} {
		for _, header := range edits.Add {
			size += entrySize + len(header.Name) + len(header.Value)
		}
		for _, name := range edits.Remove {
			size += entrySize + len(name)
		}
	}
	for _, condition := range h.RetryOn {
		size += len(condition)
	}
	if h.BasicAuth != nil {
		size += len(h.BasicAuth.Realm)
		for _, u := range h.BasicAuth.Users() {
			size += entrySize + len(u.Name) + len(u.Hash)
		}
		if !h.BasicAuth.EnvoyChecks() {
			size += filterSize // it says how Relay is asked
		}
	}
	if h.Hash != nil {
		size += len(h.Hash.Name)
		if h.Hash.By == sources.HashSubdomain {
			size += filterSize // one that finds it, and the policy
		}
	}
	for _, filter := range []bool{len(h.AllowedNetworks) > 0, h.BasicAuth != nil, h.Sticky, h.Hash != nil, h.Closed} {
		if filter {
			size += filterSize
		}
	}
	size += signOnSize(h.SignOn)
	if l := h.RequestLimits; l != nil {
		size += limitsSize(l)
	}
	size += oidcSize(routing.OIDCOf(&h))
	if h.LocationPrefix != "" {
		size += filterSize + scriptSize + len(h.LocationPrefix)
	}
	return size
}

// limitsSize is what the limits of requests take in a route, with what Envoys count of clients.
func limitsSize(l *sources.RequestLimits) int {
	size := 0
	if l.Rate != nil {
		size += filterSize
	}
	if l.PerClient != nil {
		size += 2*filterSize + clientsOfLimitSize + 2*len(l.PerClient.Header)
	}
	if l.MaxBody > 0 {
		size += routeSize + 3*filterSize + envoy.TooLargeSize
	}
	if l.MaxHeaders > 0 {
		size += filterSize + envoy.HeadersScriptSize
	}
	return size
}

// shareClients bounds what Envoys remember of the clients of an app, whoever makes them up: each of its routes that limits
// what a client may ask for has its share. It is halved until all fit, so that one domain more seldom changes the others, whose
// clients would begin anew.
func shareClients(ports []sources.Port) {
	routes := 0
	for _, port := range ports {
		if limitsClients(port) {
			routes += len(port.Domains) * limitedRoutesOf(port)
		}
	}
	each := uint32(envoy.LimitedClients)
	for ; each > 1 && routes*int(each) > maxLimitedClients; each /= 2 {
	}
	if each == envoy.LimitedClients {
		return
	}
	for i := range ports {
		if !limitsClients(ports[i]) {
			continue
		}
		h := *ports[i].HTTP
		limits, perClient := *h.RequestLimits, *h.RequestLimits.PerClient
		perClient.Clients = each
		limits.PerClient, h.RequestLimits, ports[i].HTTP = &perClient, &limits, &h
	}
}

func limitsClients(port sources.Port) bool {
	return port.HTTP != nil && len(port.Groups) > 0 && port.HTTP.RequestLimits != nil && port.HTTP.RequestLimits.PerClient != nil
}

// limitedRoutesOf is how many routes a port has for each of its domains, at most, as requestSize counts them.
func limitedRoutesOf(port sources.Port) int {
	n := 1
	if s := port.HTTP.Shaping; s != nil {
		if len(s.Mirrors) > 0 {
			n *= 3
		}
		if len(s.Urgent) > 0 {
			n *= 2
		}
		n += len(s.Redirects)
	}
	if port.HTTP.RootRedirect != "" {
		n++
	}
	// A path has a second route, for the ways to write it.
	return n * routesOf(port) * max(1, len(port.HTTP.Match)) * max(1, 2*len(port.HTTP.Paths))
}
