package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"relay/collator/routing"
	"relay/internal/plural"
	"relay/sources"
)

// handlingWords says what happens to the requests of a rule, where that is not
// the default. Values of headers are left out: they may be secrets.
func handlingWords(f *routing.Fleet, r routing.Rule) []string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	h := r.HTTP
	switch {
	case r.Redirect && f.OffersHTTPS():
		say("plain HTTP is redirected to HTTPS (301)")
	case r.Redirect:
		say("a redirect to HTTPS is asked for, but the fleet has no https listener: plain HTTP is served")
	}
	for _, m := range h.Match {
		say("takes requests %s", matchWords(m))
	}
	if h.Closed {
		say("every request gets 403: a restriction was asked for that cannot be kept")
		return words
	}
	if h.BasicAuth != nil {
		say("a password is asked for (%s)%s", userWords(h.BasicAuth), checkedBy(h.BasicAuth))
	}
	if len(h.AllowedNetworks) > 0 {
		say("only clients from %s are let in, all others get 403", joinNetworks(h.AllowedNetworks))
	}
	words = append(words, signOnWords(f, r)...)
	words = append(words, requestLimitWords(h.RequestLimits)...)
	words = append(words, oidcWords(routing.OIDCOf(&h))...)
	if h.HSTS && f.OffersHTTPS() {
		say("HTTPS answers carry Strict-Transport-Security")
	}
	if h.RootRedirect != "" {
		say("/ itself is redirected to %s (301)", h.RootRedirect)
	}
	if h.StripPrefix != "" {
		say("%s is taken off the path that the app sees", h.StripPrefix)
	}
	if h.LocationPrefix != "" {
		say("%s is put before the path of Location headers", h.LocationPrefix)
	}
	if h.Sticky {
		say("clients stay with their instance, by a cookie of this app port, mesosphere_server_id_…")
	}
	if h.Hash != nil {
		say("the instance is picked by %s", hashWords(*h.Hash))
	}
	return append(append(words, shapingWords(f, h.Shaping)...), limitWords(h)...)
}

// userWords says who is let in with a password.
func userWords(a *sources.BasicAuth) string {
	if n := len(a.More); n > 0 {
		return fmt.Sprintf("user %s and %d more", a.User, n)
	}
	return "user " + a.User
}

// checkedBy says so if Relay checks passwords, without which nobody is let in.
func checkedBy(a *sources.BasicAuth) string {
	if a.EnvoyChecks() {
		return ""
	}
	return ": Relay checks it, as Envoy knows no such hash"
}

func joinNetworks(networks []netip.Prefix) string {
	all := make([]string, len(networks))
	for i, network := range networks {
		all[i] = network.String()
	}
	return strings.Join(all, ", ")
}

func limitWords(h sources.HTTP) []string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if h.Timeout != nil {
		say("answers may take %s", orElse(*h.Timeout, "as long as they want"))
	}
	if h.IdleTimeout != nil {
		words = append(words, idleWords("requests", *h.IdleTimeout))
	}
	if h.MaxStreamDuration > 0 {
		say("requests, streams and WebSockets end after %s", h.MaxStreamDuration)
	}
	if h.NumRetries != nil {
		say("up to %s", plural.Of(*h.NumRetries, "retry", "retries"))
	}
	if len(h.RetryOn) > 0 {
		say("retries on %s", strings.Join(h.RetryOn, ", "))
	}
	for _, edits := range []struct {
		what string
		sources.HeaderEdits
	}{{"requests", h.RequestHeaders}, {"responses", h.ResponseHeaders}} {
		if len(edits.Add) > 0 {
			names := make([]string, len(edits.Add))
			for i, header := range edits.Add {
				names[i] = header.Name
			}
			say("%s get the headers %s", edits.what, strings.Join(names, ", "))
		}
		if len(edits.Remove) > 0 {
			say("%s lose the headers %s", edits.what, strings.Join(edits.Remove, ", "))
		}
	}
	return words
}

func hashWords(h sources.Hash) string {
	switch h.By {
	case sources.HashHeader:
		return "the header " + h.Name
	case sources.HashCookie:
		return "the cookie " + h.Name
	case sources.HashQueryParameter:
		return "the query parameter " + h.Name
	case sources.HashSourceIP:
		return "the client's address"
	case sources.HashPath:
		return "the path"
	case sources.HashPathSegment:
		return fmt.Sprintf("segment %d of the path, and by the whole path where there is none", h.Segment)
	case sources.HashSubdomain:
		return "the first label of the host"
	}
	return "the path and query"
}

