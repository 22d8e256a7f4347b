package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"relay/internal/failure"
	"relay/internal/panics"
)

// hangs is how long after its time a probe has to end before it counts as hung.
const hangs = 5 * time.Second

// ask asks a target, keeps the result, and says when it is asked again.
func (e *Engine) ask(ctx context.Context, one *entry) {
	e.mu.Lock()
	target := one.target
	e.mu.Unlock()
	timeout := e.timeout(target)
	hung := time.AfterFunc(timeout+hangs, func() { e.hang(one, target) })
	result := e.probe(ctx, target, timeout)
	if !hung.Stop() {
		e.metrics.hanging.Dec()
		e.again(one)
		return
	}
	if ctx.Err() == nil {
		e.record(one, result)
	}
	e.again(one)
}

// timeout is how long the probe of a target may take. One that is later than it should be is seen to its end, so
// that it is known what it would have been.
func (e *Engine) timeout(t Target) time.Duration {
	timeout := e.settings.Timeout
	if m, ok := e.settings.Modules[t.Ask.Module]; ok && m.Timeout > 0 {
		timeout = m.Timeout
	}
	return min(max(timeout, t.Ask.Within), maxTimeout)
}

// probe asks a target. A prober that panics costs its result alone.
func (e *Engine) probe(ctx context.Context, t Target, timeout time.Duration) (result Result) {
	begin := time.Now()
	if t.Skip != "" {
		return Result{Target: t, Time: begin, Skipped: t.Skip}
	}
	prober, ok := e.probers[t.Kind]
	if !ok {
		return Result{Target: t, Time: begin, Skipped: fmt.Sprintf("nothing here asks by %s", t.Kind)}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := panics.Catch(func() error {
		result = prober.Probe(ctx, t)
		return nil
	})
	if err != nil {
		panics.Log(e.log, err, "target", t.ID)
		result = Result{Reason: err.Error()}
	}
	result.Target, result.Time = t, begin
	if result.Duration == 0 {
		result.Duration = time.Since(begin)
	}
	return result
}

// hang keeps what is known of a probe that does not end. Its slot stays taken until it does.
func (e *Engine) hang(one *entry, t Target) {
	e.metrics.hung.Inc()
	e.metrics.hanging.Inc()
	took := e.timeout(t) + hangs
	e.log.Error("a probe does not end", "event", "probe_hung", "target", t.ID, "kind", string(t.Kind))
	e.record(one, Result{Target: t, Time: time.Now().Add(-took), Duration: took, Reason: "the probe did not end in its time"})
}

// again puts a target back into its queue.
func (e *Engine) again(one *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if one.gone {
		return
	}
	one.due = nextTime(one.target.ID, time.Now(), e.pace.of(one.target))
	e.queues.add(one)
	if (*e.queues.of(one.target))[0] == one { // Serve may wait for longer
		e.wake()
	}
}

// record keeps a result, unless nobody wants it any more.
func (e *Engine) record(one *entry, r Result) {
	r.Reason = bound(r.Reason, 500)
	e.mu.Lock()
	if one.gone {
		e.mu.Unlock()
		return
	}
	one.giveTime(&r)
	if skip := one.target.Skip; skip != "" && r.Skipped == "" { // it was not to be asked any more before it had answered
		at := r.Time
		if one.state.Skipped != "" { // since the probe began
			at = one.state.Time
		}
		r = Result{Target: r.Target, Time: at, Skipped: skip}
	}
	before := one.state
	state := State{Result: r, Asked: true, Since: r.Time, unlisted: before.unlisted}
	state.Target = one.target
	if before.Asked && before.OK == r.OK && before.Skipped == "" && r.Skipped == "" {
		state.Since = before.Since
	}
	if before.Asked && before.Skipped != "" && r.Skipped != "" {
		state.Since = before.Since
	}
	one.state = state
	e.seeEnvoy(r)
	e.mu.Unlock()
	e.metrics.probes.WithLabelValues(string(r.Target.Kind), outcome(state)).Inc()
	if e.onResult != nil {
		e.onResult(state)
	}
}

// starts is how long an app may answer that it starts before that is a failure.
const starts = 2 * time.Minute

// giveTime skips an app that starts, for a while: it was deployed, or somebody woke it.
func (one *entry) giveTime(r *Result) {
	if r.OK || r.Code != failure.Starting {
		one.starting = time.Time{}
		return
	}
	if one.starting.IsZero() {
		one.starting = r.Time
	}
	if r.Time.Sub(one.starting) < starts {
		r.Skipped = "the app starts"
	}
}

// The outcomes of a probe, in metrics.
const (
	succeeded = "success"
	failed    = "failure"
	skipped   = "skipped"
)

func outcome(s State) string {
	switch {
	case s.Skipped != "":
		return skipped
	case s.OK:
		return succeeded
	}
	return failed
}

func bound(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// Once asks each target once, as many at once as the settings allow, and returns what was found.
func (e *Engine) Once(ctx context.Context) []State {
	e.mu.Lock()
	all := make(map[*entry]Target, len(e.entries))
	for _, one := range e.entries {
		all[one] = one.target
	}
	e.mu.Unlock()
	var running sync.WaitGroup
	for one, target := range all {
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			running.Wait()
			return e.Results()
		}
		running.Go(func() {
			defer func() { <-e.slots }()
			if result := e.probe(ctx, target, e.timeout(target)); ctx.Err() == nil {
				e.record(one, result)
			}
		})
	}
	running.Wait()
	return e.Results()
}
