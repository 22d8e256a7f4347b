package scaling

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"relay/internal/panics"
	"relay/scaling/wake"
	"relay/sources"
)

// Controller decides how many instances apps have, and has the source see to it. It knows the apps
// that a Stage shows it.
type Controller struct {
	config  Config
	metrics *metrics
	// stage is set once, by NewStage.
	stage *Stage
	// poke has an element when Serve has to look what is due.
	poke chan struct{}

	mu sync.Mutex
	// apps are by routed id, and routed is the routed id of each of their members.
	apps   map[string]*app
	routed map[string]string
	dues   dues
	// dirty are the apps that are to be handed on anew.
	dirty map[*app]struct{}
	// urgent and queued are the jobs that wait, and running is how many are under way.
	urgent, queued []job
	running        int
	// troubles limits what is logged of a source that refuses.
	troubles *rate.Limiter
	// bySize are the apps that are sized by load, and sized is how many a fleet has.
	bySize map[*app]struct{}
	sized  map[string]int
	// told counts events.
	told uint64
	// refused is the last change, if it was not made.
	refused refusal
}

// app is a routed app.
type app struct {
	id      string
	members []*sources.App // each replaced, and the slice too
	read    *read
	// clusters are those of its ports.
	clusters []cluster
	state    state
	peers    answers
	// busy is set while there is a job, and asked when a peer asked since it began.
	busy, asked bool
	due         time.Time
	place       int // in dues, from 1; 0 is none
	// routing is how it is to be routed, and handed is set when it was handed on so.
	routing routing
	handed  bool
	// shown is the last State, of which somebody waits for a change.
	shown   wake.State
	changed chan struct{}
	story   *log
}

// New returns a Controller that knows no apps.
func New(config Config) *Controller {
	c := &Controller{
		config: config, poke: make(chan struct{}, 1),
		apps: make(map[string]*app), routed: make(map[string]string), dirty: make(map[*app]struct{}), sized: make(map[string]int),
		bySize:   make(map[*app]struct{}),
		troubles: rate.NewLimiter(1, 20),
	}
	c.metrics = newMetrics(config.Registerer, c)
	return c
}

// Serve looks at each app when its time has come, and makes the changes at the source that were
// decided, until ctx ends. What is known stays when it is called again.
func (c *Controller) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var jobs sync.WaitGroup
	defer jobs.Wait()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := c.lookAtDue()
		c.stage.changed()
		c.start(ctx, &jobs)
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-c.poke:
		}
	}
}

// minLook is how soon an app is looked at again at the earliest, if nothing happens.
const minLook = 50 * time.Millisecond

// maxLooks is how many apps are looked at before others may lock the Controller.
const maxLooks = 100

// lookAtDue looks at apps whose time has come, and returns after which time to do so again.
func (c *Controller) lookAtDue() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for range maxLooks {
		a := c.dues.pop(now)
		if a == nil {
			break
		}
		c.look(a)
	}
	if len(c.dues) == 0 {
		return time.Hour
	}
	return max(c.dues[0].due.Sub(now), 0)
}

// wakeLoop has Serve look what is due.
func (c *Controller) wakeLoop() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// look decides what an app does next. The Controller is locked.
func (c *Controller) look(a *app) {
	c.decide(a, func(in *inputs) (state, action) { return next(a.state, in) })
}

// decide takes over what f decides of an app. A bug in it costs the app a minute, and no other one.
func (c *Controller) decide(a *app, f func(in *inputs) (state, action)) {
	var act action
	err := panics.Catch(func() error {
		in := c.inputs(a)
		var s state
		s, act = f(&in)
		to := s.routing(a.read, s.stale(&in))
		c.metrics.phases[a.state.phase]--
		c.metrics.phases[s.phase]++
		a.state = s
		if !to.equal(&a.routing) {
			a.routing, a.handed = to, false
			c.dirty[a] = struct{}{}
		}
		return nil
	})
	if panics.Log(c.config.Log, err, "app", a.id) {
		act = action{due: time.Now().Add(time.Minute)}
	}
	for _, e := range act.events {
		c.tell(a, e)
	}
	if soon := time.Now().Add(minLook); !act.due.IsZero() && act.due.Before(soon) {
		act.due = soon
	}
	c.dues.set(a, act.due)
	if act.ask || act.rescale != nil {
		c.queue(a, act)
	}
	c.show(a)
	c.wakeLoop()
}

