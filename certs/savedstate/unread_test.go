package savedstate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/certs"
)

// A store that says why it does not sync leaves the file as it is: what was saved stands in, and
// people are told why until the store syncs.
func TestStoreThatDoesNotSync(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	all := []*certs.Authority{authority(t, "devices", true), authority(t, "others", false)}
	synctest.Test(t, func(t *testing.T) {
		first, _ := newAuthorities(path, nil)
		go func() { _ = first.Serve(t.Context()) }()
		if got := certs.Saved(first, "vault"); got != nil {
			t.Errorf("saved before anything was: %v", got)
		}
		first.SyncAuthorities("vault", all, nil)
		synctest.Wait()
		before := content(t, path)

		second, next := newAuthorities(path, nil)
		go func() { _ = second.Serve(t.Context()) }()
		for range 3 {
			if got := certs.Saved(second, "vault"); len(got) != 2 || !got[0].Equal(all[0]) || !got[1].Equal(all[1]) {
				t.Fatalf("saved are %+v", got)
			}
			certs.Unread(second, "vault", "denied: give a right")
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := next.Last(); len(got.Authorities) != 2 {
				t.Fatalf("stood in with %+v", got)
			}
			if s := second.Status(); s.StandsIn.IsZero() || strings.Join(s.Problems, "; ") != "denied: give a right" {
				t.Errorf("people are told %+v", s)
			}
			if content(t, path) != before {
				t.Fatal("the file was written")
			}
		}
		second.SyncAuthorities("vault", nil, nil)
		if got := certs.Saved(second, "vault"); got != nil {
			t.Errorf("what was saved outlives a sync: %v", got)
		}
		if s := second.Status(); !s.StandsIn.IsZero() || len(s.Problems) > 0 || len(next.Last().Authorities) > 0 {
			t.Errorf("after the sync people are told %+v", s)
		}
	})
}

// What cannot be used was not saved: it is a matter of its own, which Status tells.
func TestNothingIsSaved(t *testing.T) {
	t.Parallel()
	body, err := encodeAuthorities(authoritiesRead{authorities: []*certs.Authority{authority(t, "devices", true)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(s *Authorities, path string) error{
		"no file":     func(*Authorities, string) error { return nil },
		"damaged":     func(_ *Authorities, path string) error { return os.WriteFile(path, []byte("relay-state"), 0o600) },
		"another key": func(s *Authorities, _ string) error { f := s.file; f.Key = testKey(t); return f.Save(time.Now(), body) },
		"no JSON":     func(s *Authorities, _ string) error { return s.file.Save(time.Now(), []byte("x")) },
		"none":        func(s *Authorities, _ string) error { return s.file.Save(time.Now(), []byte("{}")) },
	} {
		path := filepath.Join(t.TempDir(), "f")
		s, _ := newAuthorities(path, nil)
		if err := write(s, path); err != nil {
			t.Fatal(err)
		}
		if got := certs.Saved(s, "vault"); len(got) > 0 {
			t.Errorf("%s: saved are %v", name, got)
		}
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
