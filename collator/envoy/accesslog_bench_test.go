package envoy_test

import (
	"path/filepath"
	"testing"

	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds/envoytest"
)

// BenchmarkAccessLog measures the CPU time of Envoy for a request to an app, with Relay's http listener: without an access
// log, with a file, with a collector, and with one that is away. They take turns, so what else runs on the machine hits
// all alike.
func BenchmarkAccessLog(b *testing.B) {
	var c logCollector
	names := []string{"off", "file", "collector", "away"}
	var envoys []*loggingEnvoy
	for i, log := range []routing.AccessLog{{}, {File: filepath.Join(b.TempDir(), "access.json")}, {Collector: true}, {Collector: true}} {
		address := []string{"", "", c.start(b), "127.0.0.1:1"}[i]
		e := startEnvoyWith(b, envoytest.Options{Workers: 1, AccessLog: address}, func(f *routing.Fleet, _ *certstest.CA) { f.AccessLog = log })
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{e.app("/a", "a.test")})
		e.eventually(b, request{host: "a.test", path: "/"}, status(200))
		envoys = append(envoys, &loggingEnvoy{e.envoy, e.fleet.HTTP.String()})
	}
	inTurns(b, names, envoys)
}
