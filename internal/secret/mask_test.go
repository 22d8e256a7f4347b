package secret_test

import (
	"testing"

	"relay/internal/secret"
)

func TestMask(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"shop.test, *.shop.test", "shop.test, *.shop.test"},
		{"costs $5 or $6", "costs $5 or $6"},
		{"mail to a@b.test", "mail to a@b.test"},
		{"http://u:p@ss@m.test/x", "http://REDACTED@m.test/x"},
		{"key: -----BEGIN PRIVATE KEY-----\nMII", "key: REDACTED"},
		{"hvs.CAESI-_x", "REDACTED"},
		{"eyJhbGciOiJI.eyJ1aWQiOiJ4.c2ln", "REDACTED"},
		{"Basic dXNlcjpwYXNz", "Basic REDACTED"},
		{"a?token=x&b=c", "a?token=REDACTED&b=c"},
		{"Shop:joe:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "Shop:joe:REDACTED"},
		{"joe:$6$rounds=5000$salt$hash./", "joe:REDACTED"},
		{"joe:$2y$10$abcdefghijklmnopqrstuv", "joe:REDACTED"},
		{"joe:$apr1$salt$hash", "joe:REDACTED"},
	}
	for _, tt := range tests {
		if got := secret.Mask(tt.in); got != tt.want {
			t.Errorf("Mask(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"X-Api-Key": true, "Set-Cookie": true, "Authorization": true, "X-Frame-Options": false, "Location": false} {
		if secret.Named(name) != want {
			t.Errorf("Named(%q) is not %t", name, want)
		}
	}
}
