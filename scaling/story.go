package scaling

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Story is what is known of an app, for people.
type Story struct {
	// App is the name under which it is routed.
	App   string
	Phase Phase
	// Since is when the phase began, and Reason why.
	Since  time.Time
	Reason string
	// Why says what the app waits for: when it sleeps, or what keeps it awake, or what wakes it.
	Why string
	// Instances is how many there shall be, and WakesTo how many there will be when it wakes; 0 if it
	// does not sleep. Serving is how many take requests.
	Instances, WakesTo, Serving int
	// Size says why the app has as many instances, if they follow its load.
	Size string
	// Trouble is why the last try to change something failed; empty if it did not.
	Trouble string
	// Events are the last decisions, oldest first: MaxEvents of them.
	Events []Event
}

// Event is one thing that happened to an app.
type Event struct {
	At time.Time
	// Kind is what it was, in words.
	Kind, Reason string
	// Took is how long the first request waited that woke the app; 0 if it did not.
	Took time.Duration
}

// MaxEvents is how many events of an app are kept.
const MaxEvents = 20

// log is the last events of an app.
type log struct{ events []Event }

// tell has an event logged, counted, and kept in the app's story.
func (c *Controller) tell(a *app, e event) {
	now := time.Now()
	c.metrics.events.WithLabelValues(e.name).Inc()
	happened := Event{At: now, Kind: kinds[e.name], Reason: e.reason}
	if e.name == eventWoken && a.state.woken == 0 {
		happened.Kind = "started" // nobody woke it
	}
	if e.name == eventWoken && a.state.woken > 0 {
		happened.Took = a.state.woken
		c.metrics.wakes.Observe(a.state.woken.Seconds())
	}
	c.told++
	if e.name != eventTrouble || c.troubles.Allow() {
		tell(c.config.Log, a.id, e)
	}
	if a.story == nil {
		a.story = &log{}
	}
	if len(a.story.events) >= MaxEvents {
		a.story.events = slices.Delete(a.story.events, 0, 1)
	}
	a.story.events = append(a.story.events, happened)
}

// Story returns what is known of an app, by its routed name or id. It is false if Relay may not scale it.
func (c *Controller) Story(id string) (Story, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.find(id)
	if a == nil {
		return Story{}, false
	}
	s, r := &a.state, a.read
	in := c.inputs(a)
	story := Story{
		App: a.id, Phase: s.phase, Since: s.since, Reason: s.reason, Instances: r.instances, Serving: len(s.usable(r)),
		Trouble: s.trouble, Why: s.why(&in),
	}
	if s.size != nil {
		story.Size = s.size.decided
	}
	if s.phase == Asleep || s.phase == Stopping || s.phase == Waking && r.instances == 0 {
		story.WakesTo, story.Serving = s.wakeTo, 0
	}
	if a.story != nil {
		story.Events = slices.Clone(a.story.events)
	}
	return story, true
}

// Summary is what all apps are doing.
type Summary struct {
	// Apps is how many are in each phase, by its name.
	Apps map[string]int
	// Told grows by one with each event of an app.
	Told uint64
}

// Summary counts the apps.
func (c *Controller) Summary() Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := Summary{make(map[string]int, len(c.metrics.phases)), c.told}
	for p, n := range c.metrics.phases {
		sum.Apps[Phase(p).String()] = n
	}
	return sum
}

// Phase returns what an app is doing, by its routed name or id. It is false if Relay may not scale it.
func (c *Controller) Phase(id string) (Phase, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.find(id)
	if a == nil {
		return Unread, false
	}
	return a.state.phase, true
}

func (c *Controller) find(id string) *app {
	if a := c.apps[id]; a != nil {
		return a
	}
	return c.apps[c.routed[id]]
}

// why says when an app sleeps, what keeps it awake, or what it waits for.
func (s *state) why(in *inputs) string {
	switch s.phase {
	case Awake:
		return s.whyAwake(in)
	case FallingAsleep:
		if why := s.holdUp(in); why != "" {
			return "it is about to be scaled to 0, and waits: " + why
		}
		return "it is about to be scaled to 0"
	case Stopping:
		return "it is being scaled to 0"
	case Waking:
		return withoutPeriod(s.progress(in.read))
	case Asleep:
		return "the next request wakes it, with " + instances(s.wakeTo)
	case Failed:
		if left := failedPause - in.now.Sub(s.since); left > 0 {
			return "requests get the page crashed; one that comes in " + words(left) + " or later tries again"
		}
		return "the next request tries again"
	case Off:
		return "nobody wants instances of it: no request wakes it"
	}
	return s.reason
}

// whyAwake says when a running app sleeps, or what keeps it awake.
func (s *state) whyAwake(in *inputs) string {
	if in.read.target != nil && in.read.idleAfter() <= 0 {
		return "it never sleeps: it has no RELAY_IDLE_AFTER"
	}
	why, _ := s.idle(in)
	if why == "" && !in.alone {
		why = in.peers.against
	}
	switch {
	case why == "":
		return "nobody uses it, and it is about to fall asleep"
	case strings.HasPrefix(why, sleepsIn):
		return why
	}
	return "it does not sleep now: " + why
}

// withoutPeriod makes a sentence for visitors a part of another one.
func withoutPeriod(sentence string) string {
	return strings.ToLower(sentence[:1]) + strings.TrimSuffix(sentence[1:], ".")
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// Report returns what this Relay tells another one of an app.
func (c *Controller) Report(id string) Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.apps[id]
	if a == nil {
		return Report{App: id, Against: "it does not know the app, or may not scale it"}
	}
	s, in := &a.state, c.inputs(a)
	r := c.loadReport(a)
	a.asked = true
	if t := a.read.target; t != nil {
		r.Version = t.Version
	}
	if s.stale(&in) && !s.unsure {
		r.Version = s.written
	}
	switch s.phase {
	case Awake:
		r.Against, _ = s.idle(&in)
		if tasks := s.drains(); len(tasks) > 0 && s.size.drain.over(&in) {
			r.Drained, s.size.drain.told = tasks, in.now
		}
	case FallingAsleep:
		r.Against, _ = s.idle(&in)
		r.Quiet = r.Against == "" && s.holdUpHere(&in) == ""
		s.told = s.told || r.Quiet
	case Stopping:
		r.Quiet, r.Stopping = !s.unsure, !s.unsure
		if s.unsure {
			r.Against = s.reason
		}
	case Asleep:
		r.Quiet, r.Stopping = true, true
	case Waking:
		r.Against, r.Stopping = "it is waking", true
	default:
		r.Against = "it is " + s.phase.String()
	}
	return r
}

// Loads returns what is in progress at the Envoys of this Relay, of the apps that are sized by it.
func (c *Controller) Loads() []Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	reports := make([]Report, 0, len(c.bySize))
	for a := range c.bySize {
		reports = append(reports, c.loadReport(a))
	}
	return reports
}

func (c *Controller) loadReport(a *app) Report {
	own := c.ownLoad(a)
	return Report{App: a.id, Phase: a.state.phase.String(), InProgress: own.inProgress, Known: own.known}
}
