package marathontest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"sync"
)

// deployment brings apps from their old definitions to new ones.
type deployment struct {
	id, version string
	changes     []change
	steps       []step
	step        int // index of the current one
	cancel      context.CancelFunc
	done        chan struct{}
}

// change is what happens to one app. old is nil for a new app, new for a
// deleted one.
type change struct {
	app      *app
	old, new *definition
	kill     []*instance // the ones a scale down must take
}

type step struct {
	Actions []action `json:"actions"`
}

type action struct {
	Action string `json:"action"`
	App    string `json:"app"`
	target *app
}

// plan orders the work as Marathon does: stops, starts, then scaling and restarts.
func plan(changes []change) []step {
	var stop, start, run step
	for _, c := range changes {
		act := func(verb string) action { return action{verb, c.app.id, c.app} }
		switch {
		case c.new == nil:
			stop.Actions = append(stop.Actions, act("StopApplication"))
		case c.old == nil:
			start.Actions = append(start.Actions, act("StartApplication"))
			run.Actions = append(run.Actions, act("ScaleApplication"))
		case c.old.config != c.new.config:
			run.Actions = append(run.Actions, act("RestartApplication"))
		case c.old != c.new:
			run.Actions = append(run.Actions, act("ScaleApplication"))
		}
	}
	return slices.DeleteFunc([]step{stop, start, run}, func(s step) bool { return len(s.Actions) == 0 })
}

// lockedError names the deployments that keep an app from being changed.
type lockedError struct{ deployments []string }

func (lockedError) Error() string {
	return "the app is locked by a running deployment; force=true overrides it"
}

// origin is the request behind a change, if it is of the kind that Marathon
// tells of by api_post_event.
type origin struct{ clientIP, uri string }

