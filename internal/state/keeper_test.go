package state

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept is a Keeper of a text, in a bubble of its own time.
type kept struct {
	*Keeper[string]
	t        *testing.T
	file     File
	log      *strings.Builder
	now      string
	encoded  int
	standIns []string
	stop     func()
}

const (
	grace    = 10 * time.Second
	interval = 5 * time.Second
)

func keep(t *testing.T, path string) *kept {
	t.Helper()
	k := &kept{t: t, file: File{Path: path, Content: "text"}, log: &strings.Builder{}}
	k.Keeper = New(Config{What: "apps", Source: "marathon", File: k.file, Grace: grace, Interval: interval}, Content[string]{
		Snapshot: func() string { return k.now },
		Encode:   func(s string) ([]byte, error) { k.encoded++; return []byte(s), nil },
		Decode: func(b []byte) (string, error) {
			if string(b) == "bad" {
				return "", errors.New("it is bad")
			}
			return string(b), nil
		},
		StandIn: func(s string) { k.standIns = append(k.standIns, s) },
	}, slog.New(slog.NewTextHandler(k.log, nil)), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = k.Serve(ctx)
	}()
	k.stop = func() { cancel(); <-done }
	return k
}

func (k *kept) sync(s string)   { k.Sync(true, func() { k.now = s }) }
func (k *kept) update(s string) { k.Update(func() { k.now = s }) }

func (k *kept) wantSaved(want string) {
	k.t.Helper()
	synctest.Wait()
	body, _, err := k.file.Load()
	if err != nil || string(body) != want {
		k.t.Errorf("saved is %q, %v; want %q", body, err, want)
	}
}

func TestSaves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, path)
		k.sync("1")
		k.wantSaved("1")
		for range 100 {
			k.update("storm")
		}
		k.update("2")
		time.Sleep(interval - time.Millisecond)
		k.wantSaved("1")
		time.Sleep(time.Millisecond)
		k.wantSaved("2")
		if k.encoded != 2 {
			t.Errorf("saved %d times, want 2", k.encoded)
		}
		time.Sleep(time.Hour)
		k.Sync(false, func() {})
		synctest.Wait()
		if k.encoded != 2 {
			t.Error("what has not changed was saved again")
		}
		k.update("3")
		k.wantSaved("3")
		k.update("last")
		k.stop() // within the interval
		k.wantSaved("last")
	})
}

func TestStandsIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	synctest.Test(t, func(t *testing.T) {
		saved := time.Now().Add(-time.Hour)
		if err := (File{Path: path, Content: "text"}).Save(saved, []byte("old")); err != nil {
			t.Fatal(err)
		}
		k := keep(t, path)
		k.update("part") // must not be mixed with what is saved
		time.Sleep(grace - time.Millisecond)
		synctest.Wait()
		if len(k.standIns) != 0 || k.now != "" || k.age() != 0 {
			t.Fatalf("within the grace: stood in %q, updated %q, age %v", k.standIns, k.now, k.age())
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(k.standIns) != 1 || k.standIns[0] != "old" || !k.Status().StandsIn.Equal(saved) {
			t.Fatalf("after the grace: stood in %q, status %+v", k.standIns, k.Status())
		}
		if want := (time.Hour + grace).Seconds(); k.age() != want {
			t.Errorf("age %v, want %v", k.age(), want)
		}
		k.update("part")
		time.Sleep(time.Hour)
		if n := strings.Count(k.log.String(), "serving its saved state"); n != 1 || k.now != "" {
			t.Errorf("said %d times, updated %q", n, k.now)
		}
		k.wantSaved("old") // and with its time
		k.sync("new")
		k.wantSaved("new")
		if s := k.Status(); !s.StandsIn.IsZero() || len(s.Problems) != 0 || k.age() != 0 {
			t.Errorf("after the sync: %+v, age %v", s, k.age())
		}
		k.stop()
	})
}

// A source that is in time leaves the file unread, however late Serve starts.
func TestSyncedFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("no saved state"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, path)
		time.Sleep(grace - time.Millisecond)
		k.sync("new")
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(k.standIns) != 0 || len(k.Status().Problems) != 0 {
			t.Errorf("stood in %q, problems %q", k.standIns, k.Status().Problems)
		}
		k.stop()
	})
}

func TestNothingToServe(t *testing.T) {
	for name, tt := range map[string]struct {
		write func(path string) error
		want  string
	}{
		"none":    {func(string) error { return nil }, ""},
		"damaged": {func(path string) error { return os.WriteFile(path, []byte("relay-state 9\n"), 0o600) }, "another version"},
		"refused": {func(path string) error { return File{Path: path, Content: "text"}.Save(at, []byte("bad")) }, "it is bad"},
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := tt.write(path); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			k := keep(t, path)
			time.Sleep(time.Hour)
			synctest.Wait()
			s := k.Status()
			if len(k.standIns) != 0 || !s.StandsIn.IsZero() || !strings.Contains(strings.Join(s.Problems, ""), tt.want) || (len(s.Problems) == 0) != (tt.want == "") {
				t.Errorf("%s: stood in %q, status %+v; want %q", name, k.standIns, s, tt.want)
			}
			k.sync("new")
			k.wantSaved("new")
			if s := k.Status(); len(s.Problems) != 0 {
				t.Errorf("%s: problems that are none any more: %q", name, s.Problems)
			}
			k.stop()
		})
	}
}

// A save that fails is said once, tried again, and costs nothing else.
func TestSaveFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	synctest.Test(t, func(t *testing.T) {
		k := keep(t, filepath.Join(dir, "f"))
		k.sync("1")
		time.Sleep(10 * interval)
		synctest.Wait()
		if s := k.Status(); len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "cannot save the state") {
			t.Errorf("problems %q", s.Problems)
		}
		if n := strings.Count(k.log.String(), "is not saved"); n != 1 {
			t.Errorf("said %d times", n)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval)
		k.wantSaved("1")
		if s := k.Status(); len(s.Problems) != 0 {
			t.Errorf("problems that are none any more: %q", s.Problems)
		}
		k.stop()
	})
}
