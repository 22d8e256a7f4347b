package labels

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

// What labels of Redis mean, and that a password which cannot be asked for opens nothing.
func TestRedisSettings(t *testing.T) {
	t.Parallel()
	sessions := []sources.RedisPrefix{{Prefix: "sess:", App: sources.AppRef{App: "/shop/sessions"}}}
	for name, tt := range map[string]struct {
		labels map[string]string
		want   *sources.Redis
		closed bool
		words  string // of a problem
	}{
		"alone":                   {labels: map[string]string{"RELAY_0_PROTOCOL": "Redis "}, want: &sources.Redis{}},
		"in http mode":            {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "HAPROXY_0_MODE": "http"}, words: "no effect in http mode"},
		"with a domain":           {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "HAPROXY_0_VHOST": "a.test"}, want: &sources.Redis{}, words: "no effect in tcp mode"},
		"another protocol":        {labels: map[string]string{"RELAY_0_PROTOCOL": "memcached", "HAPROXY_0_MODE": "tcp"}, words: "redis alone"},
		"passwords":               {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_REDIS_PASSWORD": "a", "RELAY_0_REDIS_SERVER_PASSWORD": "b"}, want: &sources.Redis{Password: "a", ServerPassword: "b"}},
		"a password as it is":     {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_REDIS_PASSWORD": "S3cret!"}, want: &sources.Redis{}, closed: true, words: "never the password itself"},
		"an empty one":            {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_REDIS_PASSWORD": " "}, want: &sources.Redis{}, closed: true},
		"without the protocol":    {labels: map[string]string{"HAPROXY_0_MODE": "tcp", "RELAY_0_REDIS_PASSWORD": "a"}, closed: true, words: "only for ports in TCP mode with RELAY_n_PROTOCOL"},
		"of servers, in http":     {labels: map[string]string{"HAPROXY_0_VHOST": "a.test", "RELAY_0_REDIS_SERVER_PASSWORD": "a"}, closed: true, words: "only for ports in TCP mode"},
		"a mistyped protocol":     {labels: map[string]string{"HAPROXY_0_MODE": "tcp", "RELAY_0_PROTOCOL": "reddis", "RELAY_0_REDIS_PASSWORD": "a"}, closed: true},
		"prefixes":                {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_REDIS_PREFIXES": " sess: /shop/sessions\n"}, want: &sources.Redis{Prefixes: sessions}},
		"prefixes without it":     {labels: map[string]string{"HAPROXY_0_MODE": "tcp", "RELAY_0_REDIS_PREFIXES": "sess: /shop/sessions"}, words: "no effect without PROTOCOL"},
		"two of one":              {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_REDIS_PREFIXES": "sess: /shop/sessions, sess: /a"}, want: &sources.Redis{Prefixes: sessions}, words: "there already"},
		"no id":                   {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_REDIS_PREFIXES": "sess: /shop/sessions\nx: shop"}, want: &sources.Redis{Prefixes: sessions}, words: "no id of an app"},
		"passed through":          {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_TLS_PASSTHROUGH": "true"}, want: &sources.Redis{}, words: "Envoy reads what is said"},
		"an age":                  {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_MAX_CONNECTION_AGE": "1h"}, want: &sources.Redis{}, words: "no effect with PROTOCOL=redis"},
		"to wake":                 {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "RELAY_0_WAKE": "client-first", "RELAY_IDLE_AFTER": "1h"}, want: &sources.Redis{}, words: "a command does not wake it"},
		"another way of choosing": {labels: map[string]string{"RELAY_0_PROTOCOL": "redis", "HAPROXY_0_BALANCE": "source"}, want: &sources.Redis{}, words: "the key says"},
	} {
		tt.labels["HAPROXY_GROUP"] = "external"
		app := Read(tt.labels, []DeclaredPort{{ServicePort: 10001}})
		port := app.Ports[0]
		var got *sources.Redis
		if port.TCP != nil {
			got = port.TCP.Redis
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if closed := port.HTTP != nil && port.HTTP.Closed; closed != tt.closed {
			t.Errorf("%s: closed is %t", name, closed)
		}
		var reasons []string
		for _, p := range app.Problems {
			reasons = append(reasons, p.Reason)
		}
		if all := strings.Join(reasons, "; "); !strings.Contains(all, tt.words) || tt.words == "" && !tt.closed && all != "" || strings.Contains(all+fmt.Sprint(app.Shown), "S3cret") {
			t.Errorf("%s: problems %q, want %q", name, reasons, tt.words)
		}
		if got == nil {
			continue
		}
		if port.Upstream == nil || port.Upstream.Balance != sources.BalanceHash || port.HTTP != nil && port.HTTP.Hash != nil || !port.Hashed() || port.Wake != sources.WakeTCPNever || port.TCP.MaxConnectionAge > 0 || port.TCP.Passthrough {
			t.Errorf("%s: %+v %+v", name, port.Upstream, port.TCP)
		}
	}
}

// Whatever is written, prefixes are what Envoy takes: of some length, and each once.
func FuzzRedisPrefixes(f *testing.F) {
	f.Add("sess: /shop/sessions\nx /a:1, y: deployment-group/b")
	f.Add("a /a\na /b, \x00 /c, \u201cx /d, {x} /e")
	f.Fuzz(func(t *testing.T, text string) {
		s := NewSettings()
		s.Set("PROTOCOL", "redis")
		s.Set("REDIS_PREFIXES", text)
		tcp := s.TCP(6379, false)
		prefixes := tcp.Redis.Prefixes
		if !slices.IsSortedFunc(prefixes, func(a, b sources.RedisPrefix) int { return strings.Compare(a.Prefix, b.Prefix) }) || len(prefixes) > MaxRedisPrefixes {
			t.Errorf("%q: %v", text, prefixes)
		}
		for i, p := range prefixes {
			if p.Prefix == "" || len(p.Prefix) > maxRedisPrefix || i > 0 && prefixes[i-1].Prefix == p.Prefix || p.App.App == "" {
				t.Errorf("%q: %+v", text, p)
			}
		}
	})
}
