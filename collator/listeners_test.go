package collator

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"relay/certs"
	"relay/collator/routing"
	"relay/xds"
)

// Every filter chain has filters of its own. With a Lua machine for each worker in
// each of them, 1000 certificates took 680 MB of two workers.
func TestNoLuaInFilterChains(t *testing.T) {
	t.Parallel()
	for _, onDemand := range []bool{false, true} {
		fleet := testFleet()
		fleet.ClustersOnDemand, fleet.CertificatesOnDemand = onDemand, onDemand
		c, r := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
		c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "a", "a.test"), certificate("z", "z", "*.zone.test")}, nil)
		syncApps(c, webApp("/a", "a.test"), webApp("/zone", "*.zone.test"))
		looked := 0
		for key := range r.Versions {
			if key.Type != xds.Listener && key.Type != xds.ExtensionConfig {
				continue
			}
			msg, err := c.fleets[0].build(key)
			if err != nil {
				t.Fatal(err)
			}
			body, err := proto.Marshal(msg)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(bytes.ToLower(body), []byte("lua")) {
				t.Errorf("%s %s has a Lua filter", key.Type, key.Name)
			}
			looked++
		}
		if looked != 3 {
			t.Errorf("%d listeners and filters looked at, want 3", looked)
		}
	}
}