var balanceWords = map[sources.Balance]string{
	sources.BalanceRoundRobin:   "instances take turns",
	sources.BalanceLeastRequest: "the instance with the fewest requests is picked",
	sources.BalanceRandom:       "instances are picked at random",
}

// lastingWords says how long connections to a TCP service last.
func lastingWords(tcp sources.TCP) (words []string) {
	if tcp.MaxConnectionAge > 0 {
		words = append(words, fmt.Sprintf("connections end after %s, or up to a tenth later", tcp.MaxConnectionAge))
	}
	if tcp.Rebalance > 0 {
		words = append(words, fmt.Sprintf("if instances have more than their share, up to %g %% of the connections are ended a minute to even them out, each when its client sends something", tcp.Rebalance))
	}
	return words
}

// connectionWords says how Envoy connects to instances, where that is not the
// default.
func connectionWords(port sources.Port, lacksAuthority bool) []string {
	var words []string
	switch {
	case routing.IsTCP(port) && port.TCP.ServiceTLS != nil:
		words = append(words, serviceTLSWords(*port.TCP.ServiceTLS, lacksAuthority)...)
	case routing.IsTCP(port) && port.TCP.Redis != nil:
	case routing.IsTCP(port):
		words = append(words, "TCP mode: connections are passed on as they are")
	case port.TCP != nil:
		words = append(words, fmt.Sprintf("without a domain or a health check by HTTP it counts as TCP: fleets with tcp: all open port %d for it", port.TCP.Port))
	}
	words = append(append(words, redisWords(port.TCP)...), acceptWords(port.TCP)...)
	if routing.IsTCP(port) {
		words = append(words, lastingWords(*port.TCP)...)
	}
	if q := port.Queue; q != nil {
		words = append(words, fmt.Sprintf("with --scaling, an instance has at most %s at one time, and %s for up to %s", plural.Of(q.Concurrency, "request"), plural.Of(q.Length, "more waits", "more wait"), cmp.Or(q.Timeout, sources.DefaultQueueTimeout)))
	}
	u := port.Upstream
	if u == nil {
		return words
	}
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if w := balanceWords[u.Balance]; w != "" {
		say("%s", w)
	}
	if u.TLS != nil {
		verified := "without a look at its certificate"
		if u.TLS.Verify {
			verified = "and its certificate is verified"
		}
		say("by TLS, %s", verified)
		if u.TLS.SNI != "" {
			say("the server name asked for is %s", u.TLS.SNI)
		}
	}
	if u.HTTP2 {
		say("by HTTP/2")
	}
	if u.ProxyProtocol != 0 {
		say("with the header of the PROXY protocol, version %d", u.ProxyProtocol)
	}
	if u.ConnectTimeout != 0 {
		say("connecting may take %s", u.ConnectTimeout)
	}
	if u.EjectAfter != 0 {
		say("an instance that answers with a status of 500 or more %d times in a row is left out for %s, and longer each further time", u.EjectAfter, cmp.Or(u.EjectFor, routing.ShortestEjection))
	}
	for _, limit := range []struct {
		n             uint32
		what, several string
	}{{u.MaxConnections, "connection", "connections"}, {u.MaxPendingRequests, "waiting request", "waiting requests"}, {u.MaxRequests, "request at a time", "requests at a time"}} {
		if limit.n != 0 {
			say("at most %s from each Envoy", plural.Of(limit.n, limit.what, limit.several))
		}
	}
	return words
}

// orElse is a duration, or what it means that there is none.
func orElse(d time.Duration, without string) string {
	if d == 0 {
		return without
	}
	return d.String()
}

// idleWords says when requests or connections on which nothing moves end.
func idleWords(what string, after time.Duration) string {
	if after == 0 {
		return what + " on which nothing moves do not end for that"
	}
	return fmt.Sprintf("%s on which nothing moves end after %s", what, after)
}

func newConnections(n float64) string {
	if n == 1 {
		return "1 new connection"
	}
	return fmt.Sprintf("%g new connections", n)
}

// acceptWords says when connections to a TCP service may begin.
func acceptWords(tcp *sources.TCP) (words []string) {
	if tcp == nil {
		return nil
	}
	if tcp.AcceptRate > 0 {
		words = append(words, fmt.Sprintf("each instance takes %s a second, and the others wait for their turn", newConnections(tcp.AcceptRate)))
	}
	if tcp.Hold > 0 {
		words = append(words, fmt.Sprintf("new connections wait up to %s while there is no instance", tcp.Hold))
	}
	if tcp.AddressRate > 0 {
		words = append(words, fmt.Sprintf("a client may open %s a second, and others are closed", newConnections(tcp.AddressRate)))
	}
	return words
}
