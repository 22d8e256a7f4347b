package findings

import (
	"fmt"

	"relay/admin/api"
	"relay/internal/plural"
)

// probes says what fails that is asked from outside. If all of it fails, that is critical: nobody may get in.
func (l *list) probes(p *api.ProbesStatus) {
	if p == nil || p.Failing == 0 {
		return
	}
	level := api.Warning
	if p.Failing == p.Asked {
		level = api.Critical
	}
	which := ""
	if len(p.Worst) > 0 {
		one := p.Worst[0]
		which = ": " + one.Name
		if one.Envoy != "" {
			which += " through " + one.Fleet + "/" + one.Envoy
		}
		which += ": " + one.Reason
	}
	if p.Failing > 1 {
		which += fmt.Sprintf("; and %d more", p.Failing-1)
	}
	l.add(level, "see /probes of the admin endpoint: each step, and what was seen", "%d of %s from %s %s%s", p.Failing, plural.Of(p.Asked, "probe"), p.Place, verb(p.Failing, "fails", "fail"), which)
}
