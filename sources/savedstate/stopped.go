package savedstate

import (
	"slices"

	"relay/sources"
)

// stoppedMark stands in a file for sources.App.Stopped. It has no task, as no other has. An
// earlier version shows it to people, and does nothing else with it.
var stoppedMark = sources.Excluded{Reason: "the app is scaled to 0"}

// markStopped returns an app with a mark in each port, if it is stopped.
func markStopped(app *sources.App) *sources.App {
	if !app.Stopped {
		return app
	}
	marked := *app
	marked.Ports = slices.Clone(app.Ports)
	for i := range marked.Ports {
		port := &marked.Ports[i]
		port.Excluded = append([]sources.Excluded{stoppedMark}, port.Excluded...)
	}
	return &marked
}

// unmarkStopped takes the marks away, and reports whether there were any.
func unmarkStopped(app *sources.App) (stopped bool) {
	for i := range app.Ports {
		port := &app.Ports[i]
		if len(port.Excluded) > 0 && port.Excluded[0] == stoppedMark {
			stopped = true
			port.Excluded = port.Excluded[1:]
			if len(port.Excluded) == 0 {
				port.Excluded = nil
			}
		}
	}
	return stopped
}
