package sources

import "time"

// SignOn says how a port finds out who somebody is, beyond a password that Envoy checks itself. It is
// never modified.
type SignOn struct {
	// App, when set, is asked about each request.
	App *AuthApp `json:",omitempty"`
	// OIDC, when set, has people log in at a provider of identities.
	OIDC *OIDC `json:",omitempty"`
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
	return []Use{{AppRef: s.App.AppRef, Setting: "AUTH_APP", Without: "every request is answered 403"}}
}

// credentials returns the names of those that are needed to know who somebody is.
func (s *SignOn) credentials() (names []string) {
	if s == nil {
		return nil
	}
	if s.OIDC != nil {
		names = append(names, s.OIDC.ClientSecret)
	}
	return names
}
