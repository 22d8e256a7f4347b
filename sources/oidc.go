package sources

// OIDC says how people log in at a provider of identities, by the authorization code flow of OpenID Connect
// (https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth) with PKCE. It is never modified.
type OIDC struct {
	// ClientID is what the provider calls the client, and ClientSecret the name of the credential that is its secret.
	ClientID, ClientSecret string
	// AuthorizationEndpoint is where browsers are sent, and TokenEndpoint where Envoys change a code for tokens.
	AuthorizationEndpoint, TokenEndpoint string
	// EndSessionEndpoint is where browsers are sent after they signed out; empty for the app.
	EndSessionEndpoint string `json:",omitempty"`
	// Scopes are asked for.
	Scopes []string
	// CallbackPath is where the provider sends browsers back to, and SignOutPath ends a session. Both are whole paths.
	CallbackPath, SignOutPath string
	// SecretInBody sends the client's secret in the body of requests for tokens, in place of an Authorization header.
	SecretInBody bool `json:",omitempty"`
	// ForwardToken gives the access token to the app, as a bearer token in its Authorization header.
	ForwardToken bool `json:",omitempty"`
}

// urls are the hosts outside that Envoys ask; browsers alone go to the others.
func (o *OIDC) urls() []Asked {
	if o == nil {
		return nil
	}
	return []Asked{{URL: o.TokenEndpoint, Setting: "OIDC_TOKEN_ENDPOINT", Without: "every request is answered 403"}}
}
