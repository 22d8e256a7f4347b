package collator

import (
	"time"

	"relay/sources"
)

// maySleep returns the app as it is with RELAY_IDLE_AFTER.
func maySleep(app *sources.App) *sources.App {
	app.Scaling = &sources.Scaling{IdleAfter: time.Hour}
	return app
}

// inMaintenance returns a copy of the app as it is with RELAY_MAINTENANCE.
func inMaintenance(app *sources.App) *sources.App {
	other := *app
	other.Maintenance = true
	return &other
}

// crashes returns the app with a task that has failed.
func crashes(app *sources.App) *sources.App {
	app.Orchestration = &sources.Orchestration{Instances: 1, Failure: &sources.TaskFailure{Task: "t", State: "TASK_FAILED", Version: app.Version}}
	return app
}
