package vault

import (
	"strings"
	"testing"

	"relay/certs"
)

// Names are compared as they are served, however they are written.
func TestCrossCheckComparesNames(t *testing.T) {
	t.Parallel()
	c := &certs.Certificate{ServerNames: []string{"*.shop.test", "xn--bcher-kva.test"}, Fingerprint: "ab"}
	for _, tt := range []struct {
		name  string
		entry liveEntry
		want  string
	}{
		{"xn--bcher-kva.test", liveEntry{DNSNames: []string{"*.Shop.test.", "bücher.test"}}, ""},
		{"Bücher.test", liveEntry{Fingerprint: "ab", DNSNames: []string{"*"}}, ""},
		{"*.shop.test.", liveEntry{}, ""},
		{"shop.test", liveEntry{}, "does not cover the name"},
		{"b..test", liveEntry{}, "does not cover the name"},
		{"bücher.test", liveEntry{DNSNames: []string{"a.shop.test"}}, `covers "a.shop.test"`},
		{"bücher.test", liveEntry{Fingerprint: "cd"}, "expects the fingerprint"},
	} {
		notes := strings.Join(crossCheck(tt.name, c, tt.entry), "; ")
		if (notes == "") != (tt.want == "") || !strings.Contains(notes, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, notes, tt.want)
		}
	}
}
