package admin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"relay/internal/secret"
)

func TestAccess(t *testing.T) {
	t.Parallel()
	token := func() secret.String { return "s3cret" }
	acme := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	tests := []struct {
		name         string
		access       Access
		method, path string
		from         string
		auth         string // bearer, basic or a wrong one
		certificate  bool
		status       int
	}{
		{"open", Access{}, "GET", "/metrics", "10.0.0.1:1", "", false, 200},
		{"token missing", Access{Token: token}, "GET", "/", "10.0.0.1:1", "", false, 401},
		{"token wrong", Access{Token: token}, "GET", "/", "10.0.0.1:1", "wrong", false, 401},
		{"token", Access{Token: token}, "GET", "/", "10.0.0.1:1", "bearer", false, 200},
		{"token as password", Access{Token: token}, "GET", "/metrics", "10.0.0.1:1", "basic", false, 200},
		{"token file gone", Access{Token: func() secret.String { return "" }}, "GET", "/", "10.0.0.1:1", "empty", false, 401},
		{"health without token", Access{Token: token}, "GET", "/healthz", "10.0.0.1:1", "", false, 200},
		{"readiness without token", Access{Token: token}, "GET", "/readyz", "10.0.0.1:1", "", false, 200},
		{"JSON without token", Access{Token: token}, "GET", "/api/v1/apps", "10.0.0.1:1", "", false, 401},
		{"status without token", Access{Token: token}, "GET", "/api/v1/status", "10.0.0.1:1", "", false, 401},
		{"status with token", Access{Token: token}, "GET", "/api/v1/status", "10.0.0.1:1", "bearer", false, 200},
		{"events without token", Access{Token: token}, "GET", "/api/v1/events", "10.0.0.1:1", "", false, 401},
		{"events without a certificate", Access{ClientCertificates: true}, "GET", "/api/v1/events", "10.0.0.1:1", "", false, 403},
		{"events in disguise", Access{Token: token, HookNetworks: acme}, "GET", "/_mlb_signal/../api/v1/events", "10.0.0.1:1", "", false, 401},
		{"hook without token", Access{Token: token}, "POST", "/_mlb_signal/usr1", "10.0.0.1:1", "", false, 401},
		{"hook with token", Access{Token: token}, "POST", "/_mlb_signal/usr1", "10.0.0.1:1", "bearer", false, 204},
		{"hook from its network", Access{Token: token, HookNetworks: acme}, "POST", "/_mlb_signal/usr1", "10.0.0.1:1", "", false, 204},
		{"hook from its network by IPv6", Access{Token: token, HookNetworks: acme}, "POST", "/_mlb_signal/hup", "[::ffff:10.0.0.1]:1", "", false, 204},
		{"hook in disguise", Access{Token: token, HookNetworks: acme}, "GET", "/_mlb_signal/../metrics", "10.0.0.1:1", "", false, 401},
		{"hook from another network", Access{HookNetworks: acme}, "POST", "/_mlb_signal/usr1", "11.0.0.1:1", "", false, 403},
		{"page where only hooks are restricted", Access{HookNetworks: acme}, "GET", "/", "11.0.0.1:1", "", false, 200},
		{"certificate", Access{ClientCertificates: true}, "GET", "/", "10.0.0.1:1", "", true, 200},
		{"certificate that is not good any more", Access{ClientCertificates: true, VerifyAgain: func([][]*x509.Certificate) error { return errors.New("expired") }}, "GET", "/", "10.0.0.1:1", "", true, 403},
		{"certificate that is still good", Access{ClientCertificates: true, VerifyAgain: func([][]*x509.Certificate) error { return nil }}, "GET", "/", "10.0.0.1:1", "", true, 200},
		{"certificate missing", Access{ClientCertificates: true}, "GET", "/", "10.0.0.1:1", "", false, 403},
		{"certificate in place of token", Access{Token: token, ClientCertificates: true}, "GET", "/", "10.0.0.1:1", "", true, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := newConfig(fakeViews{})
			cfg.Access = tt.access
			r := httptest.NewRequest(tt.method, "http://relay.test"+tt.path, nil)
			r.RemoteAddr = tt.from
			switch tt.auth {
			case "bearer":
				r.Header.Set("Authorization", "Bearer s3cret")
			case "basic":
				r.SetBasicAuth("anyone", "s3cret")
			case "wrong":
				r.Header.Set("Authorization", "Bearer s3cre")
			case "empty":
				r.Header.Set("Authorization", "Bearer ")
			}
			if tt.certificate {
				r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}
			}
			w := httptest.NewRecorder()
			New(cfg, nil).Handler().ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
		})
	}
	if s := fmt.Sprintf("%v %#v %s", secret.String("s3cret"), secret.String("s3cret"), Access{Token: token}.Token()); strings.Contains(s, "s3cret") {
		t.Errorf("a token prints as %s", s)
	}
}
