package labels

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"relay/credentials"
	"relay/internal/hostname"
	"relay/sources"
)

// Log-in at a provider of identities.
var oidcLabels = []Label{
	{Key: "RELAY_{n}_OIDC_CLIENT_ID", Field: "oidcClientID", restricts: true, setting: (*Settings).oidcClientID,
		meaning: "people log in at a provider of identities (OpenID Connect) that knows the app by this id. " +
			"Needs `OIDC_CLIENT_SECRET`, `OIDC_AUTHORIZATION_ENDPOINT` and `OIDC_TOKEN_ENDPOINT` ([oidc.md](oidc.md))",
		byDefault: "nobody logs in", envoy: "`oauth2` of the route", example: "shop"},
	{Key: "RELAY_{n}_OIDC_CLIENT_SECRET", Field: "oidcClientSecret", restricts: true, setting: (*Settings).oidcClientSecret, shown: nameOfCredential,
		meaning:   "the name of the [credential](credentials.md) that is the secret of this client, in a folder of the app's id; never the secret itself",
		byDefault: "none", envoy: "`token_secret`, `hmac_secret`", example: "oidc"},
	{Key: "RELAY_{n}_OIDC_AUTHORIZATION_ENDPOINT", Field: "oidcAuthorizationEndpoint", restricts: true, shown: shownURL,
		setting:   func(s *Settings, v string) { s.oidc.AuthorizationEndpoint = s.oidcURL(v, s.close) },
		meaning:   "where browsers are sent to log in, as the provider's `/.well-known/openid-configuration` says",
		byDefault: "none", envoy: "`authorization_endpoint`", example: "https://login.example.com/authorize"},
	{Key: "RELAY_{n}_OIDC_TOKEN_ENDPOINT", Field: "oidcTokenEndpoint", restricts: true, shown: shownURL,
		setting:   func(s *Settings, v string) { s.oidc.TokenEndpoint = s.oidcURL(v, s.close) },
		meaning:   "where Envoys change the code of a log-in for tokens; the secret of the client is sent there",
		byDefault: "none", envoy: "`token_endpoint`", example: "https://login.example.com/token"},
	{Key: "RELAY_{n}_OIDC_END_SESSION_ENDPOINT", Field: "oidcEndSessionEndpoint", httpOnly: true, shown: shownURL,
		setting:   func(s *Settings, v string) { s.oidc.EndSessionEndpoint = s.oidcURL(v, s.failing) },
		meaning:   "where browsers are sent when they sign out, so that the provider forgets them too",
		byDefault: "they are sent to `/` of the app", envoy: "`end_session_endpoint`", example: "https://login.example.com/logout"},
	{Key: "RELAY_{n}_OIDC_SCOPES", Field: "oidcScopes", httpOnly: true, setting: (*Settings).oidcScopes,
		meaning:   "what is asked for, with spaces between; `openid` is always. With `offline_access` sessions are renewed without the provider's page",
		byDefault: "`openid`", envoy: "`auth_scopes`, `use_refresh_token`", example: "openid email"},
	{Key: "RELAY_{n}_OIDC_CALLBACK_PATH", Field: "oidcCallbackPath", httpOnly: true,
		setting:   func(s *Settings, v string) { s.oidc.CallbackPath = s.oidcPath(v) },
		meaning:   "the path to which the provider sends browsers back. Register `https://` the domain and this path there. It must be one of the port's paths",
		byDefault: "`/oauth2/callback`, after the port's first path", envoy: "`redirect_path_matcher`, `redirect_uri`", example: "/login/done"},
	{Key: "RELAY_{n}_OIDC_SIGN_OUT_PATH", Field: "oidcSignOutPath", httpOnly: true,
		setting:   func(s *Settings, v string) { s.oidc.SignOutPath = s.oidcPath(v) },
		meaning:   "the path that ends the session of a browser. It must be one of the port's paths",
		byDefault: "`/oauth2/sign-out`, after the port's first path", envoy: "`signout_path`", example: "/logout"},
	{Key: "RELAY_{n}_OIDC_CLIENT_AUTH", Field: "oidcClientAuth", httpOnly: true, setting: (*Settings).oidcClientAuth,
		meaning:   "how the secret is sent to the token endpoint: `basic` (`client_secret_basic`) or `post` (`client_secret_post`)",
		byDefault: "`basic`", envoy: "`auth_type`", example: "post"},
	{Key: "RELAY_{n}_OIDC_FORWARD_TOKEN", Field: "oidcForwardToken", httpOnly: true,
		setting:   func(s *Settings, v string) { s.oidcGiven, s.oidc.ForwardToken = true, s.flag(v, false) },
		meaning:   "the app gets the access token, as `Authorization: Bearer`. A token of more than 2 kB is too long for the cookies that keep it",
		byDefault: "`false`: the app gets no token", envoy: "`forward_bearer_token`", example: "true"},
}

const (
	maxOIDCText   = 1024
	maxOIDCPath   = 255
	maxOIDCScopes = 20
)

