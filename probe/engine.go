package probe

import (
	"cmp"
	"container/heap"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Engine asks targets, each in its turn, and keeps what was found last.
type Engine struct {
	settings Settings
	probers  map[Kind]Prober
	log      *slog.Logger
	onResult func(State)
	metrics  *metrics
	slots    chan struct{}
	limiter  *rate.Limiter
	// changed wakes Serve when there are other targets.
	changed chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry
	queues  queues
	pace    pace
	places  places
	envoys  map[envoyKey]*envoyState
	// through is how many targets are asked through each Envoy.
	through map[envoyKey]int
	// telling is how many of them cannot succeed while the Envoy hangs.
	telling map[envoyKey]int
	dropped int
}

// Options are what an engine is made of.
type Options struct {
	Settings Settings
	Probers  map[Kind]Prober
	Log      *slog.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// OnResult is called with each result, from many goroutines; nil for nobody. It must not block.
	OnResult func(State)
}

// State is a target, and what was found last.
type State struct {
	Result
	// Asked tells that there is a result.
	Asked bool
	// Since is when it began to succeed or to fail.
	Since time.Time
	// unlisted tells that there are too many targets for it to have series of its own.
	unlisted bool
}

// entry is a target of the engine. Its queue has it unless it is asked now; then index is -1, as while it waits
// for a place.
type entry struct {
	target Target
	due    time.Time
	index  int
	state  State
	// groups have a place for it while it is asked.
	groups []string
	// starting is since when its app answers that it starts.
	starting time.Time
	// gone tells that it is no target any more, though it is asked now.
	gone bool
}

// New returns an engine without targets.
func New(o Options) *Engine {
	s := o.Settings
	e := &Engine{
		settings: s, probers: o.Probers, log: o.Log, onResult: o.OnResult,
		slots: make(chan struct{}, s.Concurrency), changed: make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Limit(float64(s.Rate)/60), max(1, s.Rate/60)),
		entries: make(map[string]*entry), envoys: make(map[envoyKey]*envoyState), pace: paceFor(s, nil), places: newPlaces(),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.metrics = newMetrics(o.Registerer, e)
	return e
}

// SetTargets says what is asked from now on. Those that were asked before keep their results and their place in the
// interval. It returns how many were left out, because they are too many.
func (e *Engine) SetTargets(targets []Target) (dropped int) {
	targets, dropped = bounded(targets, e.settings.MaxTargets)
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dropped = dropped
	e.pace = paceFor(e.settings, targets)
	listed := listed(targets)
	stay := make(map[string]bool, len(targets))
	for _, t := range targets {
		stay[t.ID] = true
		e.set(t, now)
		e.entries[t.ID].state.unlisted = listed != nil && !listed[t.ID]
	}
	for id, one := range e.entries {
		if !stay[id] {
			one.gone = true
			e.queues.remove(one)
			delete(e.entries, id)
		}
	}
	e.places.forget()
	e.hurry(now)
	e.countEnvoys()
	e.wake()
	return dropped
}

// wake has Serve look again at which target is due.
func (e *Engine) wake() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// set adds a target, or replaces the one with its ID.
func (e *Engine) set(t Target, now time.Time) {
	one, known := e.entries[t.ID]
	if !known {
		one = &entry{target: t, due: e.pace.first(t, now), state: State{Result: Result{Target: t}}}
		e.entries[t.ID] = one
		e.queues.add(one)
		return
	}
	waits := one.index >= 0
	e.queues.remove(one) // before its queue may be another one
	one.target, one.state.Target = t, t
	if t.Skip != "" && one.state.Asked && one.state.Skipped == "" { // what was found before counts no more, also until it is its turn
		one.state = State{Result: Result{Target: t, Time: now, Skipped: t.Skip}, Asked: true, Since: now}
	}
	if waits {
		e.queues.add(one)
	}
}

// hurry asks those earlier that were to wait for longer than the interval is now.
func (e *Engine) hurry(now time.Time) {
	for _, one := range e.entries {
		interval := e.pace.of(one.target)
		if one.index >= 0 && one.due.Sub(now) > interval*3/2 {
			one.due = nextTime(one.target.ID, now, interval)
			heap.Fix(e.queues.of(one.target), one.index)
		}
	}
}

// bounded returns at most so many targets, each ID once. Those that were chosen by chance are left out first, then those of
// apps that have many.
func bounded(targets []Target, most int) ([]Target, int) {
	seen := make(map[string]bool, len(targets))
	targets = slices.DeleteFunc(slices.Clone(targets), func(t Target) bool {
		again := seen[t.ID]
		seen[t.ID] = true
		return again
	})
	if len(targets) <= most {
		return targets, 0
	}
	fairest(targets)
	return targets[:most], len(targets) - most
}

// listed returns which targets have series of their own, by their IDs; nil if all that may have.
func listed(targets []Target) map[string]bool {
	may := slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Sampled || t.Skip != "" })
	if len(may) <= maxSeries {
		return nil
	}
	fairest(may)
	ids := make(map[string]bool, maxSeries)
	for _, t := range may[:maxSeries] {
		ids[t.ID] = true
	}
	return ids
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Results returns all targets with what was found last, by their IDs.
func (e *Engine) Results() []State {
	e.mu.Lock()
	states := make([]State, 0, len(e.entries))
	for _, one := range e.entries {
		states = append(states, one.state)
	}
	e.mu.Unlock()
	slices.SortFunc(states, func(a, b State) int { return cmp.Compare(a.Target.ID, b.Target.ID) })
	return states
}

