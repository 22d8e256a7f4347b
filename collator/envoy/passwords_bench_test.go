package envoy_test

import (
	"io"
	"net/http"
	"testing"

	"relay/sources"
)

// BenchmarkPasswords measures a request through a real Envoy to an app without a password, with one that Envoy checks, and with
// ones that Relay checked before: one after the other, on one connection.
func BenchmarkPasswords(b *testing.B) {
	e := startEnvoy(b)
	e.c.SyncApps([]*sources.App{
		e.app("/open", "open.test"),
		e.withUsers(e.app("/envoy", "envoy.test"), "joe", sha1Secret),
		e.withUsers(e.app("/relay", "relay.test"), "joe", sha512Secret),
	})
	for _, tt := range []struct {
		what, host, password string
		status               int
	}{
		{"no password", "open.test", "secret", 200}, {"checked by Envoy", "envoy.test", "secret", 200}, {"checked by Relay", "relay.test", "secret", 200},
		{"refused by Envoy", "envoy.test", "wrong", 401}, {"refused by Relay", "relay.test", "wrong", 401},
	} {
		e.eventually(b, request{host: tt.host, path: "/", header: login("joe", tt.password)}, status(tt.status))
		b.Run(tt.what, func(b *testing.B) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://"+e.fleet.HTTP.String()+"/", nil)
				if err != nil {
					b.Fatal(err)
				}
				req.Host, req.Header = tt.host, login("joe", tt.password)
				resp, err := transport.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != tt.status {
					b.Fatalf("status %d", resp.StatusCode)
				}
			}
		})
	}
}
