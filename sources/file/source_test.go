package file

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sinkCall is one call of a recorder.
type sinkCall struct {
	sync    bool
	set     []string
	removed []string
}

// recorder is a sources.Sink that hands every call to the test.
type recorder chan sinkCall

func (r recorder) SyncApps(apps []*sources.App) { r <- sinkCall{sync: true, set: ids(apps)} }
func (r recorder) UpdateApps(set []*sources.App, removed []string) {
	r <- sinkCall{set: ids(set), removed: slices.Sorted(slices.Values(removed))}
}

func ids(apps []*sources.App) []string {
	var out []string
	for _, a := range apps {
		out = append(out, a.ID)
	}
	return slices.Sorted(slices.Values(out))
}

// expect waits for the next call.
func (r recorder) expect(t *testing.T, want sinkCall) {
	t.Helper()
	select {
	case got := <-r:
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(sinkCall{})); diff != "" {
			t.Fatalf("call of the sink (-want +got):\n%s", diff)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("no call of the sink, want %+v", want)
	}
}

func (r recorder) expectNothing(t *testing.T) {
	t.Helper()
	select {
	case got := <-r:
		t.Fatalf("unexpected call of the sink: %+v", got)
	default:
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// replace writes a file the way editors do: beside the old one, then renamed.
func replace(t *testing.T, path, data string) {
	t.Helper()
	temp := filepath.Join(filepath.Dir(path), ".new")
	write(t, temp, data)
	if err := os.Rename(temp, path); err != nil {
		t.Fatal(err)
	}
}

func define(ids ...string) string {
	out := "apps:\n"
	for _, id := range ids {
		out += "- id: " + id + "\n"
	}
	return out
}

func newSource(path string) (*Source, recorder) {
	sink := make(recorder, 100)
	return New(Config{Path: path}, sink, slog.New(slog.DiscardHandler), prometheus.NewRegistry()), sink
}

// serve runs s until the test ends.
func serve(t *testing.T, s *Source) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	})
}

func TestServeFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yml")
	write(t, a, define("/a"))
	write(t, filepath.Join(dir, ".hidden.yaml"), define("/hidden"))
	write(t, filepath.Join(dir, "notes.txt"), "not YAML: [")
	s, sink := newSource(dir)
	serve(t, s)
	sink.expect(t, sinkCall{sync: true, set: []string{"/a"}})

	write(t, b, define("/b", "/c"))
	sink.expect(t, sinkCall{set: []string{"/b", "/c"}})
	replace(t, b, define("/c", "/d"))
	sink.expect(t, sinkCall{set: []string{"/d"}, removed: []string{"/b"}})
	if err := os.Remove(b); err != nil {
		t.Fatal(err)
	}
	sink.expect(t, sinkCall{removed: []string{"/c", "/d"}})
	replace(t, a, "apps: []\n")
	sink.expect(t, sinkCall{removed: []string{"/a"}})
}

func TestServeSingleFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"apps.yaml", "apps.conf"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), name)
			write(t, path, define("/a"))
			write(t, filepath.Join(filepath.Dir(path), "other.yaml"), define("/other"))
			s, sink := newSource(path)
			serve(t, s)
			sink.expect(t, sinkCall{sync: true, set: []string{"/a"}})
			for _, id := range []string{"/b", "/c"} { // a watch must survive its file
				replace(t, path, define("/a", id))
				if got := (<-sink).set; !slices.Equal(got, []string{id}) {
					t.Fatalf("set %v, want %s", got, id)
				}
			}
		})
	}
}

func TestServeKubernetesVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	publish := func(version, data string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "apps.yaml"), data)
		next := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(version, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..2024_1", define("/a"))
	if err := os.Symlink("..data/apps.yaml", filepath.Join(dir, "apps.yaml")); err != nil {
		t.Fatal(err)
	}
	s, sink := newSource(dir)
	serve(t, s)
	sink.expect(t, sinkCall{sync: true, set: []string{"/a"}})
	publish("..2024_2", define("/b"))
	sink.expect(t, sinkCall{set: []string{"/b"}, removed: []string{"/a"}})
}

