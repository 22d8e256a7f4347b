package files_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/goleak"

	"relay/internal/files"
	"relay/internal/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadWhole(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path string
		want error
	}{
		"at the limit":  {write(t, "0123456789"), nil},
		"empty":         {write(t, ""), nil},
		"above it":      {write(t, "0123456789a"), files.ErrTooLarge},
		"none":          {"/none", fs.ErrNotExist},
		"a folder":      {t.TempDir(), files.ErrIrregular},
		"a pipe":        {pipe(t), files.ErrIrregular},
		"of the kernel": {"/proc/self/stat", files.ErrChanging}, // its size is told as 0
	} {
		content, _, err := files.ReadWhole(tt.path, 10)
		if name == "of the kernel" {
			content, _, err = files.ReadWhole(tt.path, 1<<20)
		}
		if !errors.Is(err, tt.want) || err != nil && content != nil {
			t.Errorf("%s: %q, %v; want %v", name, content, err, tt.want)
		}
	}
	if content, err := files.Read(write(t, "0123456789"), 10); string(content) != "0123456789" || err != nil {
		t.Errorf("Read: %q, %v", content, err)
	}
	if _, err := files.Read(write(t, "0123456789a"), 10); !errors.Is(err, files.ErrTooLarge) || !strings.Contains(err.Error(), "more than 10 bytes") {
		t.Errorf("Read: %v", err)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ content, want, err string }{
		{" s3cret\r\n", "s3cret", ""},
		{" \n", "", "is empty"},
		{"s3cret\ns3cret", "", "more than one line"},
		{strings.Repeat("s3cret", files.MaxSecret), "", "too large"},
	} {
		got, err := files.Secret(write(t, tt.content))
		if string(got) != tt.want || (err == nil) != (tt.err == "") {
			t.Errorf("%.20q: %v, %v", tt.content, string(got), err)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%.20q: %v, want %s", tt.content, err, tt.err)
		}
	}
	if _, err := files.Secret("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := files.Exposed("/f", 0o644); got != "/f can be read by everyone on the machine (mode 0644): chmod 0640" {
		t.Error(got)
	}
	if got := files.Exposed("/f", 0o640); got != "" {
		t.Error(got)
	}
}

func TestStamp(t *testing.T) {
	t.Parallel()
	path := write(t, "1")
	before, err := files.StampOf(path)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := files.StampOf(path); err != nil || same != before {
		t.Errorf("%v, %v", same, err)
	}
	if err := os.WriteFile(path, []byte("22"), 0o600); err != nil {
		t.Fatal(err)
	}
	if after, err := files.StampOf(path); err != nil || after == before {
		t.Errorf("%v, %v", after, err)
	}
	if _, err := files.StampOf("/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func wantChange(t *testing.T, w *files.Watcher) {
	t.Helper()
	select {
	case <-w.Changed():
	case err := <-w.Failed():
		t.Fatal(err)
	case <-time.After(10 * time.Second):
		t.Fatal("no change was told")
	}
}

func TestWatcher(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	matters := func(e fsnotify.Event) bool { return filepath.Ext(e.Name) == ".pem" }
	w := files.NewWatcher(matters, slog.New(slog.DiscardHandler))
	defer w.Close()
	w.Add(folder, "/none", write(t, "no folder"))
	put := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("other")
	select {
	case <-w.Changed():
		t.Error("a change that does not matter was told")
	case <-time.After(50 * time.Millisecond):
	}
	put("a.pem")
	wantChange(t, w)
	put("b.pem")
	time.Sleep(50 * time.Millisecond)
	w.Clear()
	select {
	case <-w.Changed():
		t.Error("a change that was forgotten was told")
	default:
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	// The end of the old watch may be told later, and take the new one with it: as
	// whoever polls does, the test adds the folder again.
	wantChangeOf(t, w, func() { w.Add(folder); w.Clear(); put("c.pem") })
}

// wantChangeOf has something done again and again until a change is told.
func wantChangeOf(t *testing.T, w *files.Watcher, do func()) {
	t.Helper()
	for range 100 {
		do()
		select {
		case <-w.Changed():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("no change was told")
}

// A panic on the watcher's goroutine is for the part that watches to return, and
// the supervisor to see.
func TestWatcherPanics(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	w := files.NewWatcher(func(fsnotify.Event) bool { panic("no such path") }, slog.New(slog.DiscardHandler))
	defer w.Close()
	w.Add(folder)
	if err := os.WriteFile(filepath.Join(folder, "a.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-w.Failed():
		if !panics.Is(err) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the panic is not told")
	}
}
