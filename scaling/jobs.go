package scaling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"relay/internal/panics"
	"relay/sources"
)

// job is what takes time: to ask the peers about an app, or to change it at the source.
type job struct {
	app     *app
	rescale *sources.Rescale
}

// askTimeout is how long peers may take to answer.
const askTimeout = 5 * time.Second

// queue has a job done as soon as there is room. Apps that are woken come first.
func (c *Controller) queue(a *app, act action) {
	a.busy, a.asked = true, false
	j := job{app: a, rescale: act.rescale}
	if !a.state.wokenAt.IsZero() || a.state.phase == Waking {
		c.urgent = append(c.urgent, j)
	} else {
		c.queued = append(c.queued, j)
	}
	c.wakeLoop()
}

// start begins the jobs for which there is room.
func (c *Controller) start(ctx context.Context, jobs *sync.WaitGroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running < writers && len(c.urgent)+len(c.queued) > 0 {
		from := &c.urgent
		if len(c.urgent) == 0 {
			from = &c.queued
		}
		j := (*from)[0]
		(*from)[0] = job{}
		if *from = (*from)[1:]; len(*from) == 0 {
			*from = nil
		}
		c.running++
		jobs.Go(func() { c.do(ctx, j) })
	}
}

// do does a job, and has the app looked at.
func (c *Controller) do(ctx context.Context, j job) {
	if j.rescale == nil {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		asked := time.Now()
		var reports []Report
		err := panics.Catch(func() (err error) {
			reports, err = c.config.Peers.Reports(ctx, j.app.id)
			return err
		})
		panics.Log(c.config.Log, err, "app", j.app.id)
		c.finish(j.app, func(in *inputs) (state, action) {
			j.app.peers = summed(in, asked, reports, err)
			if j.app.asked && j.app.peers.noise == "" {
				// Who asked may know more than it said before: it asks again, and so does this Relay.
				j.app.peers.noise = "another Relay has asked meanwhile"
			}
			in.peers = j.app.peers
			return next(j.app.state, in)
		})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var done sources.Rescaled
	err := panics.Catch(func() (err error) {
		done, err = c.config.Scaler.Rescale(ctx, *j.rescale)
		return err
	})
	panics.Log(c.config.Log, err, "app", j.app.id)
	c.noteWrite(j.app.id, err)
	c.finish(j.app, func(in *inputs) (state, action) {
		c.metrics.wrote(err)
		s, events := j.app.state.wrote(in, j.rescale, done, err)
		s, a := next(s, in)
		a.events = append(events, a.events...)
		return s, a
	})
}

// finish ends a job, and takes over what f makes of it, if the app is still there.
func (c *Controller) finish(a *app, f func(in *inputs) (state, action)) {
	c.mu.Lock()
	c.running--
	a.busy = false
	if a.read != nil {
		c.decide(a, f)
	}
	c.mu.Unlock()
	c.wakeLoop()
}

// summed puts the answers of peers together, who were asked at a moment.
func summed(in *inputs, asked time.Time, reports []Report, err error) answers {
	all := answers{at: asked}
	if err != nil {
		all.failed, all.against = true, fmt.Sprintf("another Relay cannot be asked: %s", err)
	}
	for i, r := range reports {
		if i == 0 {
			all.drained = r.Drained
		}
		all.drained = slices.DeleteFunc(slices.Clone(all.drained), func(task string) bool { return !slices.Contains(r.Drained, task) })
		if r.Against != "" && all.against == "" {
			all.against = r.Peer + " says: " + r.Against
		}
		if !r.Quiet && all.noise == "" {
			all.noise = r.Peer + " does not know yet that nobody uses it"
		}
		if t := in.read.target; r.Stopping || t != nil && r.Version != t.Version {
			all.stopping = true
		}
	}
	return all
}

// result is the name of what became of a change, in metrics.
func result(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, sources.ErrChanged):
		return "changed"
	case errors.Is(err, sources.ErrLocked):
		return "locked"
	case errors.Is(err, sources.ErrGone):
		return "gone"
	}
	return "failed"
}
