package e2e

import (
	"net/netip"
	"testing"

	"relay/internal/relay"
	"relay/xds/envoytest"
)

// edgesWorld has two Envoys, each of a fleet of its own, since two on one machine cannot have the same ports: a test can
// end one of them.
type edgesWorld struct {
	*world
	// second is that of the fleet internal, whose listeners are at these addresses.
	second      *envoytest.Envoy
	http, https string
}

// startEdges starts Relay and both Envoys.
func startEdges(t *testing.T, prepare func(*edgesWorld)) *edgesWorld {
	t.Helper()
	w := &edgesWorld{world: newWorld(t), http: freeAddress(t), https: freeAddress(t)}
	fleets := &w.relay.config.Fleets
	second := relay.Fleet{Fleet: (*fleets)[0].Fleet}
	second.Name, second.HTTP, second.HTTPS = "internal", netip.MustParseAddrPort(w.http), netip.MustParseAddrPort(w.https)
	*fleets = append(*fleets, second)
	w.relay.fleet = &(*fleets)[0]
	prepare(w)
	w.start()
	w.startSecond()
	w.admin.streams(2)
	w.admin.settled()
	return w
}

// startSecond starts the second Envoy, also when it has ended.
func (w *edgesWorld) startSecond() {
	w.second = envoytest.Start(w.t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, Fleet: "internal", NodeID: "edge-2"})
	if err := w.second.WaitReady(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}
