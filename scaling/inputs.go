package scaling

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"relay/scaling/autoscale"
	"relay/sources"
	"relay/traffic"
)

// inputs gathers what the phase of an app decides by.
func (c *Controller) inputs(a *app) inputs {
	in := inputs{
		now: time.Now(), read: a.read, alone: c.config.Peers == nil, peers: a.peers, busy: a.busy,
	}
	awake := a.state.phase == Unread || a.state.phase == Awake
	if (awake || a.state.phase == FallingAsleep) && a.read.idleAfter() > 0 {
		in.use, in.doubt, in.queued = c.use(a), c.doubt(a), c.queuedAt(a)
	}
	if a.state.phase == FallingAsleep {
		in.acknowledged, in.waiting = c.config.Fleets.Gated(a.id)
	}
	if tasks := a.state.drains(); len(tasks) > 0 {
		in.acknowledged, in.waiting = c.config.Fleets.Drained(a.id, tasks)
		in.left, in.leftSince = c.left(a), c.use(a).Since
	}
	if !a.handed {
		in.acknowledged, in.waiting = false, "it was not told yet"
	}
	if awake && a.read.sized() && (a.state.size == nil || !in.now.Before(a.state.size.next)) {
		in.load = c.load(a)
	}
	return in
}

// cluster is a cluster of a fleet.
type cluster struct{ fleet, name string }

// clusters are the clusters of what was read, ordered by fleet.
func (c *Controller) clusters(r *read) (clusters []cluster) {
	for _, member := range r.members {
		for i := range member.Ports {
			name := c.config.Cluster(r.id, i)
			for _, fleet := range c.config.Fleets.Serving(member.Ports[i].Groups) {
				clusters = append(clusters, cluster{fleet, name})
			}
		}
	}
	slices.SortFunc(clusters, func(a, b cluster) int {
		return cmp.Or(strings.Compare(a.fleet, b.fleet), strings.Compare(a.name, b.name))
	})
	return slices.Compact(clusters)
}

// fleets are those of clusters, each once.
func fleets(clusters []cluster) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, of := range clusters {
			if (i == 0 || clusters[i-1].fleet != of.fleet) && !yield(of.fleet) {
				return
			}
		}
	}
}

// use is how all clusters of an app were used. Without any, nothing is known.
func (c *Controller) use(a *app) (all traffic.Use) {
	for i, of := range a.clusters {
		u := c.config.Loads.Use(of.fleet, of.name)
		if i == 0 || u.Until.Before(all.Until) {
			all.Until = u.Until
		}
		all.InProgress += u.InProgress
		all.Last, all.Since = latest(all.Last, u.Last), latest(all.Since, u.Since)
	}
	return all
}

// unreported is how old a request is at most of which an Envoy has not reported yet that it goes on.
const unreported = time.Minute

// mayHold reports whether something may be in progress: what has begun lately is in no report, and never
// will be if its instance leaves the rotation now.
func (c *Controller) mayHold(a *app) bool {
	u, lately := c.use(a), time.Now().Add(-unreported)
	return u.InProgress > 0 || u.Last.After(lately) || a.state.asked.After(lately)
}

// doubt says why it is not known how an app is used.
func (c *Controller) doubt(a *app) string {
	if len(a.clusters) == 0 {
		return "no fleet of this Relay serves it"
	}
	for fleet := range fleets(a.clusters) {
		if why := c.config.Fleets.Doubt(fleet); why != "" {
			return why
		}
	}
	return ""
}

// queuedAt is how many requests wait in the queues of an app.
func (c *Controller) queuedAt(a *app) (n int) {
	if c.config.Queued == nil {
		return 0
	}
	ports := 0
	for _, member := range a.read.members {
		ports = max(ports, len(member.Ports))
	}
	for port := range ports {
		n += c.config.Queued(a.id, port)
	}
	return n
}

// ownLoad is what is in progress at the Envoys of this Relay, with what waits in its queues.
func (c *Controller) ownLoad(a *app) load {
	sum := load{inProgress: float64(c.queuedAt(a)), known: len(a.clusters) > 0}
	for _, of := range a.clusters {
		n, known := c.config.Loads.Concurrency(of.fleet, of.name, autoscale.Tick)
		sum.inProgress += n
		sum.known = sum.known && known
	}
	return sum
}

