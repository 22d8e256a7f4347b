package relay

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/logs"
)

// throughSyslog returns a logger that also sends what it is told by syslog, if it is to go there.
func throughSyslog(config logs.Config, log *slog.Logger, registerer prometheus.Registerer) (*slog.Logger, *logs.Syslog) {
	if config.Address == "" {
		return log, nil
	}
	syslog := logs.NewSyslog(config, registerer)
	enabled := func(level slog.Level) bool { return log.Enabled(context.Background(), level) }
	return slog.New(slog.NewMultiHandler(log.Handler(), syslog.Handler(enabled))), syslog
}

// startSyslog begins to send, and returns what ends that. It is no supervised part, as the parts log until they have ended.
func (r *Relay) startSyslog() (stop func()) {
	if r.syslog == nil {
		return func() {}
	}
	return r.syslog.Start(r.log.With("part", "syslog"))
}
