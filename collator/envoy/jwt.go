package envoy

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	jwtauthnv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/collator/routing"
	"relay/sources"
)

const (
	// keysAge is how old public keys may get before an Envoy reads them again, and keysTimeout how long that may take.
	keysAge, keysTimeout = 5 * time.Minute, 5 * time.Second
	// keysRetry is how soon it tries again after that failed. Until then it goes on with those that it has.
	keysRetry = 10 * time.Second
	// jwtProvider names the one issuer of a route.
	jwtProvider = "issuer"
)

// bearerOnly is where a token is taken from. Without it Envoy would take one from the query, too.
var bearerOnly = []*jwtauthnv3.JwtHeader{{Name: "Authorization", ValuePrefix: "Bearer "}}

// verifyToken lets requests in that have a good token, verified by public keys that are given, or that Envoy reads: in the background, once for all its workers, from
// when it has the route. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/jwt_authn_filter
func verifyToken(f *routing.Fleet, j sources.JWT, keys string) *jwtauthnv3.JwtAuthentication {
	provider := &jwtauthnv3.JwtProvider{
		Issuer: j.Issuer, FromHeaders: bearerOnly, Forward: true, RequireExpiration: true,
	}
	if !slices.Equal(j.Audiences, []string{"*"}) {
		provider.Audiences = j.Audiences
	}
	for _, claim := range j.Claims {
		provider.ClaimToHeaders = append(provider.ClaimToHeaders, &jwtauthnv3.JwtClaimToHeader{HeaderName: claim.Header, ClaimName: claim.Claim})
	}
	if j.Keys != "" {
		provider.JwksSourceSpecifier = &jwtauthnv3.JwtProvider_LocalJwks{LocalJwks: inline(keys)}
		return oneProvider(provider)
	}
	host, path, _ := f.Ask(j.JWKS)
	provider.JwksSourceSpecifier = &jwtauthnv3.JwtProvider_RemoteJwks{RemoteJwks: &jwtauthnv3.RemoteJwks{
		HttpUri: &corev3.HttpUri{
			Uri: host.Scheme + "://" + host.Authority() + path, HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: host.Cluster()}, Timeout: durationpb.New(keysTimeout),
		},
		CacheDuration: durationpb.New(keysAge),
		// No update waits for the keys: an app's issuer must not keep those of others up.
		AsyncFetch: &jwtauthnv3.JwksAsyncFetch{FastListener: true, FailedRefetchDuration: durationpb.New(keysRetry)},
	}}
	return oneProvider(provider)
}

// oneToken is a header that has a token and nothing else. Envoy would find one anywhere in it, and let "bearer OTHER, Bearer GOOD" in:
// an app that takes no care of capitals would read the other one, which nobody verified.
const oneToken = "Bearer [A-Za-z0-9_.=-]+"

// noAudience is one that no token is for.
const noAudience = "nobody.relay.invalid"

func oneProvider(provider *jwtauthnv3.JwtProvider) *jwtauthnv3.JwtAuthentication {
	return &jwtauthnv3.JwtAuthentication{
		Providers: map[string]*jwtauthnv3.JwtProvider{jwtProvider: provider},
		// What no rule matches would be let in: the last one matches any request.
		Rules: []*jwtauthnv3.RequirementRule{
			requires(&routev3.RouteMatch{
				PathSpecifier: &routev3.RouteMatch_Prefix{},
				Headers: []*routev3.HeaderMatcher{{Name: "authorization", HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
					StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regexMatcher(oneToken, false)}},
				}}},
			}, &jwtauthnv3.JwtRequirement{RequiresType: &jwtauthnv3.JwtRequirement_ProviderName{ProviderName: jwtProvider}}),
			requires(&routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{}}, &jwtauthnv3.JwtRequirement{
				RequiresType: &jwtauthnv3.JwtRequirement_ProviderAndAudiences{ProviderAndAudiences: &jwtauthnv3.ProviderWithAudiences{
					ProviderName: jwtProvider, Audiences: []string{noAudience},
				}},
			}),
		},
	}
}

func requires(match *routev3.RouteMatch, what *jwtauthnv3.JwtRequirement) *jwtauthnv3.RequirementRule {
	return &jwtauthnv3.RequirementRule{Match: match, RequirementType: &jwtauthnv3.RequirementRule_Requires{Requires: what}}
}

// checkToken says what would have Envoy take more tokens than it should.
func checkToken(j *sources.JWT) error {
	switch {
	case j == nil:
		return nil
	case j.Issuer == "" || len(j.Audiences) == 0 || slices.Contains(j.Audiences, ""):
		return errors.New("takes tokens, and does not say of which issuer or for whom")
	}
	for _, claim := range j.Claims {
		if claim.Claim == "" || claim.Header == "" {
			return fmt.Errorf("has a claim %.40q in the header %.40q", claim.Claim, claim.Header)
		}
	}
	return nil
}

// addToken adds the filter that verifies tokens. With keys that are given it decides at once.
func addToken(c *filterChains, f *routing.Fleet, r routing.Rule) {
	const name = "jwt_authn"
	j := *r.HTTP.SignOn.JWT
	if j.Keys == "" {
		c.addWaiting(name, verifyToken(f, j, ""))
		return
	}
	keys, _ := routing.PublicKeys(r.Credentials[j.Keys])
	c.add(name, verifyToken(f, j, string(keys)))
}
