package labels

import (
	"maps"
	"slices"

	"relay/sources"
)

// finishScaling settles what several labels say together about the instances of an app.
func (r *reader) finishScaling() *sources.Scaling {
	s := &r.scaling
	r.neverWokenByRedis()
	if s.Max > 0 && r.deployment.Group != "" {
		s.Min, s.Max = 0, 0
		r.problem("RELAY_SCALE", "has no effect beside HAPROXY_DEPLOYMENT_GROUP: the tool that deploys the group chooses the number of instances")
	}
	if s.IdleAfter > 0 && !r.wakeable() {
		s.IdleAfter = 0
		r.problem("RELAY_IDLE_AFTER", "has no effect, and the app never sleeps: no request could wake it. Give a port a group and a domain, or a TCP service the label RELAY_{n}_WAKE")
	}
	if s.Max > 0 && s.Target == 0 {
		s.Target = sources.DefaultScaleTarget
	}
	sleeps := s.IdleAfter > 0 || s.asleep > 0
	for _, key := range slices.Sorted(maps.Keys(s.given)) {
		switch key {
		case "RELAY_WAKE_TIMEOUT", "RELAY_WAKE_PAGE":
			if !sleeps && !r.said("RELAY_IDLE_AFTER") {
				r.problem(key, "has no effect without RELAY_IDLE_AFTER")
			}
		default:
			if s.Max == 0 && !r.said("RELAY_SCALE") {
				r.problem(key, "has no effect without RELAY_SCALE")
			}
		}
	}
	for i := range r.ports {
		if r.ports[i].Wake == sources.WakeTCPNever {
			continue
		}
		key := r.seen[nameOfPort{i, "WAKE"}]
		switch {
		case r.ports[i].TCP == nil:
			r.problem(key, "has no effect in http mode: requests always wake the app")
		case !sleeps && !r.said("RELAY_IDLE_AFTER"):
			r.problem(key, "has no effect without RELAY_IDLE_AFTER")
		default:
			continue
		}
		r.ports[i].Wake = sources.WakeTCPNever
	}
	if !sleeps && s.Max == 0 {
		return nil
	}
	if !sleeps {
		s.WakeTimeout, s.WakePage = 0, false
	}
	if s.Max == 0 {
		s.Target, s.DownAfter = 0, 0
	}
	return &s.Scaling
}

// neverWokenByRedis drops WAKE of ports that speak Redis: it is connections that would wait, and clients of Redis
// keep theirs open while the app sleeps.
func (r *reader) neverWokenByRedis() {
	for i := range r.ports {
		if p := &r.ports[i]; p.Wake != sources.WakeTCPNever && p.TCP != nil && p.TCP.Redis != nil {
			p.Wake = sources.WakeTCPNever
			r.problem(r.seen[nameOfPort{i, "WAKE"}], "has no effect with PROTOCOL=redis: clients stay connected to Envoy while the app sleeps, and a command does not wake it")
		}
	}
}

// said reports whether the app has a label, right or wrong: that has its own problem then.
func (r *reader) said(key string) bool {
	return slices.ContainsFunc(r.shown, func(l sources.Label) bool { return l.Name == key })
}

// wakeable reports whether a request or connection may come for the app, as far as its own
// labels tell: those of another app of its group may say more.
func (r *reader) wakeable() bool {
	return r.deployment.Group != "" || slices.ContainsFunc(r.ports, func(p sources.Port) bool {
		return len(p.Groups) > 0 && (p.TCP == nil && len(p.Domains) > 0 || p.TCP != nil && p.Wake != sources.WakeTCPNever)
	})
}
