package web

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/internal/logtest"
	"relay/statuspage"
)

// changing is a Source whose view changes.
type changing struct {
	mu      sync.Mutex
	view    statuspage.View
	changed chan struct{}
	views   int
}

func newChanging() *changing { return &changing{view: wellView(), changed: make(chan struct{})} }

func (c *changing) View() statuspage.View {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.views++
	if c.view.Title == "broken" {
		panic("no such view")
	}
	return c.view
}

func (c *changing) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// count is how often the view was asked for.
func (c *changing) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.views
}

// rename changes the title, and tells.
func (c *changing) rename(title string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Title = title
	close(c.changed)
	c.changed = make(chan struct{})
}

// A change is shown within a second, and a thousand changes in a second are rendered once.
func TestRunRendersOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := newChanging()
		p := New(Config{Source: source, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		shows := func(title string) bool { return strings.Contains(body(t, ask(t, p, "GET", "/")), "<title>"+title) }
		time.Sleep(pause)
		synctest.Wait()
		source.rename("a")
		synctest.Wait()
		if !shows("a") {
			t.Error("a change after a quiet time is not shown at once")
		}
		views := source.count()
		for range 1000 {
			source.rename("b")
			time.Sleep(pause / 1000)
		}
		source.rename("c")
		time.Sleep(pause)
		synctest.Wait()
		if !shows("c") || source.count() > views+2 {
			t.Errorf("after many changes it was rendered %d times; the last is shown: %v", source.count()-views, shows("c"))
		}
		views = source.count()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := source.count() - views; got < 3 || got > 5 {
			t.Errorf("rendered %d times in a quiet minute", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A restart is no news: the files of the run before stay until something is known, or for a minute.
func TestRestartKeepsFiles(t *testing.T) {
	t.Parallel()
	for name, learns := range map[string]bool{"learns": true, "learns nothing": false} {
		dir := t.TempDir()
		if err := NewDir(dir).Write(rendered(t, wellView())); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			source := newChanging()
			source.view = newView()
			p := New(Config{Source: source, Dir: dir, Log: slog.New(slog.DiscardHandler)})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			shows := func(text string) bool {
				synctest.Wait()
				page, err := os.ReadFile(filepath.Join(dir, "index.html"))
				return err == nil && strings.Contains(string(page), text)
			}
			time.Sleep(keepOld / 2)
			if !shows("All services are operational") {
				t.Errorf("%s: the files are gone before anything is known", name)
			}
			if learns {
				source.mu.Lock()
				source.view = troubleView()
				source.mu.Unlock()
				source.rename("New")
				if !shows("1 of 5 services is down") {
					t.Errorf("%s: what is known is not written", name)
				}
			} else if time.Sleep(keepOld); !shows("is not known") {
				t.Errorf("%s: the old files stay for ever", name)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// In a folder that was empty, what people write is there at once, whatever is known of the services.
func TestFirstFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := newChanging()
	source.view = newView()
	p := New(Config{Source: source, Dir: dir, Log: slog.New(slog.DiscardHandler)})
	for _, title := range []string{"first", "second"} {
		source.rename(title)
		p.render()
		p.write()
		if page, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || !strings.Contains(string(page), "<title>"+title) {
			t.Errorf("%s is not written (%v)", title, err)
		}
	}
}

// A view that cannot be rendered leaves the page as it was.
func TestBrokenView(t *testing.T) {
	t.Parallel()
	source := newChanging()
	var log logtest.Buffer
	p := New(Config{Source: source, Log: slog.New(slog.NewTextHandler(&log, nil))})
	source.rename("broken")
	p.render()
	if text := body(t, ask(t, p, "GET", "/")); !strings.Contains(text, "Example Cloud Status") {
		t.Error("the last page is lost")
	}
	if len(log.Lines("event=panic")) != 1 {
		t.Error("nothing is in the log")
	}
}

// A folder that hangs costs its files: whoever asks by HTTP gets what is so, and operators get an answer.
func TestHangingFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		source := newChanging()
		p := New(Config{Source: source, Dir: dir, Log: slog.New(slog.DiscardHandler)})
		hangs := make(chan struct{})
		p.toDir = func() {
			p.dir.mu.Lock()
			defer p.dir.mu.Unlock()
			<-hangs
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(pause)
		source.rename("news")
		time.Sleep(pause)
		synctest.Wait()
		if text := body(t, ask(t, p, "GET", "/")); !strings.Contains(text, "<title>news") {
			t.Error("a folder that hangs keeps the page from being rendered")
		}
		asked := make(chan string)
		go func() { asked <- p.Trouble() }()
		synctest.Wait()
		select {
		case text := <-asked:
			if text != "" {
				t.Errorf("it says %q", text)
			}
		default:
			t.Error("who asks for problems waits for the folder")
		}
		cancel()
		close(hangs)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
