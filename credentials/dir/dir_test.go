package dir_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/credentials"
	"relay/credentials/dir"
	"relay/internal/problem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder takes what is read.
type recorder struct{ reads chan read }

type read struct {
	all      []*credentials.Credential
	problems []problem.Problem
}

func (r recorder) SyncCredentials(_ string, all []*credentials.Credential, problems []problem.Problem) {
	r.reads <- read{all, problems}
}

func (r read) String() string {
	var lines []string
	for _, c := range r.all {
		lines = append(lines, c.Path+"="+string(c.Value))
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

func (r read) reasons() string {
	var lines []string
	for _, p := range r.problems {
		lines = append(lines, p.Subject+": "+p.Reason)
	}
	return strings.Join(lines, "\n")
}

func start(t *testing.T, folder string) recorder {
	t.Helper()
	r := recorder{make(chan read, 100)}
	source, err := dir.New(dir.Config{Folder: folder, PollInterval: time.Hour}, r, slog.New(slog.DiscardHandler), prometheus.NewPedanticRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- source.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

// want waits for a read that gives this.
func (r recorder) want(t *testing.T, want string) read {
	t.Helper()
	last := "nothing"
	for timeout := time.After(time.Minute); ; {
		select {
		case got := <-r.reads:
			if last = got.String(); last == want {
				return got
			}
		case <-timeout:
			t.Fatalf("read %s, want %s", last, want)
		}
	}
}

func write(t *testing.T, folder, path, content string) {
	t.Helper()
	full := filepath.Join(folder, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	folder, other := t.TempDir(), t.TempDir()
	write(t, folder, "all", " two words \n")
	write(t, folder, "shop/oidc", "shop\r\n")
	write(t, folder, "shop/web/oidc", "line\n\n")
	write(t, folder, "shop/empty", "\n")
	write(t, folder, "shop/large", strings.Repeat("x", credentials.MaxValue+1))
	write(t, folder, "shop/Upper", "x")
	write(t, folder, "bank/db", "bank")
	write(t, folder, ".git/config", "x")
	write(t, other, "outside", "outside")
	link(t, "../bank/db", filepath.Join(folder, "shop/bank"))
	link(t, filepath.Join(folder, "bank/db"), filepath.Join(folder, "shop/absolute"))
	link(t, "../bank", filepath.Join(folder, "shop/folder"))
	link(t, filepath.Join(other, "outside"), filepath.Join(folder, "outside"))
	link(t, "web/oidc", filepath.Join(folder, "shop/same"))
	link(t, "loop", filepath.Join(folder, "shop/loop"))
	got := start(t, folder).want(t, "all= two words  bank/db=bank outside/= outside= shop/absolute/= shop/absolute= shop/bank/= shop/bank= shop/empty= "+
		"shop/folder/= shop/folder= shop/large= shop/loop/= shop/loop= shop/oidc=shop shop/same=line\n shop/web/oidc=line\n")
	for _, want := range []string{
		"shop/bank: the link leads out of its folder", "shop/empty: the file is empty", "shop/large: the file is too large", "shop/Upper: the file is passed over",
	} {
		if !strings.Contains(got.reasons(), want) {
			t.Errorf("not told: %s\n%s", want, got.reasons())
		}
	}
	set := make(credentials.Set)
	for _, c := range got.all {
		set[c.Path] = c
	}
	if set.Find("/shop/folder", "db") != nil || set.Find("/shop/web", "bank") != nil {
		t.Error("an app gets at the credential of another")
	}
	if set.Find("/shop/folder", "all") != nil {
		t.Error("a folder that cannot be read counts as empty")
	}
	if strings.Contains(fmt.Sprint(got.problems, got.all), "two words") {
		t.Error("a value is shown")
	}
}

// Kubernetes swaps all files of a volume at once.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, folder, "..1/shop/oidc", "first")
	write(t, folder, "..1/all", "first")
	link(t, "..1", filepath.Join(folder, "..data"))
	link(t, "..data/shop", filepath.Join(folder, "shop"))
	link(t, "..data/all", filepath.Join(folder, "all"))
	r := start(t, folder)
	r.want(t, "all=first shop/oidc=first")
	write(t, folder, "..2/shop/oidc", "second")
	write(t, folder, "..2/all", "second")
	link(t, "..2", filepath.Join(folder, "..tmp"))
	if err := os.Rename(filepath.Join(folder, "..tmp"), filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
	r.want(t, "all=second shop/oidc=second")
}

func TestChanges(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, folder, "a", "1")
	r := start(t, folder)
	r.want(t, "a=1")
	write(t, folder, "a", "2")
	r.want(t, "a=2")
	write(t, folder, "shop/web/b", "3") // folders that were not there
	r.want(t, "a=2 shop/web/b=3")
	write(t, folder, "a", "")
	write(t, folder, "c", "4")
	if got := r.want(t, "a=2 c=4 shop/web/b=3"); !strings.Contains(got.reasons(), "last good content stays") {
		t.Error(got.reasons())
	}
	if err := os.RemoveAll(filepath.Join(folder, "shop")); err != nil {
		t.Fatal(err)
	}
	r.want(t, "a=2 c=4")
	if err := os.Chmod(filepath.Join(folder, "c"), 0o644); err != nil {
		t.Fatal(err)
	}
	for timeout := time.After(time.Minute); ; {
		select {
		case got := <-r.reads:
			if strings.Contains(got.reasons(), "can be read by everyone") {
				return
			}
		case <-timeout:
			t.Fatal("not told that everyone can read a file")
		}
	}
}

func TestNoFolder(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "later")
	r := start(t, folder)
	select {
	case got := <-r.reads:
		t.Fatalf("read %s", got)
	case <-time.After(50 * time.Millisecond):
	}
	write(t, folder, "a", "1")
	r.want(t, "a=1")
}
