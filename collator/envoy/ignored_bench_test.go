package envoy_test

import (
	"testing"

	"relay/sources"
)

// BenchmarkIgnoredClients measures the CPU time of Envoy for a request to an app: one that may not
// sleep, and one that may, in fleets that ignore nobody, clients by their User-Agent, and clients
// by their network.
func BenchmarkIgnoredClients(b *testing.B) {
	for name, clients := range map[string][]string{
		"nobody": nil, "agents": {"UptimeRobot", "kube-probe/", "pingdom"}, "networks": {"192.0.2.0/24", "2001:db8::/32"},
	} {
		e := startEnvoy(b, ignores(b, clients...))
		e.c.SyncCertificates("vault", nil, nil)
		e.c.SyncApps([]*sources.App{e.app("/always", "always.test"), maySleep(e.app("/sleeps", "sleeps.test"))})
		for _, host := range []string{"always.test", "sleeps.test"} {
			e.eventually(b, request{host: host, path: "/"}, status(200))
			b.Run(name+"/"+host, func(b *testing.B) { e.load(b, host) })
		}
	}
}
