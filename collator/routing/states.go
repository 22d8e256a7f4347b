package routing

import (
	"slices"

	"relay/sources"
)

// lost are how tasks end that their machine was taken from. The app is not to blame.
var lost = []string{"TASK_LOST", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNREACHABLE", "TASK_UNKNOWN"}

// Crashed reports whether tasks of an app fail: one has since the app is defined as it is now. It
// does not look at the endpoints. So scopes stay as they are while tasks come and go.
func Crashed(app *sources.App) bool {
	if app == nil || app.Stopped || app.Gated || app.Orchestration == nil {
		return false
	}
	failed := app.Orchestration.Failure
	return failed != nil && failed.Version == app.Version && !slices.Contains(lost, failed.State)
}

// Maintenance reports whether nobody takes requests of a rule for now, as who runs the apps said.
func (r Rule) Maintenance() bool {
	return !slices.ContainsFunc(r.Targets, func(t Target) bool { return !t.Maintenance })
}

// Crashed reports whether the tasks of all apps that take requests of a rule fail.
func (r Rule) Crashed() bool {
	return !slices.ContainsFunc(r.Targets, func(t Target) bool { return !t.Crashed })
}

// withoutMaintenance leaves the requests to those of the apps that share them which take some. If
// all are in maintenance, they all stay.
func withoutMaintenance(targets []Target) []Target {
	takes := func(t Target) bool { return !t.Maintenance }
	if len(targets) == 1 || !slices.ContainsFunc(targets, takes) {
		return targets
	}
	return slices.DeleteFunc(slices.Clone(targets), func(t Target) bool { return t.Maintenance })
}
