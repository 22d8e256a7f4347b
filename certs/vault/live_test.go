package vault

import (
	"encoding/json"
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

// An entry whose fields have other names than those that are read says which it has.
func TestUnreadFields(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		`{"certificate": "x", "private_key": "y"}`:           `none of the fields privkey, cert and chain; not read are its fields "certificate", "private_key"`,
		`{"cert": "x", "pem": "y"}`:                          `no PEM block found; not read are its fields "pem"`,
		`{"a":"","b":"","c":"","d":"","e":"","f":"","g":""}`: `"e" and 2 more`,
		`{}`: "the entry has none of the fields privkey, cert and chain",
	} {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(entry), &fields); err != nil {
			t.Fatal(err)
		}
		if _, _, err := parseCertificate(fields); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want an error that ends in %q", entry, err, want)
		}
	}
}
