package hostname

import (
	"strings"
	"testing"
)

func TestDomain(t *testing.T) {
	tests := []struct{ in, want, err string }{
		{in: "example.com", want: "example.com"},
		{in: " WWW.Example.COM. ", want: "www.example.com"},
		{in: "*.Example.com", want: "*.example.com"},
		{in: "bücher.example", want: "xn--bcher-kva.example"},
		{in: "localhost", want: "localhost"},
		{in: "1.example", want: "1.example"},
		{in: "", err: "is empty"},
		{in: ".", err: "is empty"},
		{in: "http://a.test", err: "scheme"},
		{in: "a.test:80", err: "without port"},
		{in: "a.test/x", err: "without port or path"},
		{in: "10.0.0.1", err: "IP address"},
		{in: "[::1]", err: "IP address"},
		{in: "１０.0.0.1", err: "IP address"},
		{in: "１０.example", want: "10.example"},
		{in: "\xff.test", err: "not a valid domain"},
		{in: "a.*.test", err: "whole first label"},
		{in: "*", err: "whole first label"},
		{in: "*a.test", err: "whole first label"},
		{in: "a..test", err: "empty label"},
		{in: "a_b.test", err: "only letters"},
		{in: "a b.test", err: "only letters"},
		{in: "-a.test", err: "not a valid domain"},
		{in: strings.Repeat("a", 64) + ".test", err: "63 bytes"},
		{in: strings.Repeat("a.", 130) + "test", err: "253 bytes"},
		{in: strings.Repeat("ü", 1<<20), err: "253 bytes"},
		{in: strings.Repeat(" ", 1<<20) + "a b.test" + strings.Repeat(" ", 1<<20), err: "only letters"},
	}
	for _, tt := range tests {
		got, err := Domain(tt.in)
		switch {
		case tt.err == "" && err != nil:
			t.Errorf("Domain(%q): %v", tt.in, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("Domain(%q) = %q, %v; want an error with %q", tt.in, got, err, tt.err)
		case err != nil && len(err.Error()) > 1000:
			t.Errorf("Domain(%.40q): an error of %d bytes", tt.in, len(err.Error()))
		case got != tt.want:
			t.Errorf("Domain(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzDomain(f *testing.F) {
	for _, seed := range []string{"a.test", "*.a.test", "BÜCHER.test.", "a_b", "xn--a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Domain(s)
		if err != nil {
			return
		}
		if again, err := Domain(d); err != nil || again != d {
			t.Errorf("Domain(%q) = %q, which normalises to %q, %v", s, d, again, err)
		}
	})
}
