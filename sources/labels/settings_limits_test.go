package labels

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"relay/internal/problem"
	"relay/sources"
)

// many are so many entries, each with a number.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// Lists of just as many entries as are allowed are taken, and longer ones not at all.
func TestListsHaveLimits(t *testing.T) {
	t.Parallel()
	network := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "10.%d.%d.0 ", i/256, i%256)
		}
		return b.String()
	}
	tests := []struct {
		name  string
		limit int
		value func(n int) string
		count func(*sources.HTTP) int
	}{
		{"PATH", MaxPaths, func(n int) string { return many(n, "/%d ") }, func(h *sources.HTTP) int { return len(h.Paths) }},
		{"PATH", MaxPaths, func(n int) string { return "-i " + many(n, "/%d ") }, func(h *sources.HTTP) int { return len(h.Paths) }},
		{"BACKEND_NETWORK_ALLOWED_ACL", MaxNetworks, network, func(h *sources.HTTP) int { return len(h.AllowedNetworks) }},
		{"REQUEST_HEADERS_TO_ADD", MaxHeaders, func(n int) string { return many(n, "\nx-%d: a\n") }, func(h *sources.HTTP) int { return len(h.RequestHeaders.Add) }},
		{"RESPONSE_HEADERS_TO_ADD", MaxHeaders, func(n int) string { return strings.TrimSpace(many(n, "x-%d: a\n")) }, func(h *sources.HTTP) int { return len(h.ResponseHeaders.Add) }},
		{"REQUEST_HEADERS_TO_REMOVE", MaxHeaders, func(n int) string { return many(n, "x-%d,") }, func(h *sources.HTTP) int { return len(h.RequestHeaders.Remove) }},
		{"RESPONSE_HEADERS_TO_REMOVE", MaxHeaders, func(n int) string { return many(n, "x-%d ") }, func(h *sources.HTTP) int { return len(h.ResponseHeaders.Remove) }},
	}
	for _, tt := range tests {
		for _, n := range []int{tt.limit, tt.limit + 1} {
			p := NewSettings()
			p.Set(tt.name, tt.value(n))
			h, _, problems := p.Finish()
			got := 0
			if h != nil {
				got = tt.count(h)
			}
			if n == tt.limit && (got != n || len(problems) > 0) {
				t.Errorf("%s: %d entries give %d; problems %q", tt.name, n, got, problems)
			}
			if n > tt.limit && (got != 0 || len(problems) != 1 || !strings.Contains(problems[0].Reason, fmt.Sprint("more than ", tt.limit))) {
				t.Errorf("%s: %d entries give %d; problems %q", tt.name, n, got, problems)
			}
		}
	}
}

// A setting that is too long costs itself, and never opens what it would have closed.
func TestLongSettings(t *testing.T) {
	t.Parallel()
	for _, l := range AllSettings() {
		name := l.Name()
		p := NewSettings()
		p.Set("MODE", "tcp")
		if name == "TLS_VERIFY" {
			p.Set("TLS", "true")
		}
		p.Set(name, strings.Repeat(" ", sources.MaxSettingBytes)+"1")
		tcp := p.TCP(10001, false)
		h, u, problems := p.Finish()
		if !slices.ContainsFunc(problems, func(p problem.Problem) bool {
			return p.Subject == name && strings.Contains(p.Reason, "more than 65536 bytes")
		}) {
			t.Errorf("%s: problems %q", name, problems)
		}
		var ok bool
		switch name {
		case "AUTH", "BACKEND_NETWORK_ALLOWED_ACL", "CLIENT_CA", "CLIENT_SAN", "CLIENT_CERTIFICATES", "AUTH_APP", "AUTH_APP_RESPONSE_HEADERS", "JWT_ISSUER", "JWT_JWKS", "JWT_AUDIENCES", "JWT_CLAIMS_TO_HEADERS", "REDIS_PASSWORD", "REDIS_SERVER_PASSWORD",
			"OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_AUTHORIZATION_ENDPOINT", "OIDC_TOKEN_ENDPOINT":
			ok = h != nil && h.Closed
		case "PORT", "BIND_ADDR", "BIND_OPTIONS":
			ok = tcp != nil && tcp.Port == 0
		case "PATH":
			ok = h != nil && h.Paths != nil && len(h.Paths) == 0
		case "TLS", "TLS_VERIFY":
			ok = u != nil && u.TLS != nil && u.TLS.Verify
		default:
			ok = h == nil && u == nil
		}
		if !ok {
			t.Errorf("%s: %+v %+v %+v", name, h, u, tcp)
		}
	}
	p := NewSettings()
	p.Set("BIND_OPTIONS", strings.Repeat("accept-proxy ", 10_000))
	if tcp := p.TCP(10001, false); tcp != nil {
		t.Errorf("a service without the PROXY protocol that was asked for is opened: %+v", tcp)
	}
	p = NewSettings()
	p.Set("BIND_OPTIONS", strings.Repeat("x ", 1000))
	if _, _, problems := p.Finish(); len(problems) != sources.MaxSubjectProblems+1 {
		t.Errorf("%d problems of one setting", len(problems))
	}
}
