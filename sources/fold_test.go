package sources

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

func TestAppendFolded(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", " \t_-": "", "HAPROXY_GROUP": "haproxy_group", " HAPROXY_GROUP\n": "haproxy_group", "\u00a0HAPROXY_GROUP\u2003": "haproxy_group",
		"HAPROXY\u200b_GROUP\ufeff": "haproxy_group", "\"HAPROXY_GROUP'": "haproxy_group", "“HAPROXY_GROUP”": "haproxy_group", "HAPROXY__ _GROUP": "haproxy_group",
		"HAPROXY-0.VHOST": "haproxy-0-vhost", "haproxy_-_0": "haproxy-0", "HAPROXY–0—VHOST": "haproxy-0-vhost", "HAPROXY‿GROUP": "haproxy_group",
		"ＨＡＰＲＯＸＹ＿０": "haproxy_0", "НАРRОХУ_GRОUР": "haproxy_group", "ΗΑΡRΟΧΥ": "haproxy", "hаproxy": "haproxy", "é": "é", "É": "é", "e\u0301": "e",
		"\u212a": "k", "\xff": "\ufffd", "a/b:c": "a-b-c", "\x00a\x7f": "a",
	} {
		if got := string(AppendFolded([]byte("x"), text)); got != "x"+want {
			t.Errorf("%q is folded to %q, want %q", text, got, "x"+want)
		}
	}
}

func FuzzAppendFolded(f *testing.F) {
	for _, text := range []string{" HAPROXY_GROUP", "НАРRОХУ", "\xff", "ﬁ_İ", "ſ-K", "–“a”"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := AppendFolded(nil, text)
		if again := AppendFolded(nil, string(once)); !bytes.Equal(once, again) || !utf8.Valid(once) {
			t.Errorf("%q is folded to %q, and that to %q", text, once, again)
		}
	})
}

func TestTypos(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"haproxy", "haproxy", 0}, {"hapoxy", "haproxy", 1}, {"haproxxy", "haproxy", 1}, {"haprixy", "haproxy", 1},
		{"hapro yx", "haproxy", 2}, {"harpoxy", "haproxy", 1}, {"ahrpoxy", "haproxy", 2}, {"proxy", "haproxy", 2}, {"happy", "haproxy", 3}, {"internal", "external", 2},
		{"extrenal", "external", 1}, {"ca", "abc", 3},
	} {
		if got := Typos(tt.a, tt.b); got != tt.want || Typos(tt.b, tt.a) != got {
			t.Errorf("%q and %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
