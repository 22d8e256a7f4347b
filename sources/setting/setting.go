// Package setting reads the settings of a port (what the labels after
// HAPROXY_{n}_ and RELAY_{n}_ say about its routes and connections) from text.
// It checks everything that Envoy would refuse: a value that cannot be
// understood costs that setting only, and one that restricts access closes the
// port instead.
package setting

import (
	"maps"
	"slices"
	"strings"

	"relay/sources"
)

// Envoy takes 1000 header fields for a route, some of which Relay needs itself.
const (
	// MaxPaths is the number of paths of a port.
	MaxPaths = 500
	// MaxNetworks is the number of networks that are let in.
	MaxNetworks = 5000
	// MaxHeaders is the number of headers in each of the lists of headers.
	MaxHeaders = 200
)

// Port collects the settings of one port.
type Port struct {
	http     sources.HTTP
	upstream sources.Upstream
	tls      sources.UpstreamTLS
	useTLS   bool
	// hashPolicy overrides what the balancing algorithm says.
	hashPolicy *sources.Hash
	verify     bool
	service    service
	given      map[string]bool
	name       string // of the setting that is read
	problems   sources.Problems
}

// Problem is what is wrong with one setting. It holds no secret.
type Problem struct{ Setting, Reason string }

// New returns the collection of a port without settings.
func New() *Port { return &Port{verify: true} }

type reader = func(p *Port, value string)

// marathonLB holds what reads the value of each label of marathon-lb
// (https://github.com/d2iq-archive/marathon-lb/blob/master/Longhelp.md#other-labels).
var marathonLB = map[string]reader{
	"AUTH":                        (*Port).auth,
	"BACKEND_NETWORK_ALLOWED_ACL": (*Port).networks,
	"BACKEND_WEIGHT":              (*Port).order,
	"BALANCE":                     (*Port).balance,
	"BIND_ADDR":                   (*Port).bindAddress,
	"BIND_OPTIONS":                (*Port).bindOptions,
	"HTTP_BACKEND_PROXYPASS_PATH": func(p *Port, v string) { p.http.StripPrefix = p.path(v) },
	"HTTP_BACKEND_REDIR":          (*Port).rootRedirect,
	"HTTP_BACKEND_REVPROXY_PATH":  func(p *Port, v string) { p.http.LocationPrefix = strings.TrimRight(p.path(v), "/") },
	"MODE":                        (*Port).mode,
	"PATH":                        (*Port).paths,
	"PORT":                        (*Port).listenPort,
	"STICKY":                      func(p *Port, v string) { p.http.Sticky = p.flag(v, false) },
	"USE_HSTS":                    func(p *Port, v string) { p.http.HSTS = p.flag(v, false) },
}

// relay holds Relay's own, named as the fields of Envoy's configuration.
var relay = map[string]reader{
	"CLUSTER_WEIGHT":             (*Port).clusterWeight,
	"CONNECT_TIMEOUT":            (*Port).connectTimeout,
	"HASH_POLICY":                (*Port).readHashPolicy,
	"HTTP2":                      func(p *Port, v string) { p.upstream.HTTP2 = p.flag(v, false) },
	"IDLE_TIMEOUT":               func(p *Port, v string) { p.http.IdleTimeout = p.timeout(v) },
	"MAX_CONNECTIONS":            func(p *Port, v string) { p.upstream.MaxConnections = p.limit(v) },
	"MAX_PENDING_REQUESTS":       func(p *Port, v string) { p.upstream.MaxPendingRequests = p.limit(v) },
	"MAX_REQUESTS":               func(p *Port, v string) { p.upstream.MaxRequests = p.limit(v) },
	"NUM_RETRIES":                (*Port).numRetries,
	"PROXY_PROTOCOL":             (*Port).proxyProtocol,
	"REQUEST_HEADERS_TO_ADD":     func(p *Port, v string) { p.http.RequestHeaders.Add = p.headers(v) },
	"REQUEST_HEADERS_TO_REMOVE":  func(p *Port, v string) { p.http.RequestHeaders.Remove = p.headerNames(v) },
	"RESPONSE_HEADERS_TO_ADD":    func(p *Port, v string) { p.http.ResponseHeaders.Add = p.headers(v) },
	"RESPONSE_HEADERS_TO_REMOVE": func(p *Port, v string) { p.http.ResponseHeaders.Remove = p.headerNames(v) },
	"RETRY_ON":                   (*Port).retryOn,
	"TIMEOUT":                    func(p *Port, v string) { p.http.Timeout = p.timeout(v) },
	"TLS":                        func(p *Port, v string) { p.useTLS = p.flag(v, true) },
	"TLS_PASSTHROUGH":            func(p *Port, v string) { p.service.passthrough = p.flag(v, false) },
	"TLS_SNI":                    (*Port).sni,
	"TLS_VERIFY":                 func(p *Port, v string) { p.verify = strings.TrimSpace(v) == "" || p.flag(v, true) },
}

