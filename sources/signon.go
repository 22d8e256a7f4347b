package sources

import "time"

// SignOn says how a port finds out who somebody is, beyond a password that Envoy checks itself. It is
// never modified.
type SignOn struct {
	// App, when set, is asked about each request.
	App *AuthApp `json:",omitempty"`
	// OIDC, when set, has people log in at a provider of identities.
	OIDC *OIDC `json:",omitempty"`
	// JWT, when set, lets in requests with a token that is signed.
	JWT *JWT `json:",omitempty"`
}

// JWT says which tokens are good (https://www.rfc-editor.org/rfc/rfc7519).
type JWT struct {
	// Issuer is who issued them: the claim "iss" must be the same.
	Issuer string
	// JWKS is the URL of the public keys. Keys is the name of a credential with them in its place.
	JWKS, Keys string `json:",omitempty"`
	// Audiences are whom the tokens are for: the claim "aud" must have one of them.
	Audiences []string
	// Claims are those that the app gets in headers.
	Claims []ClaimHeader `json:",omitempty"`
}

// ClaimHeader is a claim of a token that an app gets in a header. The app never gets what the client sent by this
// name.
type ClaimHeader struct {
	// Claim is the name; a dot leads to what is within a claim.
	Claim string
	// Header is in lower case.
	Header string
}

// AuthApp is an app that is asked about each request before it goes on.
type AuthApp struct {
	AppRef
	// Path is the path of the questions.
	Path string `json:",omitempty"`
	// RequestHeaders are those of the request that it is told, beside those that it always is, in lower case.
	RequestHeaders []string `json:",omitempty"`
	// ResponseHeaders are those of its answer that the port's app gets, in lower case. The app never gets what
	// the client sent by these names.
	ResponseHeaders []string `json:",omitempty"`
	// Timeout is how long it may take; 0 is the default.
	Timeout time.Duration `json:",omitempty"`
}

func (s *SignOn) uses() []Use {
	if s == nil || s.App == nil {
		return nil
	}
	return []Use{{AppRef: s.App.AppRef, Setting: "AUTH_APP", Without: "every request is answered 403", Waits: true}}
}

// credentials returns the names of those that are needed to know who somebody is.
func (s *SignOn) credentials() (names []string) {
	if s == nil {
		return nil
	}
	if s.JWT != nil {
		names = append(names, s.JWT.Keys)
	}
	if s.OIDC != nil {
		names = append(names, s.OIDC.ClientSecret)
	}
	return names
}

func (s *SignOn) urls() (asked []Asked) {
	if s == nil {
		return nil
	}
	if s.JWT != nil && s.JWT.JWKS != "" {
		asked = append(asked, Asked{URL: s.JWT.JWKS, Setting: "JWT_JWKS", Without: "every request is answered 403"})
	}
	return append(asked, s.OIDC.urls()...)
}

// Told are the headers by which the app is told who somebody is, in lower case.
func (s *SignOn) Told() (names []string) {
	if s.App != nil {
		names = append(names, s.App.ResponseHeaders...)
	}
	if s.JWT != nil {
		for _, claim := range s.JWT.Claims {
			names = append(names, claim.Header)
		}
	}
	return names
}