// left is what Envoys have in progress at tasks that drain. It is known once each has reported a time of
// after it acknowledged that they do.
func (c *Controller) left(a *app) load {
	d := &a.state.size.drain
	left := load{known: !d.acknowledged.IsZero() && c.doubt(a) == ""}
	for _, of := range a.clusters {
		c.config.Loads.Watch(of.fleet, of.name)
		endpoints := c.config.Loads.Endpoints(of.fleet, of.name)
		if endpoints == nil || c.config.Loads.Use(of.fleet, of.name).Until.Before(d.acknowledged) {
			left.known = false
			continue
		}
		for _, task := range d.tasks {
			for _, p := range a.read.places[task] {
				if c.config.Cluster(a.id, p.port) == of.name {
					left.inProgress += float64(endpoints[p.endpoint.Address].InProgress)
				}
			}
		}
	}
	return left
}

// load is what is in progress at the Envoys of all Relays.
func (c *Controller) load(a *app) load {
	sum := c.ownLoad(a)
	if c.config.Peers != nil {
		reports, all := c.config.Peers.Last(a.id)
		sum.known = sum.known && all
		for _, r := range reports {
			sum.inProgress += r.InProgress
			sum.known = sum.known && r.Known
		}
	}
	return sum
}

// sizedPace is how often Envoys report where an app is sized by its load.
const sizedPace = 2 * time.Second

// pace has Envoys report more often while they serve apps that are sized by load. Clusters are those
// of an app from now on.
func (c *Controller) pace(a *app, clusters []cluster) {
	if _, ok := c.bySize[a]; ok {
		for fleet := range fleets(a.clusters) {
			if c.sized[fleet]--; c.sized[fleet] == 0 {
				c.config.Loads.Pace(fleet, 0)
			}
		}
	}
	delete(c.bySize, a)
	if clusters == nil || a.read.scaling().Max == 0 {
		return
	}
	c.bySize[a] = struct{}{}
	for fleet := range fleets(clusters) {
		if c.sized[fleet]++; c.sized[fleet] == 1 {
			c.config.Loads.Pace(fleet, sizedPace)
		}
	}
}

// lingering returns the tasks that may have connections which no Envoy reports: an Envoy forgets
// them when an instance leaves its rotation, has another address, or its cluster is another one, but
// they stay open. Used is asked whether anything was in progress.
func lingering(known []string, before, after *read, used func() bool) []string {
	var left []string
	for _, task := range known {
		if after.exists(task) {
			left = append(left, task)
		}
	}
	rebuilt := !sameClusters(before, after)
	var lost []string
	for task, places := range before.places {
		if after.exists(task) && !slices.Contains(left, task) && (rebuilt || !covers(after.places[task], places)) {
			lost = append(lost, task)
		}
	}
	if len(lost) > 0 && used() {
		left = append(left, lost...)
		slices.Sort(left)
	}
	return left
}

// covers reports whether a task is still reached wherever it was.
func covers(now, before []place) bool {
	for _, was := range before {
		if !slices.ContainsFunc(now, func(p place) bool { return p.port == was.port && p.endpoint.Address == was.endpoint.Address }) {
			return false
		}
	}
	return true
}

// sameClusters reports whether no cluster is another one, as far as that can be told here. What
// concerns routes only counts as well: it is seldom changed while tasks stay.
func sameClusters(before, after *read) bool {
	was, is := before.definition(), after.definition()
	if was == nil || is == nil {
		return was == is
	}
	return slices.EqualFunc(was.Ports, is.Ports, func(a, b sources.Port) bool {
		return a.HTTP.Equal(b.HTTP) && a.Upstream.Equal(b.Upstream) && (a.TCP == nil) == (b.TCP == nil) && slices.Equal(a.Groups, b.Groups)
	})
}

// definition is the member of whose ports the clusters are: in a deployment group the oldest app. It
// is nil if there is none.
func (r *read) definition() *sources.App {
	if len(r.members) == 0 {
		return nil
	}
	return slices.MinFunc(r.members, func(a, b *sources.App) int {
		if a.Deployment == nil || b.Deployment == nil {
			return compareIDs(a.ID, b.ID)
		}
		return cmp.Or(a.Deployment.StartedAt.Compare(b.Deployment.StartedAt), compareIDs(a.ID, b.ID))
	})
}

func compareIDs(a, b string) int { return strings.Compare(a, b) }