// MarathonLBNames lists the settings that are marathon-lb's, sorted.
func MarathonLBNames() []string { return slices.Sorted(maps.Keys(marathonLB)) }

// RelayNames lists the settings that are Relay's own, sorted.
func RelayNames() []string { return slices.Sorted(maps.Keys(relay)) }

// Set reads the value of the setting with the given name. It reports whether
// there is such a setting.
func (p *Port) Set(name, value string) bool {
	read, ok := marathonLB[name]
	if !ok {
		read, ok = relay[name]
	}
	if ok {
		p.name = name
		if p.given == nil {
			p.given = make(map[string]bool)
		}
		p.given[name] = true
		if len(value) > sources.MaxSettingBytes {
			p.refuse(sources.MaxSettingBytes, "bytes")
		} else {
			read(p, value)
		}
	}
	return ok
}

// refuse drops a setting of which there is more than is allowed. Where the
// default would open more than was asked for, the port is closed.
func (p *Port) refuse(limit int, of string) {
	switch p.name {
	case "AUTH", "BACKEND_NETWORK_ALLOWED_ACL":
		p.close("has more than %d %s", limit, of)
	case "BIND_ADDR", "PORT":
		p.service.named = true
		fallthrough
	case "BIND_OPTIONS":
		p.service.unusable = true
		p.problem("has more than %d %s: the service is not opened", limit, of)
	case "PATH":
		p.http.Paths = []sources.Path{}
		p.problem("has more than %d %s: no path is served", limit, of)
	case "TLS":
		p.useTLS = true
		p.problem("has more than %d %s: it is taken as true", limit, of)
	default:
		p.problem("is ignored: it has more than %d %s", limit, of)
	}
}

// Finish settles what depends on several settings. What is at its default in
// everything is nil. Problems are in the order in which they were found.
func (p *Port) Finish() (*sources.HTTP, *sources.Upstream, []Problem) {
	if len(p.http.Paths) > 0 && p.http.Order == 0 {
		p.http.Order = 1 // as marathon-lb has it: before the port that takes all paths
	}
	p.finishTLS()
	if p.hashPolicy != nil {
		p.http.Hash = p.hashPolicy
	}
	if p.http.Hash != nil {
		p.upstream.Balance = sources.BalanceHash
	}
	var h *sources.HTTP
	if !p.http.Equal(&sources.HTTP{}) {
		h = &p.http
	}
	var u *sources.Upstream
	if p.upstream != (sources.Upstream{}) {
		u = &p.upstream
	}
	found := p.problems.List()
	problems := make([]Problem, len(found))
	for i, f := range found {
		problems[i] = Problem{f.Subject, f.Reason}
	}
	return h, u, problems
}

func (p *Port) finishTLS() {
	if p.useTLS {
		p.tls.Verify = p.verify
		p.upstream.TLS = &p.tls
		return
	}
	for _, name := range []string{"TLS_SNI", "TLS_VERIFY"} {
		if p.given[name] {
			p.name = name
			p.problem("has no effect without TLS")
		}
	}
}

func (p *Port) problem(format string, args ...any) {
	p.problems.Add(p.name, format, args...)
}

// close makes the port answer 403: it would be open to everyone else.
func (p *Port) close(format string, args ...any) {
	p.http.Closed = true
	p.problem(format+": every request is answered 403, because the port would be open to everyone otherwise", args...)
}

// Bool reads marathon-lb's words for true and false, and 1 and 0; ok is false
// for any other word. The empty text is false.
func Bool(value string) (truth, ok bool) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "t", "yes", "y", "1":
		return true, true
	case "", "false", "f", "no", "n", "0":
		return false, true
	}
	return false, false
}

// flag takes a word that is neither true nor false as doubtful says.
func (p *Port) flag(value string, doubtful bool) bool {
	truth, ok := Bool(value)
	if !ok {
		p.problem("%.40q is taken as %t: write true or false", value, doubtful)
		return doubtful
	}
	return truth
}
