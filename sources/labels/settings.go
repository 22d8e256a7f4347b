package labels

import (
	"strings"

	"relay/internal/probelabel"
	"relay/internal/problem"
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

// Settings collects what is said about the routes and connections of one port, in
// labels or in a file. It checks everything that Envoy would refuse: a value that
// cannot be understood costs that setting only, and one that restricts access closes
// the port instead.
type Settings struct {
	http     sources.HTTP
	upstream sources.Upstream
	tls      sources.UpstreamTLS
	useTLS   bool
	// hashPolicy overrides what the balancing algorithm says.
	hashPolicy *sources.Hash
	verify     bool
	tcp        tcpSettings
	serviceTLS serviceTLSSettings
	redis      redisSettings
	// isTCP is set by TCP.
	isTCP bool
	queue sources.Queue
	cors  sources.CORS
	asked *probelabel.Label // nil if it is not said how the port is asked
	// authorizer is the app that is asked about requests.
	authorizer sources.AuthApp
	// jwt says which tokens are good.
	jwt sources.JWT
	// usedBy are the apps that may use the port.
	usedBy []string
	// oidc is how people log in, if oidcGiven is set.
	oidc      sources.OIDC
	oidcGiven bool
	// queueLen is the length of the queue; nil if it is not said.
	queueLen *int
	given    map[string]bool // by name
	label    *Label          // that is read
	problems sources.Problems
}

// NewSettings returns the collection of a port without settings.
func NewSettings() *Settings { return &Settings{verify: true} }

// Set reads the value of the setting with the given name, such as BALANCE. It
// reports whether there is such a setting.
func (s *Settings) Set(name, value string) bool {
	l := known.byName[name]
	if l == nil {
		return false
	}
	s.read(l, value)
	return true
}

// Given reports whether the setting with the given name was read.
func (s *Settings) Given(name string) bool { return s.given[name] }

func (s *Settings) read(l *Label, value string) {
	s.label = l
	if s.given == nil {
		s.given = make(map[string]bool)
	}
	s.given[l.name] = true
	if len(value) > sources.MaxSettingBytes {
		s.refuse(sources.MaxSettingBytes, "bytes")
		return
	}
	l.setting(s, value)
}

// refuse drops a setting of which there is more than is allowed.
func (s *Settings) refuse(limit int, of string) {
	switch {
	case s.label.restricts:
		s.close("has more than %d %s", limit, of)
	case s.label.tooLong != nil:
		s.failing("has more than %d %s: %s", limit, of, s.label.tooLong(s))
	default:
		s.problem("is ignored: it has more than %d %s", limit, of)
	}
}

// Finish settles what depends on several settings: what one of them implies, and which
// have no effect without another. What is at its default in everything is nil. Problems
// are in the order in which they were found; their subjects are names of settings.
func (s *Settings) Finish() (*sources.HTTP, *sources.Upstream, []problem.Problem) {
	if len(s.http.Paths) > 0 && s.http.Order == 0 {
		s.http.Order = 1 // as marathon-lb has it: before the port that takes all paths
	}
	s.finishTLS()
	s.finishRequestLimits()
	s.finishShaping()
	s.finishSignOn()
	s.finishOIDC()
	if s.hashPolicy != nil {
		s.http.Hash = s.hashPolicy
	}
	if s.http.Hash != nil {
		s.upstream.Balance = sources.BalanceHash
	}
	var h *sources.HTTP
	if !s.http.Equal(&sources.HTTP{}) {
		h = &s.http
	}
	var u *sources.Upstream
	if s.upstream != (sources.Upstream{}) {
		u = &s.upstream
	}
	return h, u, s.problems.List()
}

func (s *Settings) finishTLS() {
	if s.useTLS {
		s.tls.Verify = s.verify
		s.upstream.TLS = &s.tls
		return
	}
	for _, name := range []string{"TLS_SNI", "TLS_VERIFY"} {
		if s.given[name] {
			s.problemOn(name, "has no effect without TLS")
		}
	}
}

// problem notes what is wrong with the setting that is read.
func (s *Settings) problem(format string, args ...any) {
	s.problemOn(s.label.name, format, args...)
}

// failing is problem for what costs requests.
func (s *Settings) failing(format string, args ...any) {
	s.problems.AddFailing(s.label.name, format, args...)
}

func (s *Settings) problemOn(name, format string, args ...any) {
	s.problems.Add(name, format, args...)
}

// close makes the port answer 403: it would be open to everyone else.
func (s *Settings) close(format string, args ...any) {
	s.http.Closed = true
	s.failing(format+": every request is answered 403, because the port would be open to everyone otherwise", args...)
}

// parseBool reads marathon-lb's words for true and false, and 1 and 0; ok is false
// for any other word. The empty text is false.
func parseBool(value string) (truth, ok bool) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "true", "t", "yes", "y", "1":
		return true, true
	case "", "false", "f", "no", "n", "0":
		return false, true
	}
	return false, false
}

// flag takes a word that is neither true nor false as what ifUnclear says.
func (s *Settings) flag(value string, ifUnclear bool) bool {
	truth, ok := parseBool(value)
	if !ok {
		s.problem("%.40q is taken as %t: write true or false", value, ifUnclear)
		return ifUnclear
	}
	return truth
}
