package labels

import (
	"slices"
	"strings"

	"relay/sources"
)

// What the app and the client see.
var httpLabels = []Label{
	{Key: "HAPROXY_{n}_USE_HSTS", Field: "hsts", httpOnly: true, setting: func(s *Settings, v string) { s.http.HSTS = s.flag(v, false) },
		meaning:   "`Strict-Transport-Security: max-age=15768000` over HTTPS, unless the app says it in its own way",
		byDefault: "`false`", envoy: "`response_headers_to_add`", example: "true"},
	{Key: "HAPROXY_{n}_HTTP_BACKEND_PROXYPASS_PATH", Field: "stripPrefix", httpOnly: true, setting: func(s *Settings, v string) { s.http.StripPrefix = s.path(v) },
		meaning:   "a prefix that is taken off the path, in any case; the app sees the domain as Host (in wildcard domains, the Host as sent)",
		byDefault: "none", envoy: "`regex_rewrite`, `host_rewrite_literal`", example: "/app"},
	{Key: "HAPROXY_{n}_HTTP_BACKEND_REVPROXY_PATH", Field: "locationPrefix", httpOnly: true,
		setting:   func(s *Settings, v string) { s.http.LocationPrefix = strings.TrimRight(s.path(v), "/") },
		meaning:   "a prefix put before the path of `Location` headers that lead to the host of the request, and do not have it yet",
		byDefault: "none", envoy: "`lua` of the route", example: "/app"},
	{Key: "RELAY_{n}_REQUEST_HEADERS_TO_ADD", Field: "requestHeadersToAdd", httpOnly: true, setting: func(s *Settings, v string) { s.http.RequestHeaders.Add = s.headers(v) }, shown: namesOnly,
		meaning:   "one `Name: value` a line, in ASCII; replaces what the client sent under the name",
		byDefault: "none", envoy: "`request_headers_to_add`", example: "X-Env: live\nX-Team: shop"},
	{Key: "RELAY_{n}_REQUEST_HEADERS_TO_REMOVE", Field: "requestHeadersToRemove", httpOnly: true,
		setting: func(s *Settings, v string) { s.http.RequestHeaders.Remove = s.headerNames(v) },
		meaning: "names", byDefault: "none", envoy: "`request_headers_to_remove`", example: "X-Debug"},
	{Key: "RELAY_{n}_RESPONSE_HEADERS_TO_ADD", Field: "responseHeadersToAdd", httpOnly: true, setting: func(s *Settings, v string) { s.http.ResponseHeaders.Add = s.headers(v) }, shown: publicHeaders,
		meaning:   "as above, for what the client sees",
		byDefault: "none", envoy: "`response_headers_to_add`", example: "X-Frame-Options: DENY"},
	{Key: "RELAY_{n}_RESPONSE_HEADERS_TO_REMOVE", Field: "responseHeadersToRemove", httpOnly: true,
		setting: func(s *Settings, v string) { s.http.ResponseHeaders.Remove = s.headerNames(v) },
		meaning: "names", byDefault: "none", envoy: "`response_headers_to_remove`", example: "Server, X-Powered-By"},
}

// fixedHeaders are those that say how the message is carried, or that Envoy
// does not let anybody change: to edit them would break requests.
var fixedHeaders = []string{
	"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// ValidHeaderName reports whether a header may have the name.
func ValidHeaderName(name string) bool { return validToken.MatchString(name) }

// headerName returns the name in lower case, or says what is wrong with it.
func (s *Settings) headerName(name string) (string, bool) {
	lower := strings.ToLower(strings.TrimSpace(name))
	switch {
	case !validToken.MatchString(lower) || strings.ContainsAny(lower, "'`"): // allowed, but no header has them: a quote went astray
		s.problem("%.40q is ignored: it is not the name of a header", name)
	case slices.Contains(fixedHeaders, lower) || strings.HasPrefix(lower, "x-envoy-") || strings.HasPrefix(lower, "x-relay-"):
		s.problem("%.40q is ignored: that header is not for apps to change", name)
	default:
		return lower, true
	}
	return "", false
}

// headers reads one "Name: value" a line; of a name that is there twice the
// last line counts.
func (s *Settings) headers(value string) []sources.Header {
	lines := slices.DeleteFunc(strings.Split(value, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	if len(lines) > MaxHeaders {
		s.refuse(MaxHeaders, "headers")
		return nil
	}
	var headers []sources.Header
	for i, line := range lines {
		line = strings.TrimSpace(line)
		name, text, ok := strings.Cut(line, ":")
		text = strings.TrimSpace(text)
		if !ok {
			// Not what it says: that may be a header with its secret, or a part of one.
			s.problem("line %d is ignored: write \"Name: value\", in ASCII", i+1)
			continue
		}
		if text == "" || len(text) > 4096 || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
			s.problem("the line of %.40q is ignored: write \"Name: value\", in ASCII", name)
			continue
		}
		lower, ok := s.headerName(name)
		if !ok {
			continue
		}
		headers = slices.DeleteFunc(headers, func(h sources.Header) bool { return h.Name == lower })
		headers = append(headers, sources.Header{Name: lower, Value: text})
	}
	return headers
}

func (s *Settings) headerNames(value string) []string {
	fields := splitList(value)
	if len(fields) > MaxHeaders {
		s.refuse(MaxHeaders, "headers")
		return nil
	}
	var names []string
	for _, field := range fields {
		if name, ok := s.headerName(field); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
