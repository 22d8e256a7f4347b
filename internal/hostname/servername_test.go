package hostname

import (
	"strings"
	"testing"
)

func FuzzServerName(f *testing.F) {
	for _, name := range []string{
		"a.test", "*.a.test", "*", "*.", "*.*.a", "a..b", ".", "", "A.Test.", "bücher.test", "xn--bcher-kva.test", "xn--a", "ß.test", "１.2.3.4",
		"127.0.0.1", "::1", "[::1]", "a_b.test", "-a.test", "a\x00.test", "a\u200b.test", "\xff.test", "a/b.test", "a。test", strings.Repeat("a.", 130) + "test",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := ServerName(name)
		if err != nil {
			if len(err.Error()) > 100 {
				t.Errorf("a long error: %v", err)
			}
			return
		}
		if again, err := ServerName(got); err != nil || again != got {
			t.Errorf("%q becomes %q, and that %q (%v)", name, got, again, err)
		}
		base := strings.TrimPrefix(got, "*.")
		if got == "" || len(got) > 253 || strings.Trim(base, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" ||
			strings.Contains("."+base+".", "..") {
			t.Errorf("%q becomes %q", name, got)
		}
	})
}
