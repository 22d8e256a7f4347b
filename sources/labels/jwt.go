package labels

import (
	"regexp"
	"slices"
	"strings"

	"relay/credentials"
	"relay/sources"
)

const (
	// maxAudiences is how many audiences a port may name, and maxJWTText the length of what is compared with a token.
	maxAudiences, maxJWTText = 30, 500
	// maxKeysURL is the length of a URL.
	maxKeysURL = 1000
)

var (
	validJWTText = regexp.MustCompile(`^[!-~]+$`)
	validClaim   = regexp.MustCompile(`^[A-Za-z0-9_:/@-]+(?:\.[A-Za-z0-9_:/@-]+)*$`)
)

func (s *Settings) jwtIssuer(value string) {
	value = strings.TrimSpace(value)
	if len(value) > maxJWTText || !validJWTText.MatchString(value) || strings.ContainsAny(value, "\"'`") {
		s.close("%.40q is not the name of an issuer, such as https://login.example.com", value)
		return
	}
	s.jwt.Issuer = value
}

// jwtJWKS does not look at hosts: the fleet says which may be asked. It never shows the URL: there may be a secret in
// its query.
func (s *Settings) jwtJWKS(value string) {
	value = strings.TrimSpace(value)
	if !strings.Contains(value, ":") && credentials.CheckName(value) == nil {
		s.jwt.Keys = value
		return
	}
	lower := strings.ToLower(value)
	if len(value) > maxKeysURL || !validJWTText.MatchString(value) || !strings.HasPrefix(lower, "https://") && !strings.HasPrefix(lower, "http://") {
		s.close("is neither a URL, such as https://login.example.com/keys, nor the name of a credential")
		return
	}
	s.jwt.JWKS = value
}

// shownKeys shows a URL without its query, or the name of a credential.
func shownKeys(value string) string {
	if strings.Contains(value, "://") {
		return shownURL(value)
	}
	return nameOfCredential(value)
}

func (s *Settings) jwtAudiences(value string) {
	audiences := splitList(value)
	if len(audiences) > maxAudiences {
		s.refuse(maxAudiences, "audiences")
		return
	}
	if len(audiences) == 0 {
		s.close("names nobody: write whom tokens are for, or *")
		return
	}
	for _, audience := range audiences {
		if len(audience) > maxJWTText || !validJWTText.MatchString(audience) || strings.ContainsAny(audience, "\"'`") {
			s.close("%.40q is not an audience, such as shop", audience)
			return
		}
	}
	slices.Sort(audiences)
	if audiences = slices.Compact(audiences); slices.Contains(audiences, "*") {
		audiences = []string{"*"}
	}
	s.jwt.Audiences = audiences
}

// jwtClaims closes the port if a line is not understood: the app would take what the client says by the header for
// true.
func (s *Settings) jwtClaims(value string) {
	lines := strings.FieldsFunc(value, func(c rune) bool { return c == '\n' || c == ',' })
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.TrimSpace(line) == "" })
	if len(lines) > maxTold {
		s.refuse(maxTold, "claims")
		return
	}
	if len(lines) == 0 {
		s.close("names no claim: write sub: X-User")
		return
	}
	for _, line := range lines {
		i := strings.LastIndexByte(line, ':')
		if i < 0 {
			s.close("%.40q is not a claim and a header: write sub: X-User", line)
			return
		}
		claim := strings.TrimSpace(line[:i])
		names := s.toldNames(line[i+1:])
		if len(claim) > maxJWTText || !validClaim.MatchString(claim) || len(names) != 1 {
			s.close("%.40q is not a claim and a header that may have it: write sub: X-User", line)
			return
		}
		if slices.ContainsFunc(s.jwt.Claims, func(c sources.ClaimHeader) bool { return c.Header == names[0] }) {
			s.close("has the header %s twice", names[0])
			return
		}
		s.jwt.Claims = append(s.jwt.Claims, sources.ClaimHeader{Claim: claim, Header: names[0]})
	}
}