func TestInitialReadFails(t *testing.T) {
	t.Parallel()
	good := map[string]string{"a.yaml": define("/a")}
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no folder", nil, "no such file"},
		{"empty folder", map[string]string{"x.txt": ""}, "no *.yaml"},
		{"one bad file of two", map[string]string{"a.yaml": good["a.yaml"], "b.yaml": "apps: ["}, "b.yaml:1: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "apps")
			if tt.files != nil {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(tt.files)) {
				write(t, filepath.Join(dir, name), tt.files[name])
			}
			s, sink := newSource(dir)
			err := s.Serve(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Serve: %v; want %q", err, tt.want)
			}
			sink.expectNothing(t)
			if st := s.Status(); !st.LastSync.IsZero() || !strings.Contains(st.LastError, tt.want) {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	write(t, a, define("/a"))
	s, sink := newSource(dir)
	reload := func(want string) {
		t.Helper()
		switch err := s.Reload(t.Context()); {
		case want == "" && err != nil:
			t.Fatal(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Fatalf("Reload: %v; want %q", err, want)
		}
	}
	reload("")
	sink.expect(t, sinkCall{sync: true, set: []string{"/a"}})
	reload("")
	sink.expectNothing(t) // nothing changed

	write(t, b, "apps: [") // a new file, broken: it costs nobody else
	replace(t, a, define("/a", "/a2"))
	reload("b.yaml:1: ")
	sink.expect(t, sinkCall{set: []string{"/a2"}})
	write(t, b, define("/b"))
	reload("")
	sink.expect(t, sinkCall{set: []string{"/b"}})
	write(t, b, "apps: [{id: /b, prots: []}]") // broken again: keeps /b
	reload(`unknown field "prots"`)
	sink.expectNothing(t)
	if st := s.Status(); st.Kind != Kind || st.Name != dir || st.Connected || st.LastSync.IsZero() || st.Apps != 3 || !strings.Contains(st.LastError, "prots") {
		t.Errorf("status %+v", st)
	}
	if err := os.Remove(b); err != nil { // an order to read needs no second look
		t.Fatal(err)
	}
	reload("")
	sink.expect(t, sinkCall{removed: []string{"/b"}})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	reload("no such file")
	sink.expectNothing(t)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Reload with a context that has ended: %v", err)
	}
}

func TestDuplicateOverFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "apps:\n- id: /x\n  ports: [{name: first}]\n")
	write(t, filepath.Join(dir, "b.yaml"), "apps:\n- id: /b\n- id: /x\n  ports: [{name: second, domains: [a~b]}]\n")
	apps, err := Load(dir)
	want := filepath.Join(dir, "b.yaml") + ":3: the same id is used again here; this second app is ignored (app /x, id)"
	if err == nil || err.Error() != want {
		t.Errorf("Load: %v; want %s", err, want)
	}
	if got := ids(apps); !slices.Equal(got, []string{"/b", "/x"}) || apps[0].Ports[0].Name != "first" {
		t.Errorf("apps %v", got)
	}
}

func TestLoadJoinsAllErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "apps:\n- id: /x\n  ports: [{domains: [a~b]}]\n")
	write(t, filepath.Join(dir, "b.yaml"), "apps:\n- id: /b\n  foo: 1\n")
	if err := os.Mkdir(filepath.Join(dir, "c.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "d.yaml")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "e.yaml"), strings.Repeat("#", maxFileSize+1))
	_, err := Load(dir)
	for _, want := range []string{"a.yaml:3: domain ignored", "(app /x, ports[0].domains[0])", "b.yaml:3: unknown field", "d.yaml: no such file", "e.yaml: is larger than 16 MiB"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load: %v; want %q", err, want)
		}
	}
	if apps, err := Load("../../docs/file-source.md"); err == nil || len(apps) != 0 {
		t.Errorf("Load of something else: %v, %v", apps, err)
	}
}

// changes is a watcher that is told of changes by hand.
type changes chan struct{}

func (changes) Add(...string)              {}
func (c changes) Changed() <-chan struct{} { return c }
func (changes) Failed() <-chan error       { return nil }

// TestLoopTiming runs the loop on a fake clock, with events made by hand.
func TestLoopTiming(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apps.yaml")
	synctest.Test(t, func(t *testing.T) {
		write(t, path, define("/a"))
		s, sink := newSource(path)
		if err := s.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		sink.expect(t, sinkCall{sync: true, set: []string{"/a"}})

		ctx, cancel := context.WithCancel(t.Context())
		watcher, done := make(changes), make(chan error)
		send := func(e fsnotify.Event) {
			if s.concerns(e) {
				watcher <- struct{}{}
			}
		}
		go func() { done <- s.loop(ctx, watcher) }()
		start := time.Now()
		expectAfter := func(want time.Duration, call sinkCall) {
			t.Helper()
			sink.expect(t, call)
			if got := time.Since(start); got != want {
				t.Errorf("read %v after the event, want %v", got, want)
			}
		}
		event := fsnotify.Event{Name: path, Op: fsnotify.Write}

		// Half-written at first, then whole: read again soon.
		write(t, path, "apps: [")
		send(event)
		time.Sleep(quietTime + retryDelay/2)
		if s.Status().LastError == "" {
			t.Error("the half-written file went unnoticed")
		}
		write(t, path, define("/a", "/b"))
		expectAfter(quietTime+retryDelay, sinkCall{set: []string{"/b"}})

		// Events without end do not hold the read back for ever.
		write(t, path, define("/a", "/c"))
		start = time.Now()
		for time.Since(start) < maxUnquiet {
			send(event)
			time.Sleep(quietTime / 2)
		}
		expectAfter(maxUnquiet, sinkCall{set: []string{"/c"}, removed: []string{"/b"}})
		time.Sleep(quietTime)

		// What concerns us not causes no read; the poll finds it all the same.
		write(t, path, define("/a"))
		send(fsnotify.Event{Name: path, Op: fsnotify.Chmod})
		send(fsnotify.Event{Name: path + "~", Op: fsnotify.Write})
		sink.expectWithin(t, defaultPollInterval, sinkCall{removed: []string{"/c"}})
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// expectWithin is expect with a limit, on a fake clock.
func (r recorder) expectWithin(t *testing.T, limit time.Duration, want sinkCall) {
	t.Helper()
	start := time.Now()
	time.Sleep(2 * quietTime)
	r.expectNothing(t)
	select {
	case got := <-r:
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(sinkCall{})); diff != "" || time.Since(start) > limit {
			t.Fatalf("after %v (-want +got):\n%s", time.Since(start), diff)
		}
	case <-time.After(limit):
		t.Fatalf("nothing within %v", limit)
	}
}
