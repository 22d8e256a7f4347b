package envoy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/sources"
)

// match makes Envoy's form of what decides whether a rule takes a request. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routematch
func (r ruleMatch) match() *routev3.RouteMatch {
	m := &routev3.RouteMatch{}
	switch {
	case r.guard:
		m.PathSpecifier = pathRegex(guardPattern(r.path))
	case r.path.Pattern != "":
		m.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: regexMatcher(r.path.Pattern, true)}
	case r.path.Exact:
		m.PathSpecifier = &routev3.RouteMatch_Path{Path: r.path.Prefix}
	default:
		m.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: r.path.Prefix}
	}
	if r.path.IgnoreCase && !r.guard {
		m.CaseSensitive = wrapperspb.Bool(false)
	}
	for _, scheme := range []string{r.scheme, r.and.Scheme} {
		if scheme != "" {
			// Envoy overwrites what the client sent: see trustProxies. Proxies write it in any
			// case.
			m.Headers = append(m.Headers, schemeIs(scheme))
		}
	}
	for _, h := range r.and.Headers {
		m.Headers = append(m.Headers, headerMatcher(h))
	}
	for _, q := range r.and.Query {
		if q.Not {
			// Envoy has no parameter that must not be there.
			m.Headers = append(m.Headers, pathMatcher(queryPattern(q), true))
			continue
		}
		m.QueryParameters = append(m.QueryParameters, queryMatcher(q))
	}
	for _, path := range r.and.NotPaths {
		// With all that an app may take for one of these: another rule has them for itself.
		m.Headers = append(m.Headers, pathMatcher(notPathPattern(path), true))
	}
	return m
}

func schemeIs(scheme string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name: forwardedProto,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: scheme}, IgnoreCase: true,
		}},
	}
}

func headerMatcher(f sources.FieldMatch) *routev3.HeaderMatcher {
	m := &routev3.HeaderMatcher{Name: f.Name, InvertMatch: f.Not}
	if f.Value == "" {
		m.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
	} else {
		m.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: stringMatcher(f)}
	}
	return m
}

func queryMatcher(f sources.FieldMatch) *routev3.QueryParameterMatcher {
	m := &routev3.QueryParameterMatcher{Name: f.Name}
	if f.Value == "" {
		m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: true}
	} else {
		m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: stringMatcher(f)}
	}
	return m
}

func stringMatcher(f sources.FieldMatch) *matcherv3.StringMatcher {
	if f.Regex {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regexMatcher(f.Value, true)}}
	}
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: f.Value}}
}

// pathMatcher looks at the path with its query.
func pathMatcher(pattern string, not bool) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: ":path", InvertMatch: not, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
		StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regexMatcher(pattern, true)}},
	}}
}

// anyQuery may follow a path.
const anyQuery = `(?:[?#].*)?`

func queryPattern(f sources.FieldMatch) string {
	value := "(?:=[^&#]*)?"
	switch {
	case f.Regex:
		value = "=(?:" + f.Value + ")"
	case f.Value != "":
		value = "=" + regexp.QuoteMeta(f.Value)
	}
	return `[^?#]*\?(?:[^#]*&)?` + regexp.QuoteMeta(f.Name) + value + `(?:[&#].*)?`
}

func notPathPattern(path sources.Path) string {
	if path.Pattern != "" {
		return "(?:" + path.Pattern + ")" + anyQuery
	}
	return guardPattern(path) + anyQuery
}

// checkMatches says why Envoy would reject the routes of a rule for what requests must be like.
func checkMatches(r routing.Rule) error {
	if len(r.HTTP.Match) > sources.MaxMatches {
		return fmt.Errorf("asks for %d kinds of requests: there may be %d", len(r.HTTP.Match), sources.MaxMatches)
	}
	errs := []error{checkPattern(r.Path.Pattern)}
	for _, m := range r.HTTP.Match {
		if len(m.Headers)+len(m.Query)+len(m.NotPaths) > sources.MaxMatchParts {
			errs = append(errs, fmt.Errorf("asks for more than %d things of a request", sources.MaxMatchParts))
			break
		}
		for _, f := range append(m.Headers[:len(m.Headers):len(m.Headers)], m.Query...) {
			switch {
			case f.Name == "" || len(f.Value) > sources.MaxMatchBytes || strings.ContainsAny(f.Name+f.Value, "\x00\r\n"):
				errs = append(errs, fmt.Errorf("the field %.40q cannot be looked for", f.Name))
			case f.Regex:
				errs = append(errs, checkPattern(f.Value))
			}
		}
		for _, path := range m.NotPaths {
			errs = append(errs, checkPattern(path.Pattern))
		}
	}
	return errors.Join(errs...)
}

func checkPattern(pattern string) error {
	if pattern == "" {
		return nil
	}
	if len(pattern) > sources.MaxMatchBytes {
		return fmt.Errorf("a regular expression of %d bytes is too long", len(pattern))
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return fmt.Errorf("%.40q is no regular expression", pattern)
	}
	return nil
}
