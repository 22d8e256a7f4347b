package relay

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/collator/routing"
	"relay/internal/failure"
)

// A page that cannot be used costs itself alone, and people are told why.
func TestErrorPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, html := range map[string]string{
		"busy.html": "<p>{{code}}", "default.html": "<p>{{text}}", "style.css": "p{}", ".hidden.html": "x", "README": "x",
		"bussy.html": "x", "offline.html": "{{host}}", "crashed.html": "\xff", "asleep.html": strings.Repeat("x", failure.MaxPage+1), "starting.html": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(html), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "maintenance.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	given := Config{Fleets: []Fleet{
		{Fleet: routing.Fleet{Name: "a"}, ErrorPagesDir: dir}, {Fleet: routing.Fleet{Name: "b"}},
		{Fleet: routing.Fleet{Name: "c"}, ErrorPagesDir: filepath.Join(dir, "none")}, {Fleet: routing.Fleet{Name: "d"}, ErrorPagesDir: empty},
	}}
	c := given
	c.readErrorPages()
	var names []string
	for name := range c.Fleets[0].ErrorPages {
		names = append(names, name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"busy", "default"}) || c.Fleets[1].ErrorPages != nil || len(c.Fleets[2].ErrorPages)+len(c.Fleets[3].ErrorPages) > 0 {
		t.Errorf("pages: %q, %+v", names, c.Fleets[1:])
	}
	if given.Fleets[0].ErrorPages != nil || len(given.Warnings) > 0 {
		t.Error("the configuration that was given is changed")
	}
	want := []string{
		`"asleep.html" cannot be used: it is larger than 64 kB`, `"bussy.html" cannot be used: no code is called "bussy": there are default, `,
		`"crashed.html" cannot be used: it is not UTF-8`, `"maintenance.html" cannot be used: not a regular file`,
		`"offline.html" cannot be used: there is no placeholder {{host}}`, `"starting.html" cannot be used: it is empty`,
		"the folder cannot be read", "has no page: they are called CODE.html, such as busy.html, or default.html",
	}
	if len(c.Warnings) != len(want) {
		t.Fatalf("%d warnings: %+v", len(c.Warnings), c.Warnings)
	}
	for i, p := range c.Warnings {
		if p = p.Complete(); !strings.Contains(p.Reason, want[i]) || p.Subject != "error-pages" || p.Action == "" || p.Fleet == "" {
			t.Errorf("warning %+v, want %s", p, want[i])
		}
	}
}

// "relay check" says so, too.
func TestErrorPagesAreChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"busy.html": "{{x}}", "apps.yaml": "apps: []\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fleet := routing.Fleet{Name: "a", Options: routing.DefaultOptions()}
	if err := fleet.HTTP.UnmarshalText([]byte("127.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := Check(t.Context(), Config{
		Apps: Apps{File: filepath.Join(dir, "apps.yaml")}, Fleets: []Fleet{{Fleet: fleet, ErrorPagesDir: dir}},
		XDS: XDSPort{Address: "127.0.0.1:0"}, Admin: AdminPort{Address: "127.0.0.1:0"},
	}, 10*time.Second, &out)
	if err == nil || !strings.Contains(out.String(), `wrong  error-pages: "busy.html" cannot be used: there is no placeholder {{x}}`) {
		t.Errorf("%v: %s", err, &out)
	}
}
