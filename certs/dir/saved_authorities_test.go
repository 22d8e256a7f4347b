package dir

import (
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/certs/internal/reading"
)

// Files that are there and cannot be read at the start are no answer if an earlier run had read
// them; files that are gone, or that can be read, are.
func TestUnreadableWhileOthersAreSaved(t *testing.T) {
	t.Parallel()
	root, other := testRoot(t, "devices"), testRoot(t, "other")
	list := string(root.TestRevoke(t, certstest.ListOptions{}, 5))
	newer := root.TestRevoke(t, certstest.ListOptions{Number: 2}, 5, 6)
	const absent = -1
	for name, test := range map[string]struct {
		files   func(f *fixture)
		saved   bool
		revoked int
		fails   bool // the whole read
		problem string
	}{
		"the authority, saved":         {func(f *fixture) { f.loop(t, "d/devices.ca.pem") }, true, 1, false, "its last good content stays in use"},
		"the authority, nothing saved": {func(f *fixture) { f.loop(t, "d/devices.ca.pem") }, false, absent, false, "nobody is let in by it"},
		"its list, saved":              {func(f *fixture) { f.write("d/devices.ca.pem", root.PEM()); f.loop(t, "d/devices.crl.pem") }, true, 1, false, "its last good content stays in use"},
		"its list, nothing saved":      {func(f *fixture) { f.write("d/devices.ca.pem", root.PEM()); f.loop(t, "d/devices.crl.pem") }, false, absent, false, "nobody is let in by it"},
		"gone, saved":                  {func(*fixture) {}, true, absent, false, ""},
		"private key, saved":           {func(f *fixture) { f.write("d/devices.ca.pem", []byte("-----BEGIN PRIVATE KEY-----")) }, true, absent, false, ""},
		"readable, saved":              {func(f *fixture) { f.write("d/devices.ca.pem", root.PEM()); f.write("d/devices.crl.pem", newer) }, true, 2, false, ""},
		"the directory, saved":         {func(f *fixture) { f.remove("d/other.ca.pem"); f.remove("d"); f.loop(t, "d") }, true, absent, true, ""},
	} {
		f := newFixture(t)
		f.write("d/other.ca.pem", other.PEM())
		test.files(f)
		s, sink := f.scanner("d"), certstest.NewSink()
		s.sink = sink
		if test.saved {
			saved, err := reading.Saved(source, "devices", string(root.PEM()), list)
			if err != nil {
				t.Fatal(err)
			}
			sink.Save(saved)
		}
		got, err := s.scan(t.Context())
		if (err != nil) != test.fails {
			t.Errorf("%s: the read ended with %v", name, err)
		}
		revoked := absent
		if a := got.authority("devices"); a != nil {
			revoked = a.RevokedCount
		}
		if revoked != test.revoked || (got.authority("other") == nil) != test.fails {
			t.Errorf("%s: %d revoked, want %d; other %v", name, revoked, test.revoked, got.authority("other"))
		}
		if text := said(got.authorityProblems); !strings.Contains(text, test.problem) || test.problem == "" && text != "" {
			t.Errorf("%s: people are told %q, want %q", name, text, test.problem)
		}
	}
}

// loop makes a path that nobody can read, not even root.
func (f *fixture) loop(t *testing.T, name string) { f.link(t, f.path(name), name) }
