package envoy

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"relay/collator/routing"
)

// routesByTarget reports whether each target of a rule has a route of its own: if some of the
// requests wait for Relay, or some clients do not count as use of an app.
func routesByTarget(r routing.Rule) bool {
	return slices.ContainsFunc(r.Targets, func(t routing.Target) bool { return waits(t) || t.Separates })
}

// waits reports whether requests to a target wait for Relay.
func waits(t routing.Target) bool { return t.Gated || t.Queued }

// shareRoutes forwards the requests of a rule: by a route for each
// target, called like its cluster. A route names one app port to Relay, so only the share of a
// target that sleeps waits, and wakes it.
//
// Envoy compares the same random number with the fraction of each of these routes. So each takes
// what those before leave of all up to its own fraction, which is its share.
func (b scopeBuilder) shareRoutes(domain string, r routing.Rule, m ruleMatch) []*routev3.Route {
	var total, upTo uint64
	for _, t := range r.Targets {
		total += uint64(t.Weight)
	}
	if len(r.Targets) == 1 || total == 0 {
		return []*routev3.Route{b.shareRoute(domain, r, r.Targets[0], m)}
	}
	var routes []*routev3.Route
	for _, t := range r.Targets {
		if t.Weight == 0 {
			continue
		}
		upTo += uint64(t.Weight)
		route := b.shareRoute(domain, r, t, m)
		if upTo < total {
			route.Match.RuntimeFraction = &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
				Numerator: uint32(upTo * 1e6 / total), Denominator: typev3.FractionalPercent_MILLION,
			}}
		}
		routes = append(routes, route)
	}
	return routes
}

func (b scopeBuilder) shareRoute(domain string, r routing.Rule, t routing.Target, m ruleMatch) *routev3.Route {
	r.Targets = []routing.Target{t}
	forward := b.forward(domain, r)
	if waits(t) {
		lastAsHold(forward.Route)
	}
	return &routev3.Route{Name: t.Cluster, Match: m.match(), Action: forward}
}

// lastAsHold has a request not end for idleness, or for how long it lasts, while it waits for Relay. The timeout of the
// route, which is for the answer of the app, begins after that.
func lastAsHold(action *routev3.RouteAction) {
	const least = holdLimit + time.Minute
	if idle := action.IdleTimeout.AsDuration(); idle > 0 && idle < least {
		action.IdleTimeout = durationpb.New(least)
	}
	if d := action.MaxStreamDuration.GetMaxStreamDuration().AsDuration(); d > 0 && d < least {
		action.MaxStreamDuration.MaxStreamDuration = durationpb.New(least)
	}
}

// gateShare has the requests of a route by shareRoutes wait for Relay if its target sleeps, or has
// a queue.
func gateShare(p *packer, route *routev3.Route, targets []routing.Target) {
	for _, t := range targets {
		if waits(t) && t.Cluster == route.Name {
			askRelay(p, route, t)
		}
	}
}
