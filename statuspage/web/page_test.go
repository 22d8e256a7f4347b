package web

import (
	"context"
	"log/slog"
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
