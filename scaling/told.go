package scaling

import "log/slog"

// The events, as the log has them.
const (
	eventFalling         = "app_falling_asleep"
	eventStays           = "app_stays_awake"
	eventAsleep          = "app_asleep"
	eventWaking          = "app_waking"
	eventWoken           = "app_woken"
	eventFailed          = "app_wake_failed"
	eventOffline         = "app_offline"
	eventAwake           = "app_online"
	eventDrains          = "app_drains"
	eventRescaled        = "app_rescaled"
	eventResizedByOthers = "app_resized_by_others"
	eventTrouble         = "scaling_failed"
)

// kinds are the same in words, for people.
var kinds = map[string]string{
	eventFalling: "falls asleep", eventStays: "stays awake", eventAsleep: "fell asleep", eventWaking: "is woken", eventWoken: "woke up",
	eventFailed: "did not start", eventOffline: "scaled to 0 by people", eventAwake: "scaled up by people", eventDrains: "shrinks",
	eventRescaled: "resized", eventResizedByOthers: "resized by others", eventTrouble: "change failed",
}

// tell logs an event of an app.
func tell(log *slog.Logger, app string, e event) {
	switch e.name {
	case eventFalling:
		log.Debug("app falls asleep", "event", "app_falling_asleep", "app", app, "reason", e.reason)
	case eventStays:
		log.Debug("app stays awake", "event", "app_stays_awake", "app", app, "reason", e.reason)
	case eventAsleep:
		log.Info("app sleeps", "event", "app_asleep", "app", app, "reason", e.reason)
	case eventWaking:
		log.Debug("app is woken", "event", "app_waking", "app", app, "reason", e.reason)
	case eventWoken:
		log.Info("app is awake", "event", "app_woken", "app", app, "reason", e.reason)
	case eventFailed:
		log.Warn("app does not start", "event", "app_wake_failed", "app", app, "reason", e.reason)
	case eventOffline:
		log.Info("app was scaled to 0 by people: no request wakes it", "event", "app_offline", "app", app)
	case eventAwake:
		log.Info("app was scaled up by people", "event", "app_online", "app", app)
	case eventDrains:
		log.Info("instances are taken out of rotation, to be killed", "event", "app_drains", "app", app, "reason", e.reason)
	case eventRescaled:
		log.Info("app has another number of instances", "event", "app_rescaled", "app", app, "reason", e.reason)
	case eventResizedByOthers:
		log.Info("others have changed the number of instances", "event", "app_resized_by_others", "app", app, "reason", e.reason)
	case eventTrouble:
		log.Warn("the number of instances could not be changed", "event", "scaling_failed", "app", app, "error", e.reason)
	}
}
