package labels

import (
	"slices"
	"strings"
	"time"

	"relay/sources"
)

// Who somebody is, as others say.
var signOnLabels = []Label{
	{Key: "RELAY_{n}_AUTH_APP", Field: "authApp", restricts: true, setting: (*Settings).authApp, shown: shownURL,
		meaning: "an app that is asked about each request: its id, with `:1` for another port than 0, and the path by which it is asked. It lets a request on by 200; any other answer below 500 is that of the client. " +
			"It must be in the same top-level folder, or name the app by `RELAY_{n}_USED_BY`. See [sign-on.md](sign-on.md)",
		byDefault: "nobody is asked", envoy: "`ext_authz` of the route, `http_service`", example: "/platform/sso /auth"},
	{Key: "RELAY_{n}_AUTH_APP_REQUEST_HEADERS", Field: "authAppRequestHeaders", httpOnly: true, setting: func(s *Settings, v string) { s.authorizer.RequestHeaders = s.toldNames(v) },
		meaning:   "names of headers of the request that the app is told which is asked",
		byDefault: "cookies, `Authorization`, and what [sign-on.md](sign-on.md#what-the-app-is-told) lists, which it is told in any case", envoy: "`allowed_headers`", example: "X-Api-Key"},
	{Key: "RELAY_{n}_AUTH_APP_RESPONSE_HEADERS", Field: "authAppResponseHeaders", httpOnly: true, restricts: true, setting: (*Settings).authResponse,
		meaning:   "names of headers of its answer that the port's app gets. What a client sends by these names the app never gets",
		byDefault: "none", envoy: "`allowed_upstream_headers`, `header_mutation`", example: "X-User, X-Groups"},
	{Key: "RELAY_{n}_AUTH_APP_TIMEOUT", Field: "authAppTimeout", httpOnly: true, setting: (*Settings).authTimeout,
		meaning: "how long it may take, to `60s`; after that 503", byDefault: "`5s`", envoy: "`timeout`", example: "2s"},
	{Key: "RELAY_{n}_JWT_ISSUER", Field: "jwtIssuer", restricts: true, setting: (*Settings).jwtIssuer,
		meaning: "lets requests in that have a signed token of this issuer, its claim `iss`, as `Authorization: Bearer …`. Needs `JWT_JWKS` and `JWT_AUDIENCES`. Others get 401, or 403 if the token is for somebody else. " +
			"See [sign-on.md](sign-on.md#tokens)",
		byDefault: "no token is asked for", envoy: "`jwt_authn` of the route, `issuer`", example: "https://login.example.com"},
	{Key: "RELAY_{n}_JWT_JWKS", Field: "jwtJWKS", restricts: true, setting: (*Settings).jwtJWKS, shown: shownKeys,
		meaning:   "where its public keys are: a URL that each Envoy reads, by HTTPS; or the name of a [credential](credentials.md) with the keys in JSON",
		byDefault: "none", envoy: "`remote_jwks`", example: "https://login.example.com/keys"},
	{Key: "RELAY_{n}_JWT_AUDIENCES", Field: "jwtAudiences", restricts: true, setting: (*Settings).jwtAudiences,
		meaning:   "whom the token may be for, with commas or spaces between: its claim `aud` has one of them. `*` takes tokens for anybody",
		byDefault: "none", envoy: "`audiences`", example: "shop, shop-admin"},
	{Key: "RELAY_{n}_JWT_CLAIMS_TO_HEADERS", Field: "jwtClaimsToHeaders", restricts: true, setting: (*Settings).jwtClaims,
		meaning:   "claims that the app gets in headers, as `claim: Name`, with commas or line breaks between; `a.b` is `b` within `a`. What a client sends by these names the app never gets",
		byDefault: "none", envoy: "`claim_to_headers`, `header_mutation`", example: "sub: X-User, email: X-Email"},
	{Key: "RELAY_{n}_USED_BY", Field: "usedBy", setting: (*Settings).readUsedBy,
		meaning: "apps of other top-level folders that may use the port by naming the app, as `RELAY_{n}_AUTH_APP` does: ids, folders such as `/shop/*`, or `*` for all, with spaces between. " +
			"Their requests come past the port's own password and networks",
		byDefault: "apps in the same top-level folder", example: "/shop/* /billing/web"},
}

const (
	// maxTold is how many headers may say who somebody is.
	maxTold = 30
	// maxAuthPath is the length of a path by which an app is asked.
	maxAuthPath = 1000
	// longestAuth is the longest that an app may take that is asked.
	longestAuth = time.Minute
)

func (s *Settings) authApp(value string) {
	fields := strings.Fields(value)
	if len(fields) == 0 || len(fields) > 2 {
		s.close("is not the id of an app, and perhaps a path: write /platform/sso /auth")
		return
	}
	ref, ok := parseAppRef(fields[0])
	if !ok {
		s.close("%.80q is not the id of an app: write /platform/sso, or /platform/sso:1 for its port 1", fields[0])
		return
	}
	auth := sources.AuthApp{AppRef: ref}
	if len(fields) == 2 {
		if auth.Path = fields[1]; auth.Path[0] != '/' || len(auth.Path) > maxAuthPath || strings.ContainsFunc(auth.Path, func(c rune) bool { return c <= ' ' || c > '~' || c == '#' }) {
			s.close("%.80q is not a path that begins with a slash, such as /auth", fields[1])
			return
		}
	}
	s.authorizer.AppRef, s.authorizer.Path = auth.AppRef, auth.Path
	s.http.SignOn = s.signOn()
	s.http.SignOn.App = &s.authorizer
}

// signOn returns what was said so far of signing on.
func (s *Settings) signOn() *sources.SignOn {
	if s.http.SignOn == nil {
		return &sources.SignOn{}
	}
	return s.http.SignOn
}

// toldNames reads names of headers. Those that Envoy sets itself are left out.
func (s *Settings) toldNames(value string) []string {
	if len(splitList(value)) > maxTold {
		s.refuse(maxTold, "headers")
		return nil
	}
	return slices.DeleteFunc(s.headerNames(value), func(name string) bool {
		if !strings.HasPrefix(name, "x-forwarded-") {
			return false
		}
		s.problem("%s is ignored: Envoy sets it itself", name)
		return true
	})
}

// authResponse closes the port if a header is left out: the app would take what the client says by it for true.
func (s *Settings) authResponse(value string) {
	names := splitList(value)
	if len(names) > maxTold {
		s.refuse(maxTold, "headers")
		return
	}
	s.authorizer.ResponseHeaders = s.toldNames(value)
	for _, name := range names {
		if !slices.Contains(s.authorizer.ResponseHeaders, strings.ToLower(strings.TrimSpace(name))) {
			s.close("%.40q is not the name of a header that another app may set", name)
			return
		}
	}
}

func (s *Settings) authTimeout(value string) {
	if strings.TrimSpace(value) == "" {
		return
	}
	d, err := time.ParseDuration(strings.TrimSpace(value))
	if err != nil || d < time.Millisecond || d > longestAuth {
		s.problem("%.40q is ignored: write a duration to %s, such as 2s", value, longestAuth)
		return
	}
	s.authorizer.Timeout = d
}
