package collator

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"relay/collator/routing"
	"relay/internal/logtest"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// What is wrong with an app or a resource is logged when it begins, and when it is wrong in
// another way: however often a source says something new of it.
func TestWhatIsWrongIsLoggedOnce(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	log := new(logtest.Buffer)
	c.log = slog.New(slog.NewTextHandler(log, nil))
	var wrong error
	clean := c.cleanPolicy
	c.cleanPolicy = func(app *sources.App) (*sources.App, []problem.Problem, error) {
		if wrong != nil {
			return nil, nil, wrong
		}
		return clean(app)
	}
	version := 0
	update := func(err error) {
		wrong = err
		version++
		updateApps(c, webApp("/web", fmt.Sprintf("web-%d.test", version)))
	}
	logged := func(what string, want int) {
		t.Helper()
		if lines := log.Lines("event=build_failed"); len(lines) != want {
			t.Errorf("%s: %d lines, want %d: %q", what, len(lines), want, lines)
		}
	}
	syncApps(c, webApp("/web", "web.test"))
	bad := errors.New("bad")
	update(bad)
	update(bad)
	update(errors.New("bad"))
	logged("bad three times", 1)
	update(errors.New("worse"))
	logged("worse", 2)
	update(nil)
	update(bad)
	logged("bad again", 3)
	update(nil)

	f, key := c.fleets[0], xds.Key{Type: xds.Cluster, Name: "/web_0"}
	build := func(timeout time.Duration) {
		f.Options.ConnectTimeout = timeout
		f.marked[key] = struct{}{}
		c.round()
	}
	build(-time.Second)
	build(-time.Second)
	logged("a resource twice", 4)
	build(routing.DefaultOptions().ConnectTimeout)
	build(-time.Second)
	logged("a resource again", 5)
}
