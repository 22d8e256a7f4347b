package relay

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/gauges"
)

var buildGauge = gauges.New("relay_build_info", "1, with the version of Relay and of the Go that it was built with.", "version", "go_version")

// registerBuild tells which Relay this is.
func registerBuild(registerer prometheus.Registerer, version string) {
	gauges.Register(registerer, func(set gauges.Set) { set(buildGauge, 1, version, runtime.Version()) }, buildGauge)
}
