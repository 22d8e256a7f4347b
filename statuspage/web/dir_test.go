package web

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/internal/logtest"
)

// filesOf returns all files below a folder by path.
func filesOf(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The folder has the files, readable for a web server whatever the umask is; those of others stay, and those of incidents
// that are gone do not.
func TestDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := rendered(t, troubleView())
	if err := NewDir(dir).Write(content); err != nil {
		t.Fatal(err)
	}
	want := append(slices.Collect(maps.Keys(content)), claim)
	slices.Sort(want)
	if got := filesOf(t, dir); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for name, file := range content {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(text, file.Body) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, folder)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	others := []string{"robots.txt", "incidents/notes.html", "incidents/20261130-edge.txt", "incidents/.hidden", "incidents/a b.html"}
	for _, name := range others {
		write(t, filepath.Join(dir, name), "of somebody else")
	}
	write(t, filepath.Join(dir, "incidents/.20261130-edge.html.new"), "left by a crash")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "incidents/link.html")); err != nil {
		t.Fatal(err)
	}
	// After a restart, with other incidents.
	content = rendered(t, wellView())
	if err := NewDir(dir).Write(content); err != nil {
		t.Fatal(err)
	}
	want = append(append(slices.Collect(maps.Keys(content)), claim, "incidents/link.html"), others...)
	slices.Sort(want)
	if got := filesOf(t, dir); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What did not change is not written again.
func TestDirWritesWhatChanged(t *testing.T) {
	t.Parallel()
	before := rendered(t, troubleView())
	later := troubleView()
	later.Time = later.Time.Add(time.Minute)
	after, err := Render(later, before)
	if err != nil {
		t.Fatal(err)
	}
	inode := func(path, name string) uint64 {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		return info.Sys().(*syscall.Stat_t).Ino
	}
	for _, restart := range []bool{false, true} {
		path := t.TempDir()
		d := NewDir(path)
		if err := d.Write(before); err != nil {
			t.Fatal(err)
		}
		inodes := make(map[string]uint64)
		for name := range before {
			inodes[name] = inode(path, name)
		}
		if restart {
			d = NewDir(path)
		}
		if err := d.Write(after); err != nil {
			t.Fatal(err)
		}
		for name := range before {
			if changed := before[name] != after[name]; changed != (inode(path, name) != inodes[name]) {
				t.Errorf("restart %v: %s changed: %v, and was written: %v", restart, name, changed, !changed)
			}
		}
		if err := os.Remove(filepath.Join(path, "feed.rss")); err != nil {
			t.Fatal(err)
		}
		if err := d.Write(after); err != nil || inode(path, "feed.rss") == 0 {
			t.Errorf("restart %v: what somebody removed does not come back: %v", restart, err)
		}
	}
}

// A folder that belongs to something else is left alone.
func TestDirOfSomethingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "index.html"), "the home page")
	d := NewDir(dir)
	if err := d.Write(rendered(t, wellView())); err == nil || !strings.Contains(err.Error(), "a folder of its own") || d.Trouble() == "" {
		t.Error(err)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "index.html")); string(text) != "the home page" || len(filesOf(t, dir)) != 1 {
		t.Errorf("%s, %v", text, filesOf(t, dir))
	}
}

// What is wrong with the folder is said once and is a trouble until it is over, and then all is written.
func TestDirTrouble(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		breaks, mends func(t *testing.T, dir string)
		want          string
	}{
		"missing": {
			func(t *testing.T, dir string) { rename(t, dir, dir+"-away") },
			func(t *testing.T, dir string) { rename(t, dir+"-away", dir) }, "make the folder",
		},
		"a file": {
			func(t *testing.T, dir string) { rename(t, dir, dir+"-away"); write(t, dir, "x") },
			func(t *testing.T, dir string) { _ = os.Remove(dir); rename(t, dir+"-away", dir) }, "give a folder",
		},
		"a folder in the way": {
			func(t *testing.T, dir string) {
				for _, one := range []string{"index.html", "index.html/x"} {
					if err := os.Remove(filepath.Join(dir, one)); err != nil && !errors.Is(err, fs.ErrNotExist) {
						t.Fatal(err)
					}
					if err := os.Mkdir(filepath.Join(dir, one), 0o755); err != nil {
						t.Fatal(err)
					}
				}
			},
			func(t *testing.T, dir string) { _ = os.RemoveAll(filepath.Join(dir, "index.html")) }, "index.html",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "status")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			source := newChanging()
			var log logtest.Buffer
			p := New(Config{Source: source, Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
			p.write()
			tt.breaks(t, dir)
			for _, title := range []string{"b", "c", "d"} {
				source.rename(title)
				p.render()
				p.write()
				if !strings.Contains(p.Trouble(), tt.want) {
					t.Errorf("trouble %q, want %q", p.Trouble(), tt.want)
				}
			}
			if lines := log.Lines("event=status_page_files_failed"); len(lines) != 1 {
				t.Errorf("it is said %d times: %v", len(lines), lines)
			}
			tt.mends(t, dir)
			p.write()
			if p.Trouble() != "" || len(log.Lines("event=status_page_files_written")) != 1 {
				t.Errorf("it is not over: %q", p.Trouble())
			}
			if text, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || !strings.Contains(string(text), "<title>d</title>") {
				t.Errorf("the page is an old one (%v)", err)
			}
		})
	}
}

