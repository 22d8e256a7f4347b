package relay

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/scrape"
)

var buildGauge = scrape.NewGauge("relay_build_info", "1, with the version of Relay and of the Go that it was built with.", "version", "go_version")

// registerBuild tells which Relay this is.
func registerBuild(registerer prometheus.Registerer, version string) {
	scrape.Register(registerer, func(set scrape.Set) { set(buildGauge, 1, version, runtime.Version()) }, buildGauge)
}
