package dir

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file that somebody writes to in parts never counts with the first part alone: not at the start, where there is no
// last good content, and not later. Who writes to it all the time does not hold up the others for ever.
func TestHalfOfAFile(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(content string, written time.Time) {
		t.Helper()
		path := filepath.Join(folder, "a")
		if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chtimes(path, written, written)); err != nil {
			t.Fatal(err)
		}
	}
	s, now := newScanner(folder), time.Now()
	s.now = func() time.Time { return now }
	read := func(want string) {
		t.Helper()
		all, _, _, err := s.scan(t.Context())
		if err != nil || len(all) != 1 || string(all[0].Value) != want {
			t.Errorf("read %d, %v; want %s", len(all), err, want)
		}
	}
	longAgo := now.Add(-time.Hour)
	for _, value := range []string{"first", "second"} {
		for _, part := range []string{"", value[:2]} {
			waits := 0
			s.settle = func(context.Context) error {
				if waits++; waits == 1 {
					write(value[:3], now)
				} else {
					write(value, longAgo)
				}
				return nil
			}
			write(part, now)
			read(value)
			if waits != 2 {
				t.Errorf("%q: it was waited %d times", part, waits)
			}
		}
	}
	s.settle = func(context.Context) error { t.Error("it is waited for what is known"); return nil }
	write("second", now)
	read("second")
	waits := 0
	s.settle = func(context.Context) error { waits++; write("always", now.Add(time.Millisecond)); return nil }
	write("always", now)
	read("always")
	if waits != settleTries-1 {
		t.Errorf("it was waited %d times", waits)
	}
	s.settle = func(context.Context) error { return context.Canceled }
	write("more", now)
	if _, _, _, err := s.scan(t.Context()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
