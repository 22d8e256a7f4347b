package relay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/scaling"
	"relay/sources"
	"relay/traffic"
	"relay/xds"
)

// scalingFleets says which Envoys there are and what they have, to who decides about instances.
type scalingFleets struct {
	relay *Relay

	mu     sync.Mutex
	doubts map[string]doubt   // by fleet
	handed map[string]handing // by routed name
}

// doubt is why nobody knows whether apps of a fleet are used, as of a moment.
type doubt struct {
	at   time.Time
	text string
}

// handing is when an app came to the collator as it is routed now.
type handing struct {
	app   *sources.App
	noted uint64
}

var _ scaling.Fleets = (*scalingFleets)(nil)

func newScalingFleets(r *Relay) *scalingFleets {
	return &scalingFleets{relay: r, doubts: make(map[string]doubt), handed: make(map[string]handing)}
}

// Serving implements scaling.Fleets.
func (f *scalingFleets) Serving(groups []string) []string { return f.relay.collator.FleetsOf(groups) }

// drainFor is how long Envoys keep connections to a listener that has another version, and a minute to take
// that over: by default, as an Envoy does not tell its --drain-time-s.
const drainFor = 11 * time.Minute

// doubtFor is how long an answer of Doubt holds: many apps ask at a time.
const doubtFor = time.Second

// Doubt implements scaling.Fleets.
func (f *scalingFleets) Doubt(fleet string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if known := f.doubts[fleet]; now.Sub(known.at) < doubtFor {
		return known.text
	}
	text := f.doubtNow(fleet)
	f.doubts[fleet] = doubt{now, text}
	return text
}

func (f *scalingFleets) doubtNow(fleet string) string {
	envoys, _ := f.relay.xds.Envoys(fleet)
	var ids []string
	for _, e := range envoys {
		if since := max(envoy.NamedChainsSince, traffic.SilentBefore); e.Before(since) {
			return fmt.Sprintf("Envoy %s is %s, which cannot hold requests until an app wakes, or does not tell of connections that are silent: that takes 1.%d", e.NodeID, e.Version, since)
		}
		ids = append(ids, e.NodeID)
	}
	if silent := f.relay.loads.Silent(fleet, ids); len(silent) > 0 {
		return fmt.Sprintf("Envoy %s has not reported its load lately%s", silent[0], andMore(len(silent)-1))
	}
	if late := f.relay.xds.Late(fleet, routing.ScalingFilter, []string{routing.HTTPListener, routing.HTTPSListener}, drainFor); len(late) > 0 {
		if late[0].Asked.IsZero() {
			return fmt.Sprintf("Envoy %s has listeners that cannot hold requests until an app wakes, and has not taken over newer ones", late[0].NodeID)
		}
		return fmt.Sprintf("Envoy %s may have connections of before it could hold requests, until %s", late[0].NodeID, late[0].Asked.Add(drainFor).UTC().Format("15:04:05 UTC"))
	}
	for _, left := range f.relay.xds.Left() {
		if left.Fleet == fleet && !f.elsewhere(fleet, left.NodeID) {
			return fmt.Sprintf("Envoy %s has lost its connection at %s and may serve still: it is waited for until an hour later",
				left.NodeID, left.At.UTC().Format("15:04:05 UTC"))
		}
	}
	return ""
}

func andMore(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(", nor have %d more", n)
}

// Gated implements scaling.Fleets.
func (f *scalingFleets) Gated(name string) (all bool, waiting string) {
	app, waiting := f.published(name)
	if waiting != "" {
		return false, waiting
	}
	if app == nil || !app.Gated {
		return false, "it is not routed so yet"
	}
	scopes, others := f.relay.collator.ScopesOf(app), f.relay.collator.ScopesAsking(name)
	for _, fleet := range f.fleetsOf(app) {
		var keys []xds.Key
		for _, scope := range slices.Concat(scopes[fleet], others[fleet]) {
			keys = append(keys, xds.Key{Type: xds.Scope, Name: scope})
		}
		for i, port := range app.Ports {
			if port.TCP != nil && port.Wake != sources.WakeTCPNever && f.relay.collator.Routes(fleet, name, i) {
				keys = append(keys, xds.Key{Type: xds.ExtensionConfig, Name: routing.WakeFilter(routing.ClusterName(name, i))})
			}
		}
		if waiting := f.unacknowledged(fleet, keys); waiting != "" {
			return false, waiting
		}
	}
	return true, ""
}