// Each error says what to do.
func TestCures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{syscall.EROFS, "write there"}, {syscall.EACCES, "write there"}, {syscall.EPERM, "write there"},
		{syscall.ENOSPC, "make room"}, {syscall.EDQUOT, "make room"}, {syscall.ENOENT, "make the folder"}, {syscall.EIO, "input/output error"},
	} {
		if got := cure(&fs.PathError{Op: "open", Path: "x", Err: tt.err}); !errors.Is(got, tt.err) || !strings.Contains(got.Error(), tt.want) {
			t.Errorf("%v: %v, want %s", tt.err, got, tt.want)
		}
	}
	if cure(nil) != nil {
		t.Error("a cure of nothing")
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// childDir makes the test's program write to a folder in place of testing: see TestMain.
const childDir, childSize = "STATUSPAGE_WRITES", "STATUSPAGE_LIMIT"

// twoContents are large, so that writing them takes a while.
func twoContents() [2]Content {
	var both [2]Content
	for i := range both {
		both[i] = make(Content)
		for _, name := range []string{"index.html", "status.json"} {
			both[i][name] = &File{Body: bytes.Repeat([]byte{byte('a' + i)}, 4<<20)}
		}
	}
	return both
}

// writeForever writes two contents in turn. A limit of the size of files stands for a disk that is full.
func writeForever(dir string) {
	if os.Getenv(childSize) != "" {
		limit := syscall.Rlimit{Cur: 2000, Max: 2000}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			panic(err)
		}
	}
	contents := twoContents()
	d := NewDir(dir)
	for first := true; ; first = false {
		for _, content := range contents {
			if err := d.Write(content); err != nil {
				_, _ = os.Stdout.WriteString(err.Error() + "\n")
				return
			}
		}
		if first {
			_, _ = os.Stdout.WriteString("written\n")
		}
	}
}

func child(t *testing.T, dir string, env ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program)
	c.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, out
}

// Whenever the program is killed, each file is whole: the old or the new one.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole := twoContents()
	for round := range 15 {
		c, out := child(t, dir)
		if _, err := io.ReadFull(out, make([]byte, len("written\n"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(round*round*round) * 29 * time.Microsecond) // so that it is killed at another place each time
		_ = c.Process.Kill()
		_ = c.Wait()
		for name := range whole[0] {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !slices.ContainsFunc(whole[:], func(c Content) bool { return bytes.Equal(c[name].Body, text) }) {
				t.Errorf("round %d: %s is neither the old nor the new one (%v)", round, name, err)
			}
		}
	}
	if err := NewDir(dir).Write(whole[0]); err != nil {
		t.Error(err)
	}
	if got := filesOf(t, dir); len(got) != len(whole[0])+1 {
		t.Errorf("what crashes left stays: %v", got)
	}
}

// When nothing fits on the disk any more, the files that are there stay whole.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	content := rendered(t, wellView())
	if err := NewDir(dir).Write(content); err != nil {
		t.Fatal(err)
	}
	c, out := child(t, dir, childSize+"=1")
	said, err := io.ReadAll(out)
	if err := errors.Join(err, c.Wait()); err != nil || !strings.Contains(string(said), "file too large") {
		t.Fatalf("%q, %v", said, err)
	}
	for name := range content {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(text, content[name].Body) {
			t.Errorf("%s is not the old one (%v)", name, err)
		}
	}
	for _, name := range filesOf(t, dir) {
		if strings.HasSuffix(name, newSuffix) {
			t.Errorf("%s is left", name)
		}
	}
}
