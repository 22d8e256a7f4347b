package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"relay/scaling/peers"
	"relay/xds/envoytest"
)

// Two Relays have their Envoys send each id to the same instance: at once when one starts that was not there when instances were
// replaced, and soon after each change that both follow, whenever each reads Marathon.
func TestIDsAtTwoRelays(t *testing.T) {
	w := newWorld(t)
	other, clients, urls := w.peer()
	marathon, err := url.Parse(w.marathon.URL())
	if err != nil {
		t.Fatal(err)
	}
	var away atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(marathon)
	behind := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if away.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() { behind.CloseClientConnections(); behind.Close() })
	other.config.Apps.Marathon.URLs = []string{behind.URL}
	w.relay.mayScale(urls...)
	other.mayScale(urls...)
	w.relay.keepState(false)
	other.keepState(false)
	// Slots are given in the order in which instances come. A Relay that sees them all at once gives them by their names.
	scale := func(from, to int) {
		for n := from; n <= to; n++ {
			w.marathon.deploy(fmt.Sprintf(`{"id":"/agents","instances":%d}`, n))
			w.rotates("/agents", n)
		}
	}
	w.marathon.deploy(app("/agents", "agents.test", 1, "RELAY_0_HASH_POLICY", "path_segment 2"))
	w.start()
	w.rotates("/agents", 1)
	scale(2, 6)
	tasks := func() (bySlot []string) {
		var known peers.Answer
		w.admin.read("/api/v1/peer?slots="+strings.Repeat("0", peers.MaxDigests), &known)
		slots := known.Slots[0].Slots
		bySlot = slices.Collect(maps.Keys(slots))
		slices.SortFunc(bySlot, func(a, b string) int { return slots[a] - slots[b] })
		return bySlot
	}

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
			a, err := w.clients.answered(300, agentURL)
			b, errOfOther := clients.answered(300, agentURL)
			if err := errors.Join(err, errOfOther); err != nil {
				return err // one may still send ids to an instance that is gone
			}
			if !slices.Equal(a, b) {
				all, _ := moved(a, b)
				return fmt.Errorf("%.1f %% go elsewhere", all)
			}
			return nil
		})
	}
	agree("at the start of the second")
	if strings.Contains(other.log.String(), "slots_taken_over") {
		t.Error("the second Relay gave other slots until it was running")
	}
	w.marathon.deploy(`{"id":"/agents","env":{"VERSION":"3"}}`)
	w.rotates("/agents", 6)
	agree("after a release")
	scale(7, 7)
	agree("after one more instance")
	away.Store(true)
	scale(8, 11)
	away.Store(false)
	agree("after four more that one of them sees at once")
	if !slices.IsSorted(tasks()[7:]) && !strings.Contains(other.log.String(), "slots_taken_over") {
		t.Error("the second Relay did not take over slots")
	}
}
