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
		{in: "my_app.test", want: "my_app.test"},
		{in: "*.My_Zone.test", want: "*.my_zone.test"},
		{in: "_dmarc._tcp.test.", want: "_dmarc._tcp.test"},
		{in: "_", want: "_"},
		{in: "büch_er.example", want: "xn--bch_er-3ya.example"},
		{in: "r3---sn-a.test", want: "r3---sn-a.test"},
		{in: "-a.b-.test", want: "-a.b-.test"},
		{in: "a.b.1", want: "a.b.1"},
		{in: "10.0.0.1", want: "10.0.0.1"},
		{in: "10.0.0.1.", want: "10.0.0.1"},
		{in: "１０.0.0.1", want: "10.0.0.1"},
		{in: "10.0.0.1:80", err: "without port"},
		{in: "*.10.0.0.1", err: "names below"},
		{in: "[10.0.0.1]", err: "only letters"},
		{in: "[::1]", err: "IPv6 address"},
		{in: "fe80::1%eth0", err: "IPv6 address"},
		{in: "::ffff:10.0.0.1", err: "IPv6 address"},
		{in: "xn--a.test", err: "not a valid domain"},
		{in: "１０.example", want: "10.example"},
		{in: "\xff.test", err: "not a valid domain"},
		{in: "a.*.test", err: "whole first label"},
		{in: "*", err: "name the domains, or write"},
		{in: "*a.test", err: "whole first label"},
		{in: "“a.test”", err: "a quote"},
		{in: "a–b.test", err: "a dash"},
		{in: "\"a.test\"", err: "only letters"},
		{in: "♥.test", want: "xn--g6h.test"},
		{in: "a..test", err: "empty label"},
		{in: "a.test;b.test", err: "has a ';': in a label, commas or spaces stand"},
		{in: "a b.test", err: "only letters"},
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
	for _, seed := range []string{"a.test", "*.a.test", "BÜCHER.test.", "a_b", "xn--a", "10.0.0.1", "*.１.2.3.4", "-a-.b--c", "[::1]"} {
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

func TestNoCertificate(t *testing.T) {
	t.Parallel()
	for domain, want := range map[string]string{
		"a.test": "", "*.a.test": "", "localhost": "", "a-b.xn--bcher-kva.test": "", "a1.2": "",
		"my_app.test": "underscore", "*.my_app.test": "underscore", "a.-b.test": "hyphen", "a-.test": "hyphen", "r3---sn.test": "punycode",
		"10.0.0.1": "IP address",
	} {
		if got := NoCertificate(domain); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("NoCertificate(%q) = %q, want %q", domain, got, want)
		}
	}
}
