package envoy

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/collator/routing"
	"relay/sources"
)

const (
	// authTimeout is how long an app may take that is asked about requests, and longestAuthTimeout what it may ask for.
	authTimeout, longestAuthTimeout = 5 * time.Second, time.Minute
	// deniedLimit bounds the page by which it refuses a request, in bytes.
	deniedLimit = 64 << 10
)

// signOnFeatures are those by which others say who somebody is. The path of an AuthApp is one that Envoys before 1.38
// do not know, and would ignore.
var signOnFeatures = []feature{
	{"an app that is asked (AUTH_APP)", ChainsSince, true, func(h *sources.HTTP) bool { return h.SignOn != nil && h.SignOn.App != nil }, func(h *sources.HTTP) { h.SignOn = nil }},
	{"a log-in (OIDC)", oidcSince, true, func(h *sources.HTTP) bool { return routing.OIDCOf(h) != nil }, func(h *sources.HTTP) { h.SignOn = nil }},
	{"tokens (JWT)", expressionsSince, true, func(h *sources.HTTP) bool { return h.SignOn != nil && h.SignOn.JWT != nil }, func(h *sources.HTTP) { h.SignOn = nil }},
}

// signOnFilters adds those that find out who somebody is. First of all they take off a request what its client says by
// the names of headers that tell the app so.
func signOnFilters(c *filterChains, f *routing.Fleet, r routing.Rule) {
	s := r.HTTP.SignOn
	if s == nil {
		return
	}
	if told := s.Told(); len(told) > 0 {
		c.add("sign-on", removeHeaders(told))
	}
	if s.JWT != nil {
		addToken(c, f, r)
	}
	if s.App != nil {
		asked := r.References[s.App.AppRef]
		if asked.Gated {
			wakeAsked(c, f, asked.Cluster)
		}
		c.addWaiting("ext_authz", askApp(*s.App, asked.Cluster))
	}
}

// removeHeaders takes headers off a request, also in the spellings that apps take for the same: X_User for X-User to
// many, and X.User or X~User to those that make names of variables of them, as CGI has them.
func removeHeaders(names []string) *headermutationv3.HeaderMutation {
	var mutations []*mutationrulesv3.HeaderMutation
	for _, name := range names {
		remove := &mutationrulesv3.HeaderMutation{Action: &mutationrulesv3.HeaderMutation_Remove{Remove: name}}
		if separator.MatchString(name) {
			remove.Action = &mutationrulesv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationrulesv3.HeaderMutation_RemoveOnMatch{
				KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: anySpelling(name)}},
			}}
		}
		mutations = append(mutations, remove)
	}
	return &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{RequestMutations: mutations}}
}

// separator is what the name of a header may have beside letters and digits; anySeparator matches any of these.
var separator = regexp.MustCompile("[^0-9a-z]")

const (
	anySeparator = "[!-.^-`|~]"
	// separatorSize is how many instructions it is, at most.
	separatorSize = 6
)

func anySpelling(name string) *matcherv3.RegexMatcher {
	size := instructions(name) + separatorSize*len(separator.FindAllStringIndex(name, -1))
	return regexMatcher(separator.ReplaceAllLiteralString(name, anySeparator), size > maxStripped)
}

// toldAuthApps are the headers of a request that an app is told which is asked about it, beside Authorization. Who
// the client is, and what it asks for, is told by headers that Envoy sets.
var toldAuthApps = []string{"accept", "accept-language", "cookie", "origin", "referer", "user-agent", "x-forwarded-proto", "x-request-id", "x-requested-with"}

// askApp has an app asked whether a request may go on: it does if the answer is 200. Any other answer is that of the
// client, but for those that tell of a fault. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter
func askApp(a sources.AuthApp, cluster string) *extauthzv3.ExtAuthz {
	told := func(name, format string) *corev3.HeaderValue { return &corev3.HeaderValue{Key: name, Value: format} }
	return &extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services: &extauthzv3.ExtAuthz_HttpService{HttpService: &extauthzv3.HttpService{
			ServerUri: &corev3.HttpUri{
				Uri: "http://relay.invalid/", HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: cluster}, Timeout: durationpb.New(cmp.Or(a.Timeout, authTimeout)),
			},
			PathOverride: cmp.Or(a.Path, "/"),
			AuthorizationRequest: &extauthzv3.AuthorizationRequest{HeadersToAdd: []*corev3.HeaderValue{
				told("x-forwarded-method", "%REQ(:METHOD)%"), told("x-forwarded-uri", "%REQ(:PATH)%"), told("x-forwarded-host", "%REQ(:AUTHORITY)%"),
				told("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
			}},
			AuthorizationResponse: &extauthzv3.AuthorizationResponse{
				AllowedUpstreamHeaders:        exactly(a.ResponseHeaders),
				AllowedClientHeadersOnSuccess: exactly([]string{"set-cookie"}),
			},
		}},
		AllowedHeaders:              exactly(append(toldAuthApps[:len(toldAuthApps):len(toldAuthApps)], a.RequestHeaders...)),
		StatusOnError:               &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		ValidateMutations:           true,
		EnforceResponseHeaderLimits: true,
		MaxDeniedResponseBodyBytes:  deniedLimit,
	}
}

func exactly(names []string) *matcherv3.ListStringMatcher {
	if len(names) == 0 {
		return nil
	}
	list := &matcherv3.ListStringMatcher{}
	for _, name := range names {
		list.Patterns = append(list.Patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}, IgnoreCase: true})
	}
	return list
}

// checkSignOn says why Envoy would reject filters of this kind, or not do what they should.
func checkSignOn(s *sources.SignOn) error {
	if s == nil {
		return nil
	}
	for _, name := range s.Told() {
		if err := checkHeader(name); err != nil {
			return err
		}
	}
	if err := checkToken(s.JWT); err != nil {
		return err
	}
	if a := s.App; a != nil {
		if a.Timeout < 0 || a.Timeout > longestAuthTimeout {
			return fmt.Errorf("an app that is asked about requests may take %s: it is %s at most", a.Timeout, longestAuthTimeout)
		}
		if a.Path != "" && (a.Path[0] != '/' || strings.ContainsFunc(a.Path, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' })) {
			return errors.New("an app is asked by a path that is none")
		}
	}
	return nil
}
