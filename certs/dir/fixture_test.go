package dir

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"relay/certs"
)

// fixture is a directory of its own; paths are relative to it.
type fixture struct {
	t    *testing.T
	root string
}

func newFixture(t *testing.T) *fixture { return &fixture{t: t, root: t.TempDir()} }

func (f *fixture) path(name string) string { return filepath.Join(f.root, name) }

func (f *fixture) relative(path string) string {
	name, err := filepath.Rel(f.root, path)
	if err != nil {
		f.t.Error(err)
	}
	return name
}

func (f *fixture) scanner(paths ...string) *scanner {
	var all []string
	for _, path := range paths {
		all = append(all, f.path(path))
	}
	return &scanner{layout: newLayout(all), retryDelay: 20 * time.Millisecond, files: make(map[string]*file), authorities: make(map[string]*clientAuthority), parse: certs.ParsePEM, logger: slog.New(slog.DiscardHandler)}
}

func (f *fixture) write(name string, content []byte) {
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.t.Error(err)
	}
	if err := os.WriteFile(f.path(name), content, 0o600); err != nil {
		f.t.Error(err)
	}
}

func (f *fixture) remove(name string) {
	if err := os.RemoveAll(f.path(name)); err != nil {
		f.t.Error(err)
	}
}

// accountKeys are the files that no scan may open.
func (f *fixture) accountKeys() (paths []string) {
	for _, dir := range []string{".", "d"} {
		if path := f.path(filepath.Join(dir, accountKey)); len(existing([]string{path})) > 0 {
			paths = append(paths, path)
		}
	}
	return paths
}

// watchOpens returns a function that says whether one of the files was opened
// since.
func watchOpens(t *testing.T, paths []string) (opened func() bool) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	for _, path := range paths {
		if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_OPEN); err != nil {
			t.Fatal(err)
		}
	}
	return func() bool {
		n, err := syscall.Read(fd, make([]byte, 4096))
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
		return n > 0
	}
}

func (f *fixture) chmod(t *testing.T, name string, mode os.FileMode) {
	if err := os.Chmod(f.path(name), mode); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) pipe(t *testing.T, name string) {
	if err := syscall.Mkfifo(f.path(name), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) link(t *testing.T, target, name string) {
	if err := os.Symlink(target, f.path(name)); err != nil {
		t.Fatal(err)
	}
}
