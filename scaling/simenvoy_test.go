package scaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/scaling/wake"
	"relay/sources"
	"relay/traffic"
)

// simRelay is a Relay: a Controller, its Envoys, and what they told it.
type simRelay struct {
	s          *sim
	rng        *rand.Rand // of what it does by itself: nobody knows in which order Relays do
	name       string
	controller *Controller
	stage      *Stage
	stop       func()
	peersDown  bool // it cannot ask the others
	// lag is how late it reads what has changed, and reading is set while it will.
	lag     time.Duration
	reading bool
	waiting atomic.Int64 // requests in its queue

	mu       sync.Mutex
	app      *sources.App // as it was handed on last
	revision int
	since    time.Time
	last     time.Time
	reports  map[*simEnvoy]*simReports
}

type simReports struct {
	before, at time.Time
	open       []*simRequest
}

func (r *simRelay) start() {
	config := Config{
		Loads: r, Fleets: r, Scaler: r, Queued: func(string, int) int { return int(r.waiting.Load()) }, Cluster: func(app string, port int) string { return fmt.Sprint(app, "_", port) },
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
	if len(r.s.relays) > 1 {
		config.Peers = r
	}
	r.controller = New(config)
	r.stage = NewStage(r.controller, r)
	r.mu.Lock()
	r.since, r.last, r.reports = time.Now(), time.Time{}, make(map[*simEnvoy]*simReports)
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		_ = r.controller.Serve(ctx)
		close(done)
	}()
	r.stop = func() { cancel(); <-done }
	var apps []*sources.App
	if app := r.s.marathon.read(); app != nil {
		apps = []*sources.App{app}
	}
	r.stage.SyncApps(apps)
}

// read tells what the source reads now.
func (r *simRelay) read() {
	r.reading = false
	if app := r.s.marathon.read(); app != nil {
		r.stage.UpdateApps([]*sources.App{app}, nil)
	} else {
		r.stage.UpdateApps(nil, []string{"/app"})
	}
}

func (r *simRelay) SyncApps(apps []*sources.App) {
	if len(apps) == 0 {
		r.UpdateApps(nil, []string{"/app"})
		return
	}
	r.UpdateApps(apps, nil)
}

func (r *simRelay) UpdateApps(set []*sources.App, removed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision++
	if len(removed) > 0 {
		r.app = nil
	}
	if len(set) > 0 {
		r.app = set[0]
	}
}

func (r *simRelay) Use(string, string) (u traffic.Use) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.Last, u.Since, u.Until = r.last, r.since, time.Now()
	for _, report := range r.reports {
		u.InProgress += uint64(len(report.open))
		if report.before.Before(u.Until) {
			u.Until = report.before
		}
	}
	return u
}

func (r *simRelay) Concurrency(string, string, time.Duration) (float64, bool) {
	u := r.Use("", "")
	return float64(u.InProgress), !u.Until.IsZero() && r.Doubt("") == ""
}

// random is up to a duration. The world is locked.
func (r *simRelay) random(most time.Duration) time.Duration {
	return time.Duration(r.rng.Int64N(int64(most)))
}

// Rescale implements sources.Scaler.
func (r *simRelay) Rescale(ctx context.Context, change sources.Rescale) (sources.Rescaled, error) {
	return r.s.marathon.rescale(ctx, r, change)
}

func (r *simRelay) Pace(string, time.Duration) {}
func (r *simRelay) Watch(string, string)       {}

func (r *simRelay) Endpoints(string, string) map[netip.AddrPort]traffic.Load {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[netip.AddrPort]traffic.Load)
	for _, report := range r.reports {
		for _, q := range report.open {
			load := all[q.task.address]
			load.InProgress++
			all[q.task.address] = load
		}
	}
	return all
}

func (r *simRelay) Serving(groups []string) []string { return groups }
func (r *simRelay) Drained(string, []string) (bool, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acknowledged()
}

func (r *simRelay) Last(string) (reports []Report, all bool) {
	for _, other := range r.s.relays {
		if other != r {
			n, known := other.Concurrency("", "", 0)
			reports = append(reports, Report{InProgress: n, Known: known})
		}
	}
	return reports, true
}

func (r *simRelay) Doubt(string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.s.envoys {
		if e.partitioned.Load() {
			return e.name + " left"
		}
		if e.relay.Load() == r && (r.reports[e] == nil || time.Since(r.reports[e].at) > 45*time.Second) {
			return e.name + " does not report"
		}
	}
	return ""
}

func (r *simRelay) Gated(string) (bool, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.app == nil || !r.app.Gated {
		return false, "not published"
	}
	return r.acknowledged()
}

// acknowledged reports whether all Envoys have the newest.
func (r *simRelay) acknowledged() (bool, string) {
	for _, e := range r.s.envoys {
		if e.relay.Load() == r && !e.partitioned.Load() && int(e.acknowledged.Load()) < r.revision {
			return false, e.name
		}
	}
	return true, ""
}