// Serve asks until the context ends.
func (e *Engine) Serve(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			return e.end(ctx)
		}
		one, err := e.await(ctx, timer)
		if err == nil && e.costs(one) {
			err = e.keepRate(ctx, timer)
		}
		if err != nil {
			<-e.slots
			return e.end(ctx)
		}
		groups := one.groups
		e.running.Go(func() {
			defer e.leave(groups)
			e.ask(ctx, one)
		})
	}
}

// costs reports whether anything is asked of a target.
func (e *Engine) costs(one *entry) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return one.target.Skip == ""
}

// leave gives the place of a probe back, and has those try again that wait for it.
func (e *Engine) leave(groups []string) {
	<-e.slots
	e.mu.Lock()
	defer e.mu.Unlock()
	again := e.places.leave(groups, e.free()+1)
	for _, one := range again {
		if !one.gone {
			e.queues.add(one)
		}
	}
	if len(again) > 0 {
		e.wake()
	}
}

// tick is how often probes begin: the few that are due begin together, as it costs a process more to wake up for each
// than to ask.
const tick = 250 * time.Millisecond

// await returns a target when it is due.
func (e *Engine) await(ctx context.Context, timer *time.Timer) (*entry, error) {
	for {
		e.mu.Lock()
		one, wait := e.queues.due(time.Now())
		took := one != nil && e.places.take(one, e.free()+1, e.answers(one.target))
		e.mu.Unlock()
		if took {
			return one, nil
		}
		if one != nil { // it waits for a place
			continue
		}
		timer.Reset(untilTick(wait))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-e.changed:
		case <-timer.C:
		}
	}
}

// free is how many places for probes nobody has.
func (e *Engine) free() int { return cap(e.slots) - len(e.slots) }

// untilTick is how long it is to the tick after a wait.
func untilTick(wait time.Duration) time.Duration {
	now := time.Now()
	return now.Add(wait + tick - 1).Truncate(tick).Sub(now)
}

// keepRate waits until the rate has room for one more probe.
func (e *Engine) keepRate(ctx context.Context, timer *time.Timer) error {
	for !e.limiter.Allow() {
		timer.Reset(untilTick(1))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
	}
	return nil
}

// end waits for the probes that run, but not for those that hang.
func (e *Engine) end(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		e.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(hangs):
	}
	return ctx.Err()
}
