package labels

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// maxOrigins is how many origins a port may name, and maxCORSNames how many methods or headers.
	maxOrigins, maxCORSNames = 50, 50
	longestCORSAge           = 24 * time.Hour
	anything                 = "*"
)

var (
	// validOrigin matches an origin (https://www.rfc-editor.org/rfc/rfc6454#section-6.1) whose host may be a wildcard.
	validOrigin = regexp.MustCompile(`^https?://(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?(:[0-9]{1,5})?$`)
	validMethod = regexp.MustCompile(`^[A-Z]{1,30}$`)
)

func (s *Settings) corsOrigins(value string) {
	fields := splitList(strings.ToLower(value))
	if len(fields) > maxOrigins {
		s.refuse(maxOrigins, "origins")
		return
	}
	var origins []string
	for _, origin := range fields {
		switch {
		case origin != anything && !validOrigin.MatchString(origin):
			s.problem("%.40q is ignored: write https://shop.test, without a path, https://*.shop.test, or * alone", origin)
		case !slices.Contains(origins, withoutUsualPort(origin)):
			origins = append(origins, withoutUsualPort(origin))
		}
	}
	if len(origins) > 1 && slices.Contains(origins, anything) {
		s.problem("has * beside others, which is all of them: * is ignored")
		origins = slices.DeleteFunc(origins, func(o string) bool { return o == anything })
	}
	s.cors.Origins = origins
}

// withoutUsualPort leaves the port out as browsers do.
func withoutUsualPort(origin string) string {
	if rest, ok := strings.CutSuffix(origin, ":443"); ok && strings.HasPrefix(origin, "https:") {
		return rest
	}
	if rest, ok := strings.CutSuffix(origin, ":80"); ok && strings.HasPrefix(origin, "http:") {
		return rest
	}
	return origin
}

func (s *Settings) methods(value string) (methods []string) {
	fields := splitList(strings.ToUpper(value))
	if len(fields) > maxCORSNames {
		s.refuse(maxCORSNames, "methods")
		return nil
	}
	for _, method := range fields {
		if !validMethod.MatchString(method) {
			s.problem("%.40q is ignored: it is not a method", method)
		} else if !slices.Contains(methods, method) {
			methods = append(methods, method)
		}
	}
	return methods
}

// corsHeaders reads names of headers, or "*".
func (s *Settings) corsHeaders(value string) (names []string) {
	fields := splitList(strings.ToLower(value))
	if len(fields) > maxCORSNames {
		s.refuse(maxCORSNames, "headers")
		return nil
	}
	for _, name := range fields {
		if !validToken.MatchString(name) || strings.ContainsAny(name, "'`") {
			s.problem("%.40q is ignored: it is not the name of a header", name)
		} else if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (s *Settings) corsMaxAge(value string) {
	d := s.timeout(value)
	if d == nil {
		return
	}
	if *d > longestCORSAge {
		s.problem("%.40q is ignored: browsers remember it for 24h at most", value)
		return
	}
	*d = d.Truncate(time.Second)
	s.cors.MaxAge = d
}

// finishCORS lets nobody in by halves: without origins the other labels say nothing.
func (s *Settings) finishCORS() {
	if len(s.cors.Origins) > 0 {
		if s.cors.Credentials && slices.Contains(s.cors.Origins, anything) {
			s.cors.Credentials = false
			s.problemOn("CORS_CREDENTIALS", "is ignored with the origin *: every page of the web could do what its visitors may do. Name the origins")
		}
		cors := s.cors
		s.shaping().CORS = &cors
		return
	}
	for _, name := range []string{"CORS_CREDENTIALS", "CORS_EXPOSE_HEADERS", "CORS_HEADERS", "CORS_MAX_AGE", "CORS_METHODS"} {
		if s.given[name] && !s.given["CORS_ORIGINS"] {
			s.problemOn(name, "has no effect without CORS_ORIGINS")
		}
	}
}
