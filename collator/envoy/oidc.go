package envoy

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	oauth2v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/collator/routing"
)

// oidcSince is the minor version of Envoy 1 from which on the filter may be in a route's chain.
const oidcSince = 40

const (
	// tokenTimeout is how long a token endpoint may take.
	tokenTimeout = 5 * time.Second
	// defaultSession is how long a session lasts if the provider does not say.
	defaultSession = time.Hour
	// offlineAccess is the scope by which a provider gives tokens that renew sessions.
	offlineAccess = "offline_access"
)

// withLogIn returns a rule for which people log in with what that needs of its routes: HTTPS, as the cookies that tell who somebody is
// are for HTTPS alone.
func (b scopeBuilder) withLogIn(r routing.Rule) routing.Rule {
	r.Redirect = r.Redirect || routing.OIDCOf(&r.HTTP) != nil
	return r
}

// logIn adds the filter by which people log in: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/oauth2_filter
//
// The names of its cookies begin with __Host-, so that neither another domain nor plain HTTP can set them: what somebody
// else puts there would be a log-in as somebody else, or lead to another host afterwards. Tokens are kept in cookies only if they are
// needed: what is in no cookie can be stolen by none, and long tokens have no room there.
func (b scopeBuilder) logIn(c *filterChains, r routing.Rule) {
	o := routing.OIDCOf(&r.HTTP)
	if o == nil {
		return
	}
	asked, _, _ := b.Ask(o.TokenEndpoint)
	cluster := r.Claim.Cluster()
	auth := oauth2v3.OAuth2Config_BASIC_AUTH
	if o.SecretInBody {
		auth = oauth2v3.OAuth2Config_URL_ENCODED_BODY
	}
	c.addWaiting("oauth2", &oauth2v3.OAuth2{Config: &oauth2v3.OAuth2Config{
		TokenEndpoint: &corev3.HttpUri{
			Uri: o.TokenEndpoint, HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: asked.Cluster()}, Timeout: durationpb.New(tokenTimeout),
		},
		AuthorizationEndpoint: o.AuthorizationEndpoint,
		EndSessionEndpoint:    o.EndSessionEndpoint,
		Credentials: &oauth2v3.OAuth2Credentials{
			ClientId:       o.ClientID,
			TokenSecret:    secretFromStream(routing.OIDCClientSecret(cluster)),
			TokenFormation: &oauth2v3.OAuth2Credentials_HmacSecret{HmacSecret: secretFromStream(routing.OIDCCookieSecret(cluster))},
			CookieNames:    oidcCookies(cluster),
		},
		RedirectUri:         "https://%REQ(:AUTHORITY)%" + o.CallbackPath,
		RedirectPathMatcher: exactPath(o.CallbackPath),
		SignoutPath:         exactPath(o.SignOutPath),
		// Where people are sent after they logged in is in what their browser says.
		AllowedRedirectDomains:      []string{r.Domain},
		ForwardBearerToken:          o.ForwardToken,
		AuthScopes:                  o.Scopes,
		AuthType:                    auth,
		UseRefreshToken:             wrapperspb.Bool(slices.Contains(o.Scopes, offlineAccess)),
		DefaultExpiresIn:            durationpb.New(defaultSession),
		DenyRedirectMatcher:         notForPeople(),
		DisableIdTokenSetCookie:     o.EndSessionEndpoint == "",
		DisableAccessTokenSetCookie: !o.ForwardToken,
		CookieConfigs:               laxCookies(),
		StatPrefix:                  "oidc.",
	}})
}

// oidcCookies are the names of the cookies of an app port, which no other has.
func oidcCookies(cluster string) *oauth2v3.OAuth2Credentials_CookieNames {
	sum := sha256.Sum256([]byte(cluster))
	name := func(of string) string { return "__Host-relay-" + hex.EncodeToString(sum[:8]) + "-" + of }
	return &oauth2v3.OAuth2Credentials_CookieNames{
		BearerToken: name("access"), OauthHmac: name("session"), OauthExpires: name("expires"), IdToken: name("id"),
		RefreshToken: name("refresh"), OauthNonce: name("nonce"), CodeVerifier: name("verifier"),
	}
}

// laxCookies has other sites not send the cookies with what they have a browser do, but for links.
func laxCookies() *oauth2v3.CookieConfigs {
	lax := func() *oauth2v3.CookieConfig {
		return &oauth2v3.CookieConfig{SameSite: oauth2v3.CookieConfig_LAX}
	}
	return &oauth2v3.CookieConfigs{
		BearerTokenCookieConfig: lax(), OauthHmacCookieConfig: lax(), OauthExpiresCookieConfig: lax(), IdTokenCookieConfig: lax(),
		RefreshTokenCookieConfig: lax(), OauthNonceCookieConfig: lax(), CodeVerifierCookieConfig: lax(),
	}
}

// notForPeople matches requests that are answered 401 in place of being sent to log in: programs and scripts, and what would be lost,
// such as the body of a form.
func notForPeople() []*routev3.HeaderMatcher {
	matches := func(name string, by *matcherv3.StringMatcher, invert bool) *routev3.HeaderMatcher {
		return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: by}, InvertMatch: invert}
	}
	pattern := func(text string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: text}}}
	}
	return []*routev3.HeaderMatcher{
		matches(":method", pattern("GET|HEAD"), true),
		matches("sec-fetch-mode", pattern("cors|no-cors|same-origin|websocket"), false),
		matches("x-requested-with", pattern("XMLHttpRequest"), false),
		{Name: "upgrade", HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}},
	}
}

func exactPath(path string) *matcherv3.PathMatcher {
	return &matcherv3.PathMatcher{Rule: &matcherv3.PathMatcher_Path{Path: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: path}}}}
}

// GenericSecret makes a secret of a value.
func GenericSecret(name string, value []byte) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: inlineBytes(value)}}}
}