func (r *simRelay) Reports(_ context.Context, app string) (reports []Report, err error) {
	r.s.mu.Lock()
	down, there, back := r.peersDown, r.random(200*time.Millisecond), r.random(200*time.Millisecond)
	r.s.mu.Unlock()
	time.Sleep(there)
	if down {
		return nil, errors.New("peer away")
	}
	for _, other := range r.s.relays {
		if other != r {
			r.s.mu.Lock()
			c := other.controller
			r.s.mu.Unlock()
			report := c.Report(app)
			report.Peer = other.name
			reports = append(reports, report)
		}
	}
	time.Sleep(back)
	return reports, nil
}

// report notes what an Envoy reports.
func (r *simRelay) report(e *simEnvoy, open []*simRequest, any bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	known := r.reports[e]
	if known == nil {
		r.reports[e] = &simReports{at: now}
		r.since = now
		known = r.reports[e]
	} else {
		known.before, known.at = known.at, now
	}
	before := known.open
	known.open = open
	if any || len(open) > 0 || len(before) > 0 { // what has ended since was in progress meanwhile
		r.last = now
	}
}

// left forgets an Envoy that has gone to another Relay, or nowhere.
func (r *simRelay) left(e *simEnvoy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.reports, e)
	r.since = time.Now()
}

// take gives an Envoy what its Relay has, and reports whether it has the newest.
func (e *simEnvoy) take() {
	r := e.relay.Load()
	if e.partitioned.Load() {
		return
	}
	r.mu.Lock()
	revision := r.revision
	e.app = r.app
	r.mu.Unlock()
	e.acknowledged.Store(int64(revision))
	for _, q := range e.s.requests {
		if q.envoy == e && q.task != nil && !e.reaches(q.task) {
			if !q.unseen {
				e.s.note("%s is not reported any more", q)
			}
			q.unseen = true
		}
	}
}

// reaches reports whether the Envoy has a task in rotation.
func (e *simEnvoy) reaches(t *simTask) bool {
	if e.app == nil {
		return false
	}
	for _, endpoint := range e.app.Ports[0].Endpoints {
		if endpoint.Task == t.id {
			return true
		}
	}
	return false
}

// simRequest is a request, WebSocket or TCP connection.
type simRequest struct {
	s      *sim
	id     int
	envoy  *simEnvoy
	began  time.Time
	lasts  time.Duration
	task   *simTask // at which it is in progress; nil while it waits
	unseen bool     // no report has it
	// queue is in whose queue it waits, nil if in none, and enqueued since when.
	queue    *simRelay
	enqueued time.Time
	over     bool
	said     wake.State
}

func (q *simRequest) String() string { return fmt.Sprintf("request %d of %s", q.id, q.envoy.name) }

// end ends a request. One that fails must have an excuse.
func (q *simRequest) end(ok bool, why string) {
	q.over = true
	q.wait(nil)
	if ok {
		q.s.answered++
		return
	}
	q.s.note("%s fails: %s", q, why)
	if q.s.trouble.Before(q.began.Add(-excuseFor)) && !q.s.hasFaults() {
		q.s.fail("%s of %s ago failed: %s", q, time.Since(q.began), why)
	}
	q.s.failed++
}

// try takes a request as far as it gets now, and reports whether a Relay was asked.
func (q *simRequest) try() (asks bool) {
	if q.over || q.task != nil {
		return false
	}
	if q.queue != nil {
		q.ask()
		return false
	}
	e := q.envoy
	if time.Since(q.began) > DefaultWakeTimeout {
		q.end(false, "timeout")
		return false
	}
	switch {
	case e.app == nil:
		q.end(false, "no such app")
		return false
	case e.app.Gated && e.partitioned.Load():
		return false // nobody answers
	case e.app.Gated || q.said.Phase != wake.Unknown:
		asks = true
		if !q.through() {
			return asks
		}
	}
	q.ask()
	return asks
}

// through asks the Relay, as the service that holds requests does.
func (q *simRequest) through() bool {
	c := q.envoy.relay.Load().controller
	if q.said.Phase == wake.Unknown {
		c.Used("/app", 0)
	}
	state, _ := c.State("/app", 0)
	changed := state != q.said
	q.said = state
	switch state.Phase {
	case wake.Unknown:
		return true
	case wake.Running:
		// Until the Envoy has acknowledged an instance.
		r := q.envoy.relay.Load()
		r.mu.Lock()
		defer r.mu.Unlock()
		return int(q.envoy.acknowledged.Load()) >= r.revision && slices.ContainsFunc(q.envoy.app.Ports[0].Endpoints, func(e sources.Endpoint) bool { return e.Health != sources.Draining })
	case wake.Failed:
		q.end(false, "crashed")
	case wake.Asleep, wake.Unavailable:
		if changed {
			c.Wake("/app", 0, wake.Client{})
			q.said, _ = c.State("/app", 0)
		}
	}
	return false
}
