package collator

import (
	"slices"

	"relay/internal/problem"
	"relay/sources"
)

// unscaledProblems says of an app that is served here that what it asks for has no effect, as Relay may
// not change the number of instances.
func (c *Collator) unscaledProblems(app *sources.App) []problem.Problem {
	fleet := slices.IndexFunc(c.fleets, func(f *fleetState) bool {
		return slices.ContainsFunc(app.Ports, func(p sources.Port) bool { return slices.Contains(p.Groups, f.Name) })
	})
	if fleet < 0 || c.fleets[fleet].Scaling {
		return nil
	}
	one := problem.Problem{Subject: "scaling", Severity: problem.Advice, Action: "run relay serve with --scaling, which lets it write to Marathon (docs/scaling.md), or take the labels off the app"}
	queue := slices.IndexFunc(app.Ports, func(p sources.Port) bool { return p.Queue != nil })
	switch o := app.Orchestration; {
	case o != nil && o.Asleep > 0 && o.Instances == 0:
		one.Severity, one.Action = problem.Ignored, "run relay serve with --scaling (docs/scaling.md), or take RELAY_ASLEEP off the app and scale it up"
		one.Reason = "the app sleeps (RELAY_ASLEEP), and no request wakes it: Relay runs without --scaling"
	case app.Scaling != nil && app.Scaling.IdleAfter > 0:
		one.Reason = "RELAY_IDLE_AFTER has no effect, and the app never sleeps: Relay runs without --scaling"
	case app.Scaling != nil && app.Scaling.Max > 0:
		one.Reason = "RELAY_SCALE has no effect: Relay runs without --scaling"
	case queue >= 0:
		one.Reason = "its requests do not queue, and an instance may have any number at one time: Relay runs without --scaling"
	default:
		return nil
	}
	return []problem.Problem{one}
}
