package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"relay/xds/envoytest"
)

// Two Relays have their Envoys send each id to the same instance: while both follow Marathon, and when one starts that was not
// there when instances were replaced.
func TestIDsAtTwoRelays(t *testing.T) {
	w := newWorld(t)
	first, second := freeAddress(t), freeAddress(t)
	urls := []string{"http://" + first, "http://" + second}
	other, clients := w.second()
	w.relay.config.Admin.Address, other.config.Admin.Address = first, second
	w.relay.mayScale(urls...)
	other.mayScale(urls...)
	w.relay.keepState(false)
	other.keepState(false)
	w.marathon.deploy(app("/agents", "agents.test", 6, "RELAY_0_HASH_POLICY", "path_segment 2"))
	w.start()
	w.rotates("/agents", 6)
	// Its slots are given in the order in which old instances leave.
	w.marathon.deploy(`{"id":"/agents","env":{"VERSION":"2"}}`)
	w.rotates("/agents", 6)

	other.start()
	envoy := envoytest.Start(t, envoytest.Options{XDS: []string{other.config.XDS.Address}, NodeID: "second"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := envoy.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	agree := func(when string) {
		t.Helper()
		w.clients.expect("http://agents.test/", http.StatusOK, "/agents")
		clients.expect("http://agents.test/", http.StatusOK, "/agents")
		w.eventually("both send ids to the same instances "+when, func() error {
			if a, b := w.clients.owners(300, agentURL), clients.owners(300, agentURL); !slices.Equal(a, b) {
				all, _ := moved(a, b)
				return fmt.Errorf("%.1f %% go elsewhere", all)
			}
			return nil
		})
	}
	agree("at the start of the second")
	w.marathon.deploy(`{"id":"/agents","env":{"VERSION":"3"}}`)
	w.rotates("/agents", 6)
	agree("after a release")
	w.marathon.deploy(`{"id":"/agents","instances":7}`)
	w.rotates("/agents", 7)
	agree("after one more instance")
}
