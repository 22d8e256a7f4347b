package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// write makes the files of a test.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A module without a licence is refused, and each licence on the way to a package counts.
func TestLicences(t *testing.T) {
	dir := t.TempDir()
	mit := "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software"
	write(t, dir, map[string]string{
		"none/NOTICE": "Copyright", "none/p/p.go": "", "none/license.go": "package none",
		"some/LICENSE.txt": mit, "some/NOTICE": "Copyright", "some/a/b/COPYING": "other", "some/a/b/p.go": "", "some/c/LICENSE": "not linked in",
	})
	none := module{path: "none", version: "v1", dir: filepath.Join(dir, "none")}
	if err := none.add(filepath.Join(dir, "none/p")); err != nil {
		t.Fatal(err)
	}
	if err := none.check(); err == nil || !strings.Contains(err.Error(), "none v1 has no licence") {
		t.Errorf("a module with only a notice: %v", err)
	}
	some := module{path: "some", version: "v1", dir: filepath.Join(dir, "some")}
	for range 2 {
		if err := some.add(filepath.Join(dir, "some/a/b")); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, l := range some.licences {
		names = append(names, l.name)
	}
	if err, got := some.check(), strings.Join(names, " "); err != nil || got != "a/b/COPYING LICENSE.txt NOTICE" {
		t.Errorf("licences %q (%v)", got, err)
	}
	text := string(licencesText([]module{some, {path: "twin", version: "v2", licences: some.licences[1:2]}}))
	if strings.Count(text, mit) != 1 || !strings.Contains(text, "some v1: ") || !strings.Contains(text, "LICENSE.txt: text 2\n    NOTICE: text 3\ntwin v2: ") {
		t.Errorf("the text is:\n%s", text)
	}
}

// A version says which sources it is of, and a later one is greater.
func TestVersion(t *testing.T) {
	t.Setenv("VERSION", "")
	t.Setenv("SOURCE_DATE_EPOCH", "")
	dir := t.TempDir()
	if _, err := readSources(dir); err == nil || !strings.Contains(err.Error(), "set SOURCE_DATE_EPOCH") {
		t.Errorf("without Git: %v", err)
	}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	var last string
	want := func(what string) {
		t.Helper()
		s, err := readSources(dir)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := s.git("rev-parse", "--short=12", "HEAD")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(s.version, hash, "HASH"); got != what || s.date.Unix() != 1767323045 {
			t.Errorf("version %s of %s, want %s", got, s.date, what)
		}
		if last != "" {
			if err := exec.Command("dpkg", "--compare-versions", s.debianVersion(), "gt", last).Run(); err != nil {
				t.Errorf("Debian takes %s for older than %s (%v)", s.debianVersion(), last, err)
			}
		}
		last = s.debianVersion()
	}
	git("init", "--quiet")
	git("commit", "--quiet", "--allow-empty", "-m", "1")
	want("0.20260102030405.HASH")
	git("tag", "v1.2.3")
	want("1.2.3")
	git("commit", "--quiet", "--allow-empty", "-m", "2")
	want("1.2.3.20260102030405.HASH")
	write(t, dir, map[string]string{"new": ""})
	want("1.2.3.20260102030405.HASH.dirty")
	git("tag", "v1.2.4", "-m", "annotated")
	if err := os.Remove(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	want("1.2.4")
	for version, valid := range map[string]bool{"1.2.3~rc1": true, "v1.2.3": false, "1.2-3": false, "1 2": false} {
		t.Setenv("VERSION", version)
		if s, err := readSources(dir); (err == nil) != valid || valid && s.version != version {
			t.Errorf("VERSION=%s: %v", version, err)
		}
	}
}