// take notes what the source says. With full, apps that are not in set are gone.
func (c *Controller) take(set []*sources.App, removed []string, full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	touched := make(map[*app]struct{})
	leave := func(id string) {
		if a := c.apps[c.routed[id]]; a != nil {
			a.members = without(a.members, id)
			delete(c.routed, id)
			touched[a] = struct{}{}
		}
	}
	if full {
		there := make(map[string]bool, len(set))
		for _, member := range set {
			there[member.ID] = true
		}
		for _, id := range slices.Collect(maps.Keys(c.routed)) {
			if !there[id] {
				leave(id)
			}
		}
	}
	for _, id := range removed {
		leave(id)
	}
	for _, member := range set {
		id := routedID(member)
		if !concerns(member) || c.routed[member.ID] != id {
			leave(member.ID)
		}
		if a := c.enter(id, member); a != nil {
			touched[a] = struct{}{}
		}
	}
	for a := range touched {
		c.readAgain(a)
	}
}

// enter notes a member of a routed app, if it concerns this Controller and is another one than before.
func (c *Controller) enter(id string, member *sources.App) *app {
	if !concerns(member) {
		return nil
	}
	a := c.apps[id]
	if a == nil {
		a = &app{id: id}
		c.apps[id] = a
		c.metrics.phases[Unread]++
	}
	if slices.Contains(a.members, member) {
		return nil
	}
	a.members = append(without(a.members, member.ID), member)
	c.routed[member.ID] = id
	return a
}

// without returns apps without one.
func without(apps []*sources.App, id string) []*sources.App {
	var others []*sources.App
	for _, app := range apps {
		if app.ID != id {
			others = append(others, app)
		}
	}
	return others
}

// readAgain makes of an app what was read of its members.
func (c *Controller) readAgain(a *app) {
	before := a.read
	if len(a.members) == 0 {
		c.pace(a, nil)
		delete(c.apps, a.id)
		delete(c.dirty, a)
		c.dues.set(a, time.Time{})
		c.metrics.phases[a.state.phase]--
		a.read = nil
		c.show(a)
		return
	}
	a.read = newRead(a.id, a.members)
	clusters := c.clusters(a.read)
	c.pace(a, clusters)
	if before != nil {
		a.state.lingering = lingering(a.state.lingering, before, a.read, func() bool { return c.mayHold(a) })
	}
	a.clusters = clusters
	c.look(a)
}

// handOn returns apps as they are to be routed.
func (c *Controller) handOn(apps []*sources.App) []*sources.App {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := apps
	for i, member := range apps {
		a := c.apps[c.routed[member.ID]]
		if a == nil {
			continue
		}
		if len(a.members) == 1 {
			c.handed(a)
		}
		if routed := a.routing.apply(member); routed != member {
			if &out[0] == &apps[0] {
				out = slices.Clone(apps)
			}
			out[i] = routed
		}
	}
	return out
}

func (c *Controller) handed(a *app) {
	a.handed = true
	delete(c.dirty, a)
}

// pending returns the apps that are to be handed on anew, and why.
func (c *Controller) pending() (apps []*sources.App, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a := range c.dirty {
		for _, member := range a.read.members {
			apps = append(apps, a.routing.apply(member))
		}
		cause = "scaling: " + a.id + " is " + a.state.phase.String()
		c.handed(a)
	}
	if len(apps) > 1 {
		cause = "scaling"
	}
	slices.SortFunc(apps, func(x, y *sources.App) int { return compareIDs(x.ID, y.ID) })
	return apps, cause
}
