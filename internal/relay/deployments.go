package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"relay/admin"
	"relay/admin/api"
	"relay/collator/routing"
	"relay/internal/state"
	"relay/scaling/deployments"
	"relay/scaling/peers"
	"relay/sources"
	"relay/traffic"
)

// deploymentParts show deployment groups, and make the steps that people ask for.
type deploymentParts struct {
	stage   *deployments.Stage
	manager *deployments.Manager
}

// throughDeployments returns what a source feeds in place of next, and builds the stage.
func (r *Relay) throughDeployments(next sources.Sink) sources.Sink {
	file, saved := r.directionsFile()
	var known []deployments.Direction
	if saved {
		known = r.readDirections(file)
	}
	stage := deployments.NewStage(next, known)
	if saved {
		stage.Save = func(all []deployments.Direction) { r.saveDirections(file, all) }
	}
	r.deployments = &deploymentParts{stage: stage}
	return stage
}

// throughNames returns what a source feeds in place of next, so that deployment groups of tenants have names of their own.
func throughNames(saved savedBefore, log *slog.Logger, next sources.Sink) sources.Sink {
	return deployments.NewNames(next, func() []*sources.App {
		apps, err := saved()
		if err != nil {
			log.Warn("the names of deployment groups are not known from before: where several top-level folders have groups of one name, these may change",
				"event", "group_names_unknown", "error", err)
		}
		return apps
	})
}

// newDeployments builds what makes steps.
func (r *Relay) newDeployments() {
	routing := deploymentRouting{relay: r, fleets: newScalingFleets(r)}
	config := deployments.Config{
		Stage: r.deployments.stage, Routing: routing, Loads: r.loads, Flush: r.collator.Flush, Log: r.log.With("part", "deployments"),
	}
	if r.scaling != nil {
		config.Scaler = r.scaling.scaler
		if len(r.config.Scaling.Peers.URLs) > 0 {
			config.Others = routing.others
			r.scaling.peers.Deployments = peerDeployments{r.deployments}
		}
	}
	r.deployments.manager = deployments.New(config)
}

// directionsContent tells the file of directions from others.
const directionsContent = "deployments"

// directionsFile is where the directions of deployment groups are saved, if anything is.
func (r *Relay) directionsFile() (state.File, bool) {
	dir := r.config.State.Dir
	if dir == "" || !r.config.Scaling.Enabled {
		return state.File{}, false
	}
	return state.File{Path: filepath.Join(absolute(dir), directionsContent+".state"), Content: directionsContent}, true
}

