package scaling

import (
	"errors"
	"strings"
	"testing"
	"time"

	"relay/sources"
	"relay/traffic"
)

// noon is the present in tests of rules.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

const idleAfter = 30 * time.Minute

// newApp returns an app with one instance that has run for a day.
func newApp(change ...func(*sources.App)) *sources.App {
	app := &sources.App{
		ID: "/shop", Version: "v1", Scaling: &sources.Scaling{IdleAfter: idleAfter},
		Orchestration: &sources.Orchestration{Instances: 1, StartedAt: map[string]time.Time{"shop.1": noon.Add(-24 * time.Hour)}},
		Ports:         []sources.Port{{Groups: []string{"f"}, Endpoints: []sources.Endpoint{{Task: "shop.1"}}}},
	}
	for _, f := range change {
		f(app)
	}
	return app
}

// suspended and slept are apps without instances.
func suspended(app *sources.App) {
	app.Stopped, app.Orchestration = true, &sources.Orchestration{}
	app.Ports[0].Endpoints = nil
}

func slept(app *sources.App) {
	suspended(app)
	app.Orchestration.Asleep, app.Version = 3, "v2"
}

// idleInputs are those of an app that may sleep.
func idleInputs(change ...func(*sources.App)) *inputs {
	return &inputs{
		now: noon, read: newRead("/shop", []*sources.App{newApp(change...)}), alone: true,
		use: traffic.Use{Last: noon.Add(-time.Hour), Since: noon.Add(-5 * time.Hour), Until: noon.Add(-10 * time.Second)},
	}
}

// awakeState is the state of an app that was awake for a day.
func awakeState() state { return state{phase: Awake, since: noon.Add(-24 * time.Hour)} }

// An app sleeps if nothing is against it, and only then.
func TestIdle(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(in *inputs, s *state)
		want   string
		in     time.Duration // when to look again; 0 is never
	}{
		"nobody uses it":                {func(*inputs, *state) {}, "", 0},
		"it does not say when":          {func(in *inputs, _ *state) { in.read.target.Scaling = &sources.Scaling{} }, "after which time", 0},
		"maintenance":                   {func(in *inputs, _ *state) { in.read.members[0].Maintenance = true }, "maintenance", 0},
		"a deployment runs":             {func(in *inputs, _ *state) { in.read.deploying = true }, "a deployment is running", 0},
		"no instance serves":            {func(in *inputs, _ *state) { in.read.serving = nil }, "no instance takes requests", 0},
		"none served until just now":    {func(_ *inputs, s *state) { s.unserved = true }, "it sleeps in 30 min if nobody uses it: none of its instances took requests until 0.0 s ago", idleAfter},
		"none served until lately":      {func(_ *inputs, s *state) { s.served = noon.Add(-20 * time.Minute) }, "sleeps in 10 min", 10 * time.Minute},
		"a request in a queue":          {func(in *inputs, _ *state) { in.queued = 1 }, "1 request waits in its queue", doubtPause},
		"requests in a queue":           {func(in *inputs, _ *state) { in.queued = 2 }, "2 requests wait in its queue", doubtPause},
		"an instance out of rotation":   {func(in *inputs, _ *state) { in.read.unseen = []string{"shop.2"} }, "shop.2 is not in rotation", 0},
		"connections nobody reports":    {func(_ *inputs, s *state) { s.lingering = []string{"shop.1"} }, "which no Envoy reports", 0},
		"an Envoy does not report":      {func(in *inputs, _ *state) { in.doubt = "Envoy e1 is silent" }, "Envoy e1 is silent", doubtPause},
		"no Envoy reported long enough": {func(in *inputs, _ *state) { in.use.Until = time.Time{} }, "has not reported for long enough", doubtPause},
		"a connection is open": {func(in *inputs, _ *state) { in.use.InProgress, in.use.Last = 2, noon.Add(-time.Second) },
			"2 requests or connections are in progress", idleAfter - time.Second},
		"a request 18 minutes ago": {func(in *inputs, _ *state) { in.use.Last = noon.Add(-18 * time.Minute) },
			"it sleeps in 12 min if nobody uses it: the last request was 18 min ago", 12 * time.Minute},
		"a request that waited": {func(_ *inputs, s *state) { s.asked = noon.Add(-20 * time.Minute) }, "in 10 min", 10 * time.Minute},
		"a new instance":        {func(in *inputs, _ *state) { in.read.started = noon.Add(-time.Minute) }, "its newest instance has started", 29 * time.Minute},
		"a Relay that is new":   {func(in *inputs, _ *state) { in.use.Since = noon.Add(-10 * time.Minute) }, "this Relay knows who uses it since", 20 * time.Minute},
		"a try that failed":     {func(_ *inputs, s *state) { s.notBefore = noon.Add(time.Minute) }, "it tries again in 60 s", time.Minute},
	} {
		in, s := idleInputs(), awakeState()
		tt.change(in, &s)
		after, a := next(s, in)
		reason, due := after.idle(in)
		if tt.want == "" != (reason == "") || !strings.Contains(reason, tt.want) {
			t.Errorf("%s: %q", name, reason)
		}
		if want := noon.Add(tt.in); tt.in > 0 && !due.Equal(want) || tt.in == 0 && !due.IsZero() {
			t.Errorf("%s: looks again at %v", name, due)
		}
		if got, want := after.phase, map[bool]Phase{true: FallingAsleep, false: Awake}[tt.want == ""]; got != want || a.rescale != nil {
			t.Errorf("%s: is %v, %+v", name, got, a)
		}
	}
}