var (
	validClientID = regexp.MustCompile(`^[A-Za-z0-9._~@/-]{1,256}$`)
	validScope    = regexp.MustCompile(`^[A-Za-z0-9._~:/-]{1,128}$`)
	// validOIDCURL leaves out what would be another text in a header, or in a query.
	validOIDCURL  = regexp.MustCompile(`^[!$&-;=?-Z_a-z~%]+$`)
	validOIDCPath = regexp.MustCompile(`^(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)
)

func (s *Settings) oidcClientID(value string) {
	s.oidcGiven = true
	if s.oidc.ClientID = strings.TrimSpace(value); !validClientID.MatchString(s.oidc.ClientID) {
		s.close("is no id of a client: write up to 256 letters, digits and any of . _ ~ @ / -")
	}
}

// oidcClientSecret says nothing of what it read: somebody may have written the secret.
func (s *Settings) oidcClientSecret(value string) {
	s.oidcGiven = true
	name := strings.TrimSpace(value)
	if credentials.CheckName(name) != nil {
		s.close("is no name of a credential: write up to 64 of a-z, 0-9, dots, dashes and underscores, and put the secret itself into the store of credentials")
		return
	}
	s.oidc.ClientSecret = name
}

// oidcURL returns a URL that can be used, or says by refuse that it is none.
func (s *Settings) oidcURL(value string, refuse func(format string, args ...any)) string {
	s.oidcGiven = true
	text := strings.TrimSpace(value)
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxOIDCText || !validOIDCURL.MatchString(text) || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "":
		refuse("is no URL: write it whole, such as https://login.example.com/authorize")
		return ""
	case !validOIDCHost(u.Hostname()):
		refuse("has no host that is a name or an IP address")
		return ""
	}
	return text
}

func validOIDCHost(host string) bool {
	if hostname.IsAddress(host) {
		return true
	}
	_, err := hostname.Domain(host)
	_, wildcard := hostname.CutWildcard(host)
	return err == nil && !wildcard
}

func (s *Settings) oidcScopes(value string) {
	s.oidcGiven = true
	scopes := strings.Fields(value)
	if len(scopes) > maxOIDCScopes {
		s.refuse(maxOIDCScopes, "scopes")
		return
	}
	for _, scope := range scopes {
		if !validScope.MatchString(scope) {
			s.problem("is ignored: %.40q is no scope", scope)
			return
		}
	}
	s.oidc.Scopes = scopes
}

// oidcPath returns a path that can be used, or says that it is none.
func (s *Settings) oidcPath(value string) string {
	s.oidcGiven = true
	text := strings.TrimSpace(value)
	if text != "" && (len(text) > maxOIDCPath || !validOIDCPath.MatchString(text)) {
		s.failing("is ignored: write a whole path such as /oauth2/callback, of letters, digits and any of . _ ~ -, without a segment that begins with a dot")
		return ""
	}
	return text
}

func (s *Settings) oidcClientAuth(value string) {
	s.oidcGiven = true
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "basic", "":
	case "post":
		s.oidc.SecretInBody = true
	default:
		s.failing("%.40q is taken as basic: write basic or post", value)
	}
}

// finishOIDC closes the port if it asks for a log-in and does not say all that is needed.
func (s *Settings) finishOIDC() {
	if !s.oidcGiven {
		return
	}
	o := &s.oidc
	closed := func(name, reason string) {
		if !s.http.Closed {
			s.problems.AddFailing(name, "%s", reason+": every request is answered 403, because the port would be open to everyone otherwise")
		}
		s.http.Closed = true
	}
	for name, value := range map[string]string{
		"OIDC_CLIENT_ID": o.ClientID, "OIDC_CLIENT_SECRET": o.ClientSecret,
		"OIDC_AUTHORIZATION_ENDPOINT": o.AuthorizationEndpoint, "OIDC_TOKEN_ENDPOINT": o.TokenEndpoint,
	} {
		if value == "" && !s.given[name] {
			closed("OIDC_CLIENT_ID", "a log-in needs OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, OIDC_AUTHORIZATION_ENDPOINT and OIDC_TOKEN_ENDPOINT")
		}
	}
	if !slices.Contains(o.Scopes, "openid") {
		o.Scopes = append([]string{"openid"}, o.Scopes...)
	}
	for _, path := range []struct {
		name, byDefault string
		is              *string
	}{{"OIDC_CALLBACK_PATH", "/oauth2/callback", &o.CallbackPath}, {"OIDC_SIGN_OUT_PATH", "/oauth2/sign-out", &o.SignOutPath}} {
		if *path.is == "" {
			*path.is = s.firstPath() + path.byDefault
		}
		if !s.serves(*path.is) {
			closed(path.name, "is not below a path that the port serves")
		}
	}
	if o.CallbackPath == o.SignOutPath {
		closed("OIDC_SIGN_OUT_PATH", "is the same as OIDC_CALLBACK_PATH")
	}
	if s.http.Closed {
		return
	}
	if s.http.SignOn == nil {
		s.http.SignOn = &sources.SignOn{}
	}
	s.http.SignOn.OIDC = o
}

// firstPath is the first path that the port serves, without a slash at its end.
func (s *Settings) firstPath() string {
	if len(s.http.Paths) == 0 {
		return ""
	}
	return strings.TrimRight(s.http.Paths[0].Prefix, "/")
}

// serves reports whether a path is among those of the port.
func (s *Settings) serves(path string) bool {
	return len(s.http.Paths) == 0 || slices.ContainsFunc(s.http.Paths, func(p sources.Path) bool {
		return strings.HasPrefix(path, p.Prefix) || p.IgnoreCase && strings.HasPrefix(strings.ToLower(path), strings.ToLower(p.Prefix))
	})
}
