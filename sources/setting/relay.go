package setting

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"relay/sources"
)

const longestTimeout = 365 * 24 * time.Hour

// timeout reads a duration; nil when it is none.
func (p *Port) timeout(value string) *time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > longestTimeout {
		p.problem("%.40q is ignored: write a duration, such as 30s or 1h30m, or 0s for no limit", value)
		return nil
	}
	return &d
}

func (p *Port) connectTimeout(value string) {
	switch d := p.timeout(value); {
	case d == nil:
	case *d < time.Millisecond:
		p.problem("%.40q is ignored: it must be at least 1ms", value)
	default:
		p.upstream.ConnectTimeout = *d
	}
}

// limit reads a number from 1; 0 when it is none.
func (p *Port) limit(value string) uint32 {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n == 0 {
		p.problem("%.40q is ignored: write a number from 1 to 4294967295", value)
		return 0
	}
	return uint32(n)
}

func (p *Port) numRetries(value string) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
	if err != nil || n > 10 {
		p.problem("%.40q is ignored: write a number from 0 to 10", value)
		return
	}
	retries := uint32(n)
	p.http.NumRetries = &retries
}

// Conditions of
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
// and x-envoy-retry-grpc-on.
var retryConditions = []string{
	"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream",
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

func (p *Port) retryOn(value string) {
	var conditions []string
	for _, condition := range splitList(value) {
		if !slices.Contains(retryConditions, condition) {
			p.problem("%.40q is ignored: the conditions are %s", condition, strings.Join(retryConditions, ", "))
			continue
		}
		conditions = append(conditions, condition)
	}
	slices.Sort(conditions)
	p.http.RetryOn = slices.Compact(conditions)
}

func splitList(value string) []string {
	return strings.FieldsFunc(value, func(c rune) bool { return c == ',' || unicode.IsSpace(c) })
}

func (p *Port) sni(value string) {
	if strings.TrimSpace(value) == "" {
		return
	}
	name, err := sources.NormalizeDomain(value)
	if err != nil || strings.HasPrefix(name, "*") {
		p.problem("%.40q is ignored: write the domain of the certificate", value)
		return
	}
	p.tls.SNI = name
}

func (p *Port) proxyProtocol(value string) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "":
	case "v1", "1":
		p.upstream.ProxyProtocol = 1
	case "v2", "2":
		p.upstream.ProxyProtocol = 2
	default:
		p.problem("%.40q is ignored: write v1 or v2", value)
	}
}

// fixedHeaders are those that say how the message is carried, or that Envoy
// does not let anybody change: to edit them would break requests.
var fixedHeaders = []string{
	"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// headerName returns the name in lower case, or says what is wrong with it.
func (p *Port) headerName(name string) (string, bool) {
	lower := strings.ToLower(strings.TrimSpace(name))
	switch {
	case !validToken.MatchString(lower):
		p.problem("%.40q is ignored: it is not the name of a header", name)
	case slices.Contains(fixedHeaders, lower) || strings.HasPrefix(lower, "x-envoy-") || strings.HasPrefix(lower, "x-relay-"):
		p.problem("%.40q is ignored: that header is not for apps to change", name)
	default:
		return lower, true
	}
	return "", false
}

// headers reads one "Name: value" a line; of a name that is there twice the
// last line counts.
func (p *Port) headers(value string) []sources.Header {
	lines := slices.DeleteFunc(strings.Split(value, "\n"), func(line string) bool { return strings.TrimSpace(line) == "" })
	if len(lines) > MaxHeaders {
		p.refuse(MaxHeaders, "headers")
		return nil
	}
	var headers []sources.Header
	for _, line := range lines {
		line = strings.TrimSpace(line)
		name, text, ok := strings.Cut(line, ":")
		text = strings.TrimSpace(text)
		if !ok || text == "" || len(text) > 4096 || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
			p.problem("the line of %.40q is ignored: write \"Name: value\", in ASCII", name)
			continue
		}
		lower, ok := p.headerName(name)
		if !ok {
			continue
		}
		headers = slices.DeleteFunc(headers, func(h sources.Header) bool { return h.Name == lower })
		headers = append(headers, sources.Header{Name: lower, Value: text})
	}
	return headers
}

func (p *Port) headerNames(value string) []string {
	fields := splitList(value)
	if len(fields) > MaxHeaders {
		p.refuse(MaxHeaders, "headers")
		return nil
	}
	var names []string
	for _, field := range fields {
		if name, ok := p.headerName(field); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
