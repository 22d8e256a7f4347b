package envoy

import (
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	basicauthv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/basic_auth/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
	"relay/internal/authz"
	"relay/sources"
)

const (
	// passwordLimit is for how long a request waits for Relay to check its password, and passwordTry for
	// one of several Relays, that hangs. Relay answers within 5 s, and the time of one check.
	passwordLimit, passwordTry = 15 * time.Second, 7 * time.Second
	// passwordRetries is how often an Envoy asks again if Relay is away. The pauses are random, and grow from 50 ms
	// to twice as much each time: in all about 6 s, in which Relay may be started anew.
	passwordRetries = 8
)

// basicAuth has Envoy check passwords.
func basicAuth(a *sources.BasicAuth) *basicauthv3.BasicAuth {
	var lines []string
	for _, u := range a.Users() {
		lines = append(lines, u.Name+":"+string(u.Hash))
	}
	return &basicauthv3.BasicAuth{
		Realm: a.Realm,
		Users: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: strings.Join(lines, "\n")}},
	}
}

// relayPasswords has Relay check the passwords of a rule, as Envoy knows no such hashes. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_authz_filter
//
// Envoy says which app port it is, and has no hash. So a new hash changes no scope, and counts for the next request. Relay is told of no header
// but the one that has the password, and of no body. If it is away nobody is let in: the answer is 503.
func relayPasswords(p *packer, f *routing.Fleet, claim routing.Claim) *extauthzv3.ExtAuthz {
	relay := relayCall(f, relayCluster, passwordLimit, askAnotherRelay(p, passwordRetries, passwordTry))
	relay.InitialMetadata = append(relay.InitialMetadata, &corev3.HeaderValue{Key: authz.PasswordHeader, Value: authz.PasswordOf(claim.Cluster())})
	return &extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services:            &extauthzv3.ExtAuthz_GrpcService{GrpcService: relay},
		AllowedHeaders: &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{
			{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "authorization"}},
		}},
		StatusOnError:              &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		ChargeClusterResponseStats: wrapperspb.Bool(false),
	}
}
