package file

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/sources"
)

type metrics struct {
	reads    *prometheus.CounterVec
	lastSync prometheus.Gauge
	apps     prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	return metrics{
		reads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "relay_file_reads_total",
			Help: "Reads of the app files, by result: ok or failed.",
		}, []string{"result"}),
		lastSync: f.NewGauge(prometheus.GaugeOpts{
			Name: "relay_file_last_sync_timestamp_seconds",
			Help: "When all app files were last found good; 0 if never.",
		}),
		apps: f.NewGauge(prometheus.GaugeOpts{
			Name: "relay_file_apps",
			Help: "Apps read from files and served.",
		}),
	}
}

func (m metrics) note(s sources.Status) {
	result := "ok"
	if s.LastError != "" {
		result = "failed"
	} else {
		m.lastSync.Set(float64(s.LastSync.UnixMilli()) / 1000)
	}
	m.reads.WithLabelValues(result).Inc()
	m.apps.Set(float64(s.Apps))
}
