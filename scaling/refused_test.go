package scaling

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources"
)

// People are told of a source that refuses changes until it makes one, and not of what others changed.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newWorld().Controller
		for _, step := range []struct {
			name, want string
			err        error
			wait       time.Duration
		}{
			{"nothing yet", "", nil, 0},
			{"others changed it", "", sources.ErrChanged, 0},
			{"no right to", "/web", errors.New("403"), 0},
			{"others deploy it", "/web", sources.ErrLocked, time.Minute},
			{"it is done", "", nil, 0},
			{"away", "/web", context.DeadlineExceeded, 0},
		} {
			c.noteWrite("/web", step.err)
			time.Sleep(step.wait)
			if app, _ := c.Refused(); app != step.want {
				t.Errorf("%s: %q, want %q", step.name, app, step.want)
			}
		}
		time.Sleep(refusedFor + time.Second)
		if app, reason := c.Refused(); app != "" {
			t.Errorf("nobody has tried for long: %q %s", app, reason)
		}
	})
}
