package logs

import (
	"io"
	"log/slog"
	"strings"
	"time"
)

// ecsVersion is the version of the schema whose names are used.
const ecsVersion = "8.11.0"

// NewECS returns a handler that writes JSON, a line each, with the names of the Elastic Common Schema: @timestamp,
// log.level, message, event.action (Relay's event), event.duration (in nanoseconds), error.message,
// error.stack_trace, service.name. All other fields are relay.*, with durations in seconds.
// See https://www.elastic.co/docs/reference/ecs
func NewECS(w io.Writer, level slog.Leveler, version string) slog.Handler {
	h := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: ecsName})
	fixed := []slog.Attr{slog.String("ecs.version", ecsVersion), slog.String("service.name", "relay"), slog.String("event.dataset", "relay.log")}
	if version != "" {
		fixed = append(fixed, slog.String("service.version", version))
	}
	return h.WithAttrs(fixed)
}

// ecsNames are those of the fields that the schema knows.
var ecsNames = map[string]string{
	slog.MessageKey: "message", "event": "event.action", "error": "error.message", "stack": "error.stack_trace",
}

// ecsName gives a field its name in the schema. No field of Relay has a dot in its name: those that do have theirs.
func ecsName(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 || strings.Contains(a.Key, ".") {
		return a
	}
	kind := a.Value.Kind()
	switch {
	case a.Key == slog.TimeKey && kind == slog.KindTime:
		return slog.String("@timestamp", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z"))
	case a.Key == slog.LevelKey && kind == slog.KindAny:
		return slog.String("log.level", strings.ToLower(a.Value.String()))
	case a.Key == "took" && kind == slog.KindDuration:
		return slog.Int64("event.duration", int64(a.Value.Duration()))
	case kind == slog.KindDuration:
		a.Value = slog.Float64Value(float64(a.Value.Duration()) / float64(time.Second))
	}
	if name := ecsNames[a.Key]; name != "" {
		a.Key = name
	} else {
		a.Key = "relay." + a.Key
	}
	return a
}