// deploy accepts changes, makes them visible, and starts the deployment. The
// caller holds s.accepting. force cancels deployments in the way.
func (s *Server) deploy(changes []change, version string, from *origin, force bool) (*deployment, error) {
	ctx, cancel := context.WithCancel(s.ctx)
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	d := &deployment{id: hex.EncodeToString(id), version: version, changes: changes, steps: plan(changes), cancel: cancel, done: make(chan struct{})}
	if err := s.clearWay(changes, force); err != nil {
		cancel()
		return nil, err
	}
	s.mu.Lock()
	if len(s.deployments) == 0 {
		s.idle = make(chan struct{})
	}
	s.deployments = append(s.deployments, d)
	s.mu.Unlock()

	early := s.opts.PublishLag > 0
	if early {
		s.mu.Lock()
		s.publishDeployment(d, "deployment_info")
		s.mu.Unlock()
		sleep(s.ctx, s.opts.PublishLag)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.install(d, from)
	if !early { // before anything that the deployment does
		s.publishDeployment(d, "deployment_info")
	}
	if s.closed {
		cancel()
		return d, nil
	}
	s.spawn(func() {
		defer close(d.done)
		defer cancel()
		s.run(ctx, d)
	})
	return d, nil
}

// clearWay cancels the deployments that touch the same apps, or refuses.
func (s *Server) clearWay(changes []change, force bool) error {
	s.mu.Lock()
	var inWay []*deployment
	for _, d := range s.deployments {
		if slices.ContainsFunc(d.changes, func(c change) bool {
			return slices.ContainsFunc(changes, func(n change) bool { return n.app.id == c.app.id })
		}) {
			inWay = append(inWay, d)
		}
	}
	s.mu.Unlock()
	if len(inWay) > 0 && !force {
		var err lockedError
		for _, d := range inWay {
			err.deployments = append(err.deployments, d.id)
		}
		return err
	}
	for _, d := range inWay {
		s.cancelDeployment(d)
	}
	return nil
}

func (s *Server) cancelDeployment(d *deployment) {
	d.cancel()
	select {
	case <-d.done:
	case <-s.ctx.Done():
	}
}

// install makes the new definitions visible and tells so. The caller holds s.mu.
func (s *Server) install(d *deployment, from *origin) {
	for _, c := range d.changes {
		c.app.setDeployment(d.id, true)
		if c.new == nil {
			delete(s.apps, c.app.id)
			delete(s.versions, c.app.id)
			continue
		}
		c.app.def = c.new
		s.keepVersion(c.new)
		for _, inst := range c.kill {
			s.decommission(inst)
		}
		s.apps[c.app.id] = c.app
		if from != nil {
			s.bus.publish("api_post_event", map[string]any{"clientIp": from.clientIP, "uri": from.uri, "appDefinition": json.RawMessage(c.new.json)})
		}
	}
	group := "/"
	if len(d.changes) == 1 {
		group = path.Dir(d.changes[0].app.id)
	}
	s.bus.publish("group_change_success", map[string]any{"groupId": group, "version": d.version})
}

// run performs the steps of d, of which the first one was announced.
func (s *Server) run(ctx context.Context, d *deployment) {
	for i := range d.steps {
		if i > 0 {
			s.mu.Lock()
			d.step = i
			s.publishDeployment(d, "deployment_info")
			s.mu.Unlock()
		}
		var wg sync.WaitGroup
		for _, a := range d.steps[i].Actions {
			wg.Go(func() { s.perform(ctx, a) })
		}
		wg.Wait()
		if ctx.Err() != nil {
			break
		}
		s.mu.Lock()
		s.publishDeployment(d, "deployment_step_success")
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range d.changes {
		c.app.setDeployment(d.id, false)
	}
	s.deployments = slices.DeleteFunc(slices.Clone(s.deployments), func(o *deployment) bool { return o == d })
	switch {
	case s.ctx.Err() != nil:
	case ctx.Err() != nil:
		s.bus.publish("deployment_failed", map[string]any{"id": d.id, "reason": "cancelled", "plan": s.shownPlan(d)})
	default:
		s.bus.publish("deployment_success", map[string]any{"id": d.id, "plan": s.shownPlan(d)})
	}
	if len(s.deployments) == 0 {
		close(s.idle)
	}
}

// shownPlan is the plan of d as events show it. The caller holds s.mu.
func (s *Server) shownPlan(d *deployment) map[string]any {
	plan := map[string]any{"id": d.id, "version": d.version, "steps": append([]step{}, d.steps...)}
	if weight := s.opts.Quirks.HeavyPlans; weight > 0 {
		var apps []json.RawMessage
		for _, a := range s.apps {
			apps = append(apps, a.def.json)
		}
		group := map[string]any{"id": "/", "apps": apps, "dependencies": []string{strings.Repeat("x", weight/2)}}
		plan["original"], plan["target"] = group, group
	}
	return plan
}

// publishDeployment publishes an event of the current step. The caller holds s.mu.
func (s *Server) publishDeployment(d *deployment, eventType string) {
	if len(d.steps) == 0 {
		return
	}
	s.bus.publish(eventType, map[string]any{"plan": s.shownPlan(d), "currentStep": d.steps[d.step]})
}

// perform does one action and returns when it is complete or ctx ends.
func (s *Server) perform(ctx context.Context, a action) {
	switch a.Action {
	case "StopApplication":
		s.mu.Lock()
		stopping := slices.Clone(a.target.instances)
		for _, inst := range stopping {
			s.decommission(inst)
		}
		s.mu.Unlock()
		if awaitGone(ctx, stopping) {
			s.bus.publish("app_terminated_event", map[string]any{"appId": a.App})
		}
	case "ScaleApplication":
		s.scale(ctx, a.target)
	case "RestartApplication":
		s.replace(ctx, a.target)
	}
}

// scale starts or stops as many instances as the definition asks for.
func (s *Server) scale(ctx context.Context, a *app) {
	s.mu.Lock()
	live := a.live()
	want := *a.def.Instances
	var started, stopping []*instance
	for _, inst := range a.instances {
		if inst.stop {
			stopping = append(stopping, inst)
		}
	}
	for range want - len(live) {
		inst := newInstance(a)
		s.launch(inst)
		started = append(started, inst)
	}
	if want < len(live) {
		for _, inst := range live[:len(live)-want] {
			s.decommission(inst)
			stopping = append(stopping, inst)
		}
	}
	s.mu.Unlock()
	for _, inst := range started {
		if !awaitReady(ctx, inst) {
			return
		}
	}
	awaitGone(ctx, stopping)
}

// replace starts instances of the current definition, and stops an old one for
// each new one that is ready.
func (s *Server) replace(ctx context.Context, a *app) {
	s.mu.Lock()
	var old, fresh []*instance
	for _, inst := range a.instances {
		switch {
		case inst.stop:
		case inst.current != nil && inst.current.config == a.def.config && !inst.current.dead:
			fresh = append(fresh, inst) // started by a deployment that was cancelled
		default:
			old = append(old, inst)
		}
	}
	for range *a.def.Instances - len(fresh) {
		inst := newInstance(a)
		s.launch(inst)
		fresh = append(fresh, inst)
	}
	s.mu.Unlock()
	stopping := old
	for _, inst := range fresh {
		if !awaitReady(ctx, inst) {
			return
		}
		if len(old) > 0 {
			s.stopInstances(old[:1])
			old = old[1:]
		}
	}
	s.stopInstances(old)
	if excess := len(fresh) - *a.def.Instances; excess > 0 {
		s.stopInstances(fresh[:excess])
		stopping = append(stopping, fresh[:excess]...)
	}
	awaitGone(ctx, stopping)
}

func (s *Server) stopInstances(instances []*instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, inst := range instances {
		s.decommission(inst)
	}
}

func awaitReady(ctx context.Context, inst *instance) bool {
	select {
	case <-inst.ready:
		return true
	case <-inst.gone:
		return true
	case <-ctx.Done():
		return false
	}
}

func awaitGone(ctx context.Context, instances []*instance) bool {
	for _, inst := range instances {
		select {
		case <-inst.gone:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