// Drained implements scaling.Fleets.
func (f *scalingFleets) Drained(name string, tasks []string) (all bool, waiting string) {
	app, waiting := f.published(name)
	if app == nil || waiting != "" {
		return false, waiting
	}
	for i, port := range app.Ports {
		if slices.ContainsFunc(port.Endpoints, func(e sources.Endpoint) bool {
			return e.Health != sources.Draining && slices.Contains(tasks, e.Task)
		}) {
			return false, "it is not routed so yet"
		}
		key := xds.Key{Type: xds.Endpoint, Name: routing.ClusterName(name, i)}
		for _, fleet := range f.relay.collator.FleetsOf(port.Groups) {
			if waiting := f.unacknowledged(fleet, []xds.Key{key}); waiting != "" {
				return false, waiting
			}
		}
	}
	return true, ""
}

// published returns an app as it is routed. If that is not in the stores yet, waiting says so.
func (f *scalingFleets) published(name string) (app *sources.App, waiting string) {
	c := f.relay.collator
	app = c.Routed(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	known, ok := f.handed[name]
	if !ok || known.app != app {
		// It was noted by now, since it is routed.
		known = handing{app, c.Noted()}
		f.handed[name] = known
	}
	if !c.Published(known.noted) {
		return app, "it is being built"
	}
	if app == nil {
		delete(f.handed, name)
	}
	return app, ""
}

// fleetsOf returns the fleets that serve an app.
func (f *scalingFleets) fleetsOf(app *sources.App) []string {
	var groups []string
	for _, port := range app.Ports {
		groups = append(groups, port.Groups...)
	}
	return f.relay.collator.FleetsOf(groups)
}

func (f *scalingFleets) unacknowledged(fleet string, keys []xds.Key) string {
	if len(keys) == 0 {
		return ""
	}
	if missing := f.relay.xds.Unacknowledged(fleet, keys); len(missing) > 0 {
		return "Envoys to acknowledge that: " + strings.Join(missing[:min(len(missing), maxNodes)], ", ")
	}
	return ""
}

// envoyView says what one Envoy has, to services that hold requests.
type envoyView struct{ relay *Relay }

// Serves implements wake.Envoys and queue.Envoys.
func (v envoyView) Serves(fleet, node string) bool { return v.relay.xds.Connected(fleet, node) }

// lookAgain bounds the time between two looks whether an app has an instance: who waits for one is told
// as soon as it is known, so it is on its way.
const lookAgain = 20 * time.Millisecond

// WaitFor implements wake.Envoys and queue.Envoys.
func (v envoyView) WaitFor(ctx context.Context, fleet, node, app string, port int) error {
	c := v.relay.collator
	name := routing.ClusterName(app, port)
	for pause := time.Millisecond; ; pause = min(2*pause, lookAgain) {
		if err := c.Flush(ctx); err != nil {
			return err
		}
		if v.relay.stores[fleet].Has(xds.Cluster, name) && usable(c.Routed(app), port) {
			break
		}
		if !v.Serves(fleet, node) {
			return xds.ErrNotConnected
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return v.relay.xds.WaitAcknowledged(ctx, fleet, node, []xds.Key{{Type: xds.Cluster, Name: name}, {Type: xds.Endpoint, Name: name}})
}

// usable reports whether an instance of a port takes requests.
func usable(app *sources.App, port int) bool {
	return app != nil && port < len(app.Ports) && routing.TakesConnections(app.Ports[port].Endpoints)
}