func (r *Relay) readDirections(file state.File) (known []deployments.Direction) {
	body, _, err := file.Load()
	if err == nil {
		err = json.Unmarshal(body, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("which deployment groups are rolled back cannot be read: all go on to their new app", "event", "directions_unread", "error", err)
		return nil
	}
	return known
}

func (r *Relay) saveDirections(file state.File, all []deployments.Direction) {
	body, err := json.Marshal(all)
	if err == nil {
		err = file.Save(time.Now(), body)
	}
	if err != nil {
		r.log.Error("which deployment groups are rolled back cannot be saved: a restart of Relay forgets it", "event", "directions_unsaved", "error", err)
	}
}

// deploymentRouting says how groups are routed, and what Envoys have of that.
type deploymentRouting struct {
	relay  *Relay
	fleets *scalingFleets
}

var _ deployments.Routing = deploymentRouting{}

// Routed implements deployments.Routing.
func (d deploymentRouting) Routed(name string) *sources.App { return d.relay.collator.Routed(name) }

// Serving implements deployments.Routing.
func (d deploymentRouting) Serving(groups []string) []string {
	return d.relay.collator.FleetsOf(groups)
}

// Cluster implements deployments.Routing.
func (d deploymentRouting) Cluster(name string, port int) string {
	return routing.ClusterName(name, port)
}

// Drained implements deployments.Routing.
func (d deploymentRouting) Drained(name string, tasks []string) (all bool, waiting string) {
	return d.fleets.Drained(name, tasks)
}

// Uncounted implements deployments.Routing.
func (d deploymentRouting) Uncounted(fleet string) string { return d.fleets.uncounted(fleet) }

// others adds what the other Relays know of their Envoys.
func (d deploymentRouting) others(ctx context.Context, s *deployments.State) {
	said, err := d.relay.scaling.peers.Tasks(ctx, s.Group)
	for i := range s.Apps {
		for j := range s.Apps[i].Tasks {
			t := &s.Apps[i].Tasks[j]
			if err != nil {
				t.Add(0, false, false, "another Relay cannot be asked: "+err.Error())
			}
			for _, tasks := range said {
				k := slices.IndexFunc(tasks, func(of peers.DeploymentTask) bool { return of.Task == t.ID })
				if k < 0 {
					t.Add(0, false, false, "another Relay does not know it yet")
					continue
				}
				t.Add(tasks[k].Open, tasks[k].Known, tasks[k].Settled, cmp.Or(tasks[k].Waiting, "at another Relay it does not drain yet"))
			}
		}
	}
}

// peerDeployments is what this Relay tells the others of deployment groups.
type peerDeployments struct{ *deploymentParts }

var _ peers.Deployments = peerDeployments{}

// Tasks implements peers.Deployments.
func (d peerDeployments) Tasks(group string) (tasks []peers.DeploymentTask) {
	s, _ := d.manager.Local(group)
	for _, app := range s.Apps {
		for _, t := range app.Tasks {
			tasks = append(tasks, peers.DeploymentTask{Task: t.ID, Open: t.Connections, Known: t.Known, Settled: t.Settled, Waiting: t.Waiting})
		}
	}
	return tasks
}

// Directions implements peers.Deployments.
func (d peerDeployments) Directions() []deployments.Direction { return d.stage.Directions() }

// Learn implements peers.Deployments.
func (d peerDeployments) Learn(directions []deployments.Direction) { d.stage.Learn(directions) }

// Moving implements peers.Deployments.
func (d peerDeployments) Moving() bool { return d.stage.Moving() }

// deploymentReports tells the admin endpoint of deployment groups.
type deploymentReports struct{ manager *deployments.Manager }

var _ admin.Deployments = deploymentReports{}

// Groups implements admin.Deployments.
func (d deploymentReports) Groups() []string { return d.manager.Groups() }

// Deployment implements admin.Deployments.
func (d deploymentReports) Deployment(ctx context.Context, group string) (api.Deployment, bool) {
	s, ok := d.manager.Look(ctx, group)
	return d.shown(s), ok
}

// Short implements admin.Deployments.
func (d deploymentReports) Short(group string) (api.Deployment, bool) {
	s, ok := d.manager.Local(group)
	for i := range s.Apps {
		for j := range s.Apps[i].Tasks {
			if t := &s.Apps[i].Tasks[j]; !d.manager.Alone() {
				t.Add(0, false, false, "other Relays were not asked")
			}
		}
	}
	return d.shown(s), ok
}

func (d deploymentReports) shown(s deployments.State) api.Deployment {
	p := s.Next(deployments.Options{})
	shown := api.Deployment{
		Group: s.Group, State: s.Token(), Back: s.Back, Done: p.Done, To: p.To, From: p.From, Target: p.Target,
		Next: shownChanges(p.Changes), Waiting: p.Waiting,
	}
	if d.manager.ReadOnly() {
		shown.ReadOnly = deployments.ErrReadOnly.Error()
	}
	for _, app := range s.Apps {
		shown.Apps = append(shown.Apps, shownDeploymentApp(app))
	}
	for _, e := range slices.Backward(d.manager.Events(s.Group)) {
		shown.Events = append(shown.Events, api.DeploymentEvent{Time: e.At.UTC(), Kind: e.Kind, Text: e.Text})
	}
	return shown
}

func shownChanges(changes []deployments.Change) (shown []api.DeploymentChange) {
	for _, c := range changes {
		shown = append(shown, api.DeploymentChange{App: c.App, From: c.From, To: c.To, Kill: c.Kill, Cut: c.Cut, Why: c.Why})
	}
	return shown
}

func shownDeploymentApp(app deployments.App) api.DeploymentApp {
	shown := api.DeploymentApp{ID: app.ID, Version: app.Version, StartedAt: app.StartedAt, Instances: app.Instances, Out: len(app.Out)}
	sum, known := 0, true
	for _, t := range app.Tasks {
		one := api.DeploymentTask{Task: t.ID, Address: t.Address, Health: t.Health.String(), Waiting: t.Waiting}
		if t.Known {
			one.Connections = &t.Connections
		}
		sum, known = sum+t.Connections, known && t.Known
		switch t.Health {
		case sources.Healthy:
			shown.Healthy++
		case sources.Draining:
			shown.Draining++
		}
		shown.Tasks = append(shown.Tasks, one)
	}
	if known {
		shown.Connections = &sum
	}
	return shown
}

// Step implements admin.Deployments.
func (d deploymentReports) Step(ctx context.Context, r admin.DeploymentRequest) (api.DeploymentStep, admin.StepOutcome) {
	done, err := d.manager.Step(ctx, deployments.Request{
		Group: r.Group, Back: r.Back, Options: deployments.Options{Instances: r.Instances, Force: r.Force}, If: r.If,
	})
	step := api.DeploymentStep{Turned: done.Turned, Made: shownChanges(done.Made)}
	step.Deployment, _ = d.Deployment(ctx, r.Group)
	if err == nil {
		return step, admin.StepMade
	}
	step.Error = err.Error()
	return step, stepOutcome(err)
}

func stepOutcome(err error) admin.StepOutcome {
	is := func(causes ...error) bool {
		return slices.ContainsFunc(causes, func(cause error) bool { return errors.Is(err, cause) })
	}
	switch {
	case is(deployments.ErrReadOnly):
		return admin.StepRefused
	case is(deployments.ErrUnknown):
		return admin.StepUnknown
	case is(deployments.ErrBusy, deployments.ErrOther, sources.ErrChanged, sources.ErrLocked, sources.ErrGone):
		return admin.StepConflict
	}
	return admin.StepFailed
}

// uncounted says why it is not known what is open at the Envoys of a fleet; empty if it is.
func (f *scalingFleets) uncounted(fleet string) string {
	envoys, _ := f.relay.xds.Envoys(fleet)
	var ids []string
	for _, e := range envoys {
		if e.Before(traffic.SilentBefore) {
			return "Envoy " + e.NodeID + " is " + cmp.Or(e.Version, "of an unknown version") + ", which does not tell of connections that are silent"
		}
		ids = append(ids, e.NodeID)
	}
	if silent := f.relay.loads.Silent(fleet, ids); len(silent) > 0 {
		return "Envoy " + silent[0] + " has not reported its load lately" + andMore(len(silent)-1)
	}
	for _, left := range f.relay.xds.Left() {
		if left.Fleet == fleet && !f.elsewhere(fleet, left.NodeID) {
			return "Envoy " + left.NodeID + " has lost its connection at " + left.At.UTC().Format("15:04:05 UTC") + " and may have connections still: it is waited for until an hour later"
		}
	}
	return ""
}
