package envoy

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"relay/collator/routing"
	"relay/sources"
)

// Apps get paths as clients send them, as with HAProxy: some have // or %2F in names. So
// Envoy's normalize_path and merge_slashes stay off, and what a path means to an app may
// differ from what it means to Envoy. These are parts of such paths, as regular expressions.
const (
	// slash is what some apps take for one.
	slash = `(?:[/\\]|%2[fF]|%5[cC])`
	dot   = `(?:\.|%2[eE])`
	// parameters begin at a semicolon. Java takes them off each segment. A proxy inside an app may
	// decode the semicolon first.
	parameters = `(?:(?:;|%3[bB])[^/\\]*)?`
	// gap is a slash and segments that mean nothing.
	gap = slash + `(?:` + dot + `?` + parameters + slash + `)*`
	// climb is a path with a segment "..".
	climb = `.*` + slash + dot + dot + parameters + `(?:` + slash + `.*)?`
)

// maxGuardPattern is how long a pattern made of these parts may be so that Envoy takes it
// without being told that it is large.
const maxGuardPattern = 150

// ruleMatch is what decides whether a rule takes a request.
type ruleMatch struct {
	path sources.Path
	// guard takes the paths that an app may take for one with the prefix.
	guard bool
	// scheme, if there is one, is that of the requests it takes: "http" or "https".
	scheme string
	// and is what the request must be like besides.
	and sources.Match
}

// refuseClimbing answers 400 to paths with a segment "..": by it they could lead from a
// path that everybody may ask for to any other. Browsers and libraries resolve such
// segments before they ask.
func refuseClimbing() *routev3.Route {
	return &routev3.Route{Match: &routev3.RouteMatch{PathSpecifier: pathRegex(climb)}, Action: answer(badRequest)}
}

// refuseRaw answers 400 to paths with bytes beyond ASCII, which must be encoded, and which Envoy
// refuses by HTTP/1 itself. Expressions of Envoy 1.36 to 1.38 match no byte that is not UTF-8. So
// with one a path would get by refuseClimbing, and by the guard of a prefix.
func refuseRaw() *routev3.Route {
	return &routev3.Route{Action: answer(badRequest), Match: &routev3.RouteMatch{
		PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"},
		Headers: []*routev3.HeaderMatcher{{
			Name: ":path", InvertMatch: true,
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regexMatcher(`[\x00-\x7f]*`, false)},
			}},
		}},
	}}
}

func pathRegex(pattern string) *routev3.RouteMatch_SafeRegex {
	return &routev3.RouteMatch_SafeRegex{SafeRegex: regexMatcher(pattern, len(pattern) > maxGuardPattern)}
}

// guardPattern matches the paths that an app may take for one that begins with the prefix, or if the
// prefix is the whole path, for that. The prefix itself may be encoded.
func guardPattern(path sources.Path) string {
	prefix := path.Prefix
	if decoded, err := url.PathUnescape(prefix); err == nil {
		prefix = decoded
	}
	var pattern strings.Builder
	if path.IgnoreCase {
		pattern.WriteString("(?i)")
	}
	for i := range len(prefix) {
		switch c := prefix[i]; {
		case c == '/' && i == 0:
			pattern.WriteString(gap)
		case c == '/':
			pattern.WriteString(parameters + gap)
		default:
			pattern.WriteString(character(c, path.IgnoreCase))
		}
	}
	if path.Exact {
		return pattern.String() + parameters
	}
	return pattern.String() + ".*"
}

// character matches a byte of a path, as it is or percent-encoded.
func character(c byte, ignoreCase bool) string {
	var forms []string
	if c < 0x80 {
		forms = append(forms, regexp.QuoteMeta(string(rune(c))))
	}
	forms = append(forms, encoded(c))
	if other := c ^ ('a' - 'A'); ignoreCase && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
		forms = append(forms, encoded(other))
	}
	return "(?:" + strings.Join(forms, "|") + ")"
}

// encoded matches a byte that is percent-encoded.
func encoded(c byte) string {
	var pattern strings.Builder
	for _, digit := range fmt.Sprintf("%02x", c) {
		if digit >= 'a' {
			fmt.Fprintf(&pattern, "[%c%c]", digit, digit-'a'+'A')
			continue
		}
		pattern.WriteRune(digit)
	}
	return "%" + pattern.String()
}

// GuardSize is how many bytes the pattern for a path takes, at most. docs/labels.md has the
// numbers.
func GuardSize(path sources.Path) int {
	return strings.Count(path.Prefix, "/")*len(parameters+gap) + len(path.Prefix)*len(`(?:a|%6[aA]|%4[aA])`)
}

// guardedRoutes returns the routes of a rule, and those for the paths that only an app takes
// for its own, if the rules after it would let these in. They are called like the cluster: of a
// request that Envoy answers itself, access logs have often nothing else of the app.
func (b scopeBuilder) guardedRoutes(p *packer, domain string, r routing.Rule, later []routing.Rule) []*routev3.Route {
	matches := r.HTTP.Match
	if len(matches) == 0 {
		matches = []sources.Match{{}}
	}
	p.fail(checkMatches(r))
	var routes []*routev3.Route
	for _, match := range matches {
		routes = append(routes, b.ruleRoutes(p, domain, r, ruleMatch{path: r.Path, and: match})...)
		if r.Guarded(later) {
			routes = append(routes, b.ruleRoutes(p, domain, r, ruleMatch{path: r.Path, and: match, guard: true})...)
		}
	}
	for _, route := range routes {
		route.Name = cmp.Or(route.Name, r.Targets[0].Cluster)
	}
	if r.Crashed() {
		crashed(routes)
	}
	return routes
}
