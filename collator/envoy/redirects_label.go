package envoy

import (
	"fmt"
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"relay/sources"
)

// redirectCodes are Envoy's words for the codes of redirects.
var redirectCodes = map[int]routev3.RedirectAction_RedirectResponseCode{
	301: routev3.RedirectAction_MOVED_PERMANENTLY, 302: routev3.RedirectAction_FOUND, 303: routev3.RedirectAction_SEE_OTHER,
	307: routev3.RedirectAction_TEMPORARY_REDIRECT, 308: routev3.RedirectAction_PERMANENT_REDIRECT,
}

// redirectRoute sends what fits a redirect elsewhere. It needs no guard: it keeps nobody out.
func redirectRoute(redirect sources.Redirect, m ruleMatch) *routev3.Route {
	match := m.match()
	if redirect.Scheme != "" {
		match.Headers = append(match.Headers, schemeIs(redirect.Scheme))
	}
	if redirect.Host != "" {
		match.Headers = append(match.Headers, headerFits(":authority", anyHostPort(redirect.Host)))
	} else if isLocal(redirect) {
		// Envoy takes anything for a port. Of shop.test:80@evil.test, the location would be at another host.
		match.Headers = append(match.Headers, headerFits(":authority", "[A-Za-z0-9_.-]*(?::[0-9]*)?"))
	}
	if redirect.Path != "" {
		// A route has one condition on the path without its query. So the path of the rule is compared
		// with the whole of it.
		if m.path != (sources.Path{Prefix: "/"}) {
			match.Headers = append(match.Headers, pathIs(m.path))
		}
		match.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: anyRegex(redirect.Path)}
		match.CaseSensitive = nil
	}
	return &routev3.Route{
		Match:                match,
		Action:               &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{ResponseCode: redirectCodes[redirect.Code]}},
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{headerOption("location", locationFormat(redirect), corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)},
	}
}

// isLocal reports whether a redirect leads to the host of the request.
func isLocal(redirect sources.Redirect) bool { return strings.HasPrefix(redirect.Target, "/") }

// anyHostPort matches a host as clients may write it.
func anyHostPort(host string) string { return `(?i:` + host + `)\.?(?::[0-9]*)?` }

func headerFits(name, pattern string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
		MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: anyRegex(pattern)},
	}}}
}

// pathIs compares the path and query of a request with the path of a rule.
func pathIs(path sources.Path) *routev3.HeaderMatcher {
	pattern := regexp.QuoteMeta(path.Prefix) + ".*"
	switch {
	case path.Pattern != "":
		pattern = "(?:" + path.Pattern + ")" + anyQuery
	case path.Exact:
		pattern = regexp.QuoteMeta(path.Prefix) + anyQuery
	}
	if path.IgnoreCase {
		pattern = "(?i:" + pattern + ")"
	}
	return headerFits(":path", pattern)
}

// locationFormat is what Envoy makes the location of a redirect of. A path gets the origin of the request: with what
// a client put into its own path, "//evil.test" would be another host.
func locationFormat(redirect sources.Redirect) string {
	var format strings.Builder
	if isLocal(redirect) {
		format.WriteString("%REQ(x-forwarded-proto)%://%REQ(:authority)%")
	}
	hosts := groupsOf(redirect.Host)
	for rest := redirect.Target; rest != ""; {
		text, after, found := strings.Cut(rest, `\`)
		format.WriteString(plainText(text))
		if !found || after == "" {
			break
		}
		group := int(after[0] - '0')
		rest = after[1:]
		if group <= hosts {
			format.WriteString(extract("request.host", "^"+anyHostPort(redirect.Host)+"$", group))
		} else {
			format.WriteString(extract("request.url_path", "^(?:"+redirect.Path+")$", group-hosts))
		}
	}
	if !redirect.DropQuery {
		format.WriteString(extract("request.path", `^[^?]*(\?.*)$`, 1))
	}
	return format.String()
}

// groupsOf returns how many groups an expression has; none if it is none.
func groupsOf(pattern string) int {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return 0
	}
	return re.NumSubexp()
}

// extract is a command that writes a group of an expression, or nothing; 0 is all that it matches.
func extract(attribute, pattern string, group int) string {
	return "%CEL(re.extract(" + attribute + ", " + celText(pattern) + ", " + celText(fmt.Sprintf(`\%d`, group)) + "))%"
}

// celText writes a text as a literal of CEL. All but letters, digits and slashes are escaped, so that nothing in it ends the literal, or the
// command that it is in.
func celText(text string) string {
	var quoted strings.Builder
	quoted.WriteByte('\'')
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '/', c == '-', c == '.':
			quoted.WriteByte(c)
		default:
			fmt.Fprintf(&quoted, `\x%02x`, c)
		}
	}
	quoted.WriteByte('\'')
	return quoted.String()
}
