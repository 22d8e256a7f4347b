package xds

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// What Envoy says is shown, but for what is inside of messages that it prints.
func TestQuotable(t *testing.T) {
	t.Parallel()
	const key = `-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n`
	for _, tt := range []struct{ in, want string }{
		{"Error adding/updating listener(s) http: cannot bind '0.0.0.0:80': Address already in use\n", "Error adding/updating listener(s) http: cannot bind '0.0.0.0:80': Address already in use"},
		{`tls_certificate { private_key { inline_string: "` + key + `" } }`, `tls_certificate { private_key { inline_string: "left out" } }`},
		{`private_key { inline_bytes: "a\"b\\" } rest`, `private_key { inline_bytes: "left out" } rest`},
		{`private_key { inline_string: "cut off in the mid`, `private_key { inline_string: "left out"`},
		{"text " + key + " more", `text (a private key, left out)\n more`},
		{"text -----BEGIN PRIVATE KEY-----\nMHcC", "text (a private key, left out)"},
	} {
		if got := quotable(tt.in); got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.in, got, tt.want)
		}
	}
	if long := quotable(strings.Repeat("ü", maxMessage)); len(long) > maxMessage+4 || !utf8.ValidString(long) {
		t.Errorf("a long message has %d bytes", len(long))
	}
}

// Of very many rejected resources only the beginning of what Envoy says is kept.
func TestMessagesAboutManyRejected(t *testing.T) {
	store, _, connect := scripts(t)
	e := connect("edge-1", "1.40.0")
	words := strings.Repeat("ü", maxMessage/2)
	e.subscribe(Cluster)
	e.ack(e.expect(Cluster, nil))
	for i := range maxQuoted + 10 {
		name := fmt.Sprintf("c%03d", i)
		setIn(t, store, Cluster, "bad", name)
		if r := e.nack(e.expect(Cluster, []string{name}), words); r.Message != words {
			t.Fatalf("%d bytes of Envoy's words are logged", len(r.Message))
		}
	}
	e.session.locked(func() {
		ts, table := &e.session.types[Cluster], &store.tables[Cluster]
		for i := range maxQuoted + 10 {
			id := table.ids[fmt.Sprintf("c%03d", i)]
			said, noted := ts.rejected[id].message, table.rejections[id][0].byNode["edge-1"].message
			if whole := i < maxQuoted; (said == words) != whole || !whole && len(said) > maxBrief+3 || noted != said {
				t.Errorf("of rejection %d are kept %d bytes, and %d", i, len(said), len(noted))
			}
		}
	})
}

func FuzzQuotable(f *testing.F) {
	f.Add(`inline_string: "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"`)
	f.Fuzz(func(t *testing.T, text string) {
		if got := quotable(text); len(got) > maxMessage+4 {
			t.Errorf("%d bytes", len(got))
		}
		if got := quotable("-----BEGIN PRIVATE KEY-----\nMHcCAQEE" + text); strings.Contains(got, "MHcCAQEE") {
			t.Errorf("shows a key: %q", got)
		}
	})
}