// What falls asleep waits for each Envoy to ask first, for reports of after that, and for other
// Relays. It stays awake when anything happens.
func TestFallingAsleep(t *testing.T) {
	t.Parallel()
	ready := func() (state, *inputs) {
		in := idleInputs()
		s, _ := next(awakeState(), in)
		s.acknowledged, in.acknowledged = noon.Add(5*time.Second), true
		in.now, in.use.Until = noon.Add(30*time.Second), noon.Add(20*time.Second)
		return s, in
	}
	for name, tt := range map[string]struct {
		change func(in *inputs, s *state)
		phase  Phase
		ask    bool
	}{
		"all is quiet":               {func(*inputs, *state) {}, Stopping, false},
		"something is under way":     {func(in *inputs, _ *state) { in.busy = true }, FallingAsleep, false},
		"an Envoy does not ask":      {func(in *inputs, _ *state) { in.acknowledged = false }, FallingAsleep, false},
		"they ask since now":         {func(_ *inputs, s *state) { s.acknowledged = time.Time{} }, FallingAsleep, false},
		"no report since":            {func(in *inputs, _ *state) { in.use.Until = noon.Add(time.Second) }, FallingAsleep, false},
		"it takes too long":          {func(in *inputs, _ *state) { in.now, in.acknowledged = noon.Add(2*time.Minute), false }, Awake, false},
		"a request":                  {func(in *inputs, _ *state) { in.use.Last = noon.Add(25 * time.Second) }, Awake, false},
		"something in progress":      {func(in *inputs, _ *state) { in.use.InProgress = 1 }, Awake, false},
		"an Envoy falls silent":      {func(in *inputs, _ *state) { in.doubt = "silent" }, Awake, false},
		"a deployment":               {func(in *inputs, _ *state) { in.read.deploying = true }, Awake, false},
		"a request in a queue":       {func(in *inputs, _ *state) { in.queued = 1 }, Awake, false},
		"no instance serves":         {func(in *inputs, _ *state) { in.read.serving = nil }, Awake, false},
		"another version":            {func(in *inputs, _ *state) { in.read.version = "/shop@v9" }, Awake, false},
		"people suspend it":          {func(in *inputs, _ *state) { in.read = idleInputs(suspended).read }, Off, false},
		"another Relay was faster":   {func(in *inputs, _ *state) { in.read = idleInputs(slept).read }, Asleep, false},
		"other Relays are not asked": {func(in *inputs, _ *state) { in.alone = false }, FallingAsleep, true},
		"a Relay is against": {func(in *inputs, _ *state) {
			in.alone, in.peers = false, answers{at: in.now.Add(-time.Second), against: "no"}
		},
			FallingAsleep, false},
		"a Relay is not quiet": {func(in *inputs, _ *state) {
			in.alone, in.peers = false, answers{at: in.now.Add(-3 * time.Second), noise: "b"}
		},
			FallingAsleep, true},
		"they are quiet": {func(in *inputs, _ *state) { in.alone, in.peers = false, answers{at: in.now} }, Stopping, false},
		"they said so before it was certain": {func(in *inputs, _ *state) { in.alone, in.peers = false, answers{at: noon.Add(time.Second)} },
			FallingAsleep, true},
	} {
		s, in := ready()
		tt.change(in, &s)
		after, a := next(s, in)
		if after.phase != tt.phase || a.ask != tt.ask || (a.rescale != nil) != (tt.phase == Stopping) {
			t.Errorf("%s: %v, %+v", name, after.phase, a)
		}
		if r := a.rescale; r != nil && (r.App != "/shop" || r.Version != "v1" || r.Instances != 0 || r.Asleep != 1) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// An Envoy that comes back without what it acknowledged may have let requests through meanwhile.
	lost, in := ready()
	in.acknowledged = false
	lost, _ = next(lost, in)
	in.acknowledged, in.now = true, in.now.Add(time.Second)
	if lost, _ = next(lost, in); lost.phase != FallingAsleep {
		t.Errorf("it is %v by a report of before", lost.phase)
	}
	// A request cancels it at once, unless another Relay relies on its silence.
	s, in := ready()
	if after, _ := s.request(in); after.phase != Awake {
		t.Errorf("after a request it is %v", after.phase)
	}
	s.told = true
	s, _ = s.request(in)
	if s.phase != Stopping || !s.phase.gated() {
		t.Fatalf("after a request it is %v, though another Relay may be stopping it", s.phase)
	}
	s, a := next(s, in)
	if !a.ask {
		t.Errorf("it does not ask the others: %+v", a)
	}
	in.peers = answers{at: in.now, stopping: true}
	if after, _ := next(s, in); after.phase != Stopping {
		t.Errorf("it is %v while another Relay stops it", after.phase)
	}
	in.peers.stopping = false
	if after, _ := next(s, in); after.phase != Awake {
		t.Errorf("it is %v though no Relay stops it", after.phase)
	}
}

// The other Relays are asked before an app begins to fall asleep: its requests have to wait then.
func TestAsksBeforeFalling(t *testing.T) {
	t.Parallel()
	in := idleInputs()
	in.alone = false
	s, a := next(awakeState(), in)
	if s.phase != Awake || !a.ask {
		t.Errorf("it is %v, and asks: %v", s.phase, a.ask)
	}
	in.peers = answers{at: noon, against: "b says: used"}
	if s, a = next(s, in); s.phase != Awake || !a.due.Equal(noon.Add(doubtPause)) {
		t.Errorf("it is %v, and looks again at %v", s.phase, a.due)
	}
	in.peers.against = ""
	if s, _ = next(s, in); s.phase != FallingAsleep {
		t.Errorf("it is %v though nobody is against it", s.phase)
	}
}

// A sleeping app is woken by one change, however many ask, to what it had.
func TestWaking(t *testing.T) {
	t.Parallel()
	in := idleInputs(slept)
	s, _ := next(state{}, in)
	if s.phase != Asleep || s.wakeTo != 3 {
		t.Fatalf("read for the first time: %v, %d", s.phase, s.wakeTo)
	}
	s, _ = s.request(in)
	s, a := next(s, in)
	if r := a.rescale; s.phase != Waking || r == nil || r.Instances != 3 || r.Asleep != 0 || r.Version != "v2" {
		t.Fatalf("after a request: %v, %+v", s.phase, a.rescale)
	}
	in.busy = true
	s, _ = s.request(in)
	if s, a = next(s, in); a.rescale != nil {
		t.Error("a second request makes a second change")
	}
	in.busy = false
	for name, tt := range map[string]struct {
		err   error
		read  func(*sources.App)
		phase Phase
	}{
		"locked":            {sources.ErrLocked, slept, Waking},
		"changed":           {sources.ErrChanged, slept, Waking},
		"away":              {errors.New("no answer"), slept, Waking},
		"gone":              {sources.ErrGone, slept, Off},
		"suspended instead": {sources.ErrChanged, suspended, Off},
		"started instead":   {sources.ErrChanged, func(app *sources.App) { app.Version = "v3" }, Awake},
	} {
		failed, _ := s.wrote(in, a0(s), sources.Rescaled{}, tt.err)
		later := idleInputs(tt.read)
		if name == "gone" {
			later.read.version = in.read.version
			if failed.phase != Off {
				t.Errorf("%s: %v", name, failed.phase)
			}
			continue
		}
		later.now = noon.Add(time.Second / 2)
		after, action := next(failed, later)
		if after.phase != tt.phase || action.rescale != nil {
			t.Errorf("%s: %v, %+v", name, after.phase, action)
		}
		later.now = noon.Add(time.Second)
		if after, action := next(failed, later); (action.rescale != nil) != (tt.phase == Waking) {
			t.Errorf("%s: it is not tried again: %v, %+v", name, after.phase, action)
		}
	}
}

// a0 is the change that a waking app has asked for.
func a0(s state) *sources.Rescale {
	return &sources.Rescale{App: "/shop", Version: s.rests, Instances: s.wakeTo}
}
