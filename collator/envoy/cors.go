package envoy

import (
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"relay/collator/routing"
	"relay/sources"
)

// What is said of other origins is in the headers of routes, since Envoy's own filter takes it from its
// settings for the route, which a filter in a chain of filters does not get.

// allowOrigin is the header that says which origin may read an answer.
const allowOrigin = "access-control-allow-origin"

// corsHeaders are those by which an answer says what pages may do with it: what the app says itself is taken off.
var corsHeaders = []string{allowOrigin, "access-control-allow-credentials", "access-control-expose-headers"}

// preflight answers the question whether a page may ask. Browsers ask it without a password: so it is answered
// to all who may come from where they are. It reaches no app.
func (b scopeBuilder) preflight(p *packer, r routing.Rule, m ruleMatch) *routev3.Route {
	cors := r.HTTP.Shaping.CORS
	match := m.match()
	match.Headers = append(match.Headers,
		&routev3.HeaderMatcher{Name: ":method", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "OPTIONS"},
		}}},
		present("origin"), present("access-control-request-method"))
	route := &routev3.Route{Match: match, Action: answer(noContent), ResponseHeadersToAdd: originHeaders(cors)}
	add := func(name, value string) {
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, headerOption(name, value, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	}
	if len(cors.Methods) > 0 {
		add("access-control-allow-methods", plainText(strings.Join(cors.Methods, ", ")))
	}
	switch {
	case slices.Contains(cors.Headers, "*"):
		// "*" itself would not stand for Authorization, nor for any header with credentials.
		add("access-control-allow-headers", "%REQ(access-control-request-headers)%")
	case len(cors.Headers) > 0:
		add("access-control-allow-headers", plainText(strings.Join(cors.Headers, ", ")))
	}
	if cors.MaxAge != nil {
		add("access-control-max-age", fmt.Sprint(int64(cors.MaxAge.Seconds())))
	}
	c := filterChains{p: p}
	if len(r.HTTP.AllowedNetworks) > 0 {
		c.add("rbac", allowOnly(r.HTTP.AllowedNetworks))
	}
	route.TypedPerFilterConfig = c.perRoute()
	return route
}

func present(name string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}
}

// originHeaders are the headers of all answers to pages.
func originHeaders(cors *sources.CORS) (headers []*corev3.HeaderValueOption) {
	add := func(name, value string, action corev3.HeaderValueOption_HeaderAppendAction) {
		headers = append(headers, headerOption(name, value, action))
	}
	if slices.Contains(cors.Origins, "*") {
		add(allowOrigin, "*", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	} else {
		add(allowOrigin, "%CEL("+originIfAllowed(cors.Origins)+")%", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
		// Caches must not give the answer for one origin to another.
		add("vary", "Origin", corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	}
	if cors.Credentials {
		add("access-control-allow-credentials", "true", corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	if len(cors.ExposeHeaders) > 0 {
		add("access-control-expose-headers", plainText(strings.Join(cors.ExposeHeaders, ", ")), corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	}
	return headers
}

// originIfAllowed is an expression: the origin of the request if it is one of these. Otherwise it is nothing, or fails, as it does without
// an origin, and Envoy adds no header. What Envoy takes to read an expression grows with the words in it, and there is one for each scope.
// So names without a wildcard are looked up. An expression of RE2 would be shorter, but Envoy compiles it for each request.
func originIfAllowed(origins []string) string {
	const origin = "request.headers['origin']"
	var exact, conditions []string
	for _, o := range origins {
		scheme, host, _ := strings.Cut(o, "://")
		if below, wildcard := strings.CutPrefix(host, "*"); wildcard {
			conditions = append(conditions, fmt.Sprintf("(%s.startsWith(%s) && %s.endsWith(%s))", origin, celText(scheme+"://"), origin, celText(below)))
		} else {
			exact = append(exact, celText(o))
		}
	}
	if len(conditions) == 0 {
		pairs := make([]string, len(exact))
		for i, o := range exact {
			pairs[i] = o + ": " + o
		}
		return "{" + strings.Join(pairs, ", ") + "}[" + origin + "]"
	}
	if len(exact) > 0 {
		conditions = append(conditions, origin+" in ["+strings.Join(exact, ", ")+"]")
	}
	return strings.Join(conditions, " || ") + " ? " + origin + " : ''"
}
