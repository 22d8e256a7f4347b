package labels

import "strings"

// finishSignOn closes the port if it says how people sign on, and something is missing that it takes.
func (s *Settings) finishSignOn() {
	s.finishAuthApp()
	s.finishJWT()
}

func (s *Settings) finishAuthApp() {
	if s.given["AUTH_APP"] {
		return
	}
	for _, name := range []string{"AUTH_APP_REQUEST_HEADERS", "AUTH_APP_TIMEOUT"} {
		if s.given[name] {
			s.problemOn(name, "has no effect without AUTH_APP")
		}
	}
	if s.given["AUTH_APP_RESPONSE_HEADERS"] {
		s.lacks("AUTH_APP_RESPONSE_HEADERS", "AUTH_APP")
	}
}

func (s *Settings) finishJWT() {
	var given []string
	for _, name := range []string{"JWT_ISSUER", "JWT_JWKS", "JWT_AUDIENCES", "JWT_CLAIMS_TO_HEADERS"} {
		if s.given[name] {
			given = append(given, name)
		}
	}
	if len(given) == 0 {
		return
	}
	var missing []string
	for _, name := range []string{"JWT_ISSUER", "JWT_JWKS", "JWT_AUDIENCES"} {
		if !s.given[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		s.lacks(given[0], strings.Join(missing, " and "))
		return
	}
	if !s.http.Closed {
		s.http.SignOn = s.signOn()
		s.http.SignOn.JWT = &s.jwt
	}
}

// lacks closes the port as a label lacks another one.
func (s *Settings) lacks(name, other string) {
	s.http.Closed = true
	s.problems.AddFailing(name, "needs %s: every request is answered 403, because the port would be open to everyone otherwise", other)
}
