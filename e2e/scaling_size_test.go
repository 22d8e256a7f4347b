package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"relay/internal/logtest"
	"relay/internal/relay"
	"relay/xds/envoytest"
)

// mayScale lets a Relay change the number of instances.
func (r *runningRelay) mayScale(peers ...string) {
	r.config.Scaling = relay.Scaling{
		Enabled: true, Marathon: r.config.Apps.Marathon, WaitingPerApp: 2000, WaitingInAll: 20_000, WakeRate: 20, Peers: relay.Peers{URLs: peers},
	}
}

// second returns another Relay of the same Marathon, and starts no Envoy.
func (w *world) second() (*runningRelay, *clients) {
	w.t.Helper()
	own := &clients{t: w.t, certs: w.certs, http: freeAddress(w.t), https: freeAddress(w.t)}
	r := &runningRelay{t: w.t, certs: w.certs, admin: newAdminClient(w.t), log: &logtest.Buffer{}, config: w.relay.config}
	r.config.Fleets = slices.Clone(r.config.Fleets)
	r.fleet = &r.config.Fleets[0]
	r.fleet.HTTP, r.fleet.HTTPS = netip.MustParseAddrPort(own.http), netip.MustParseAddrPort(own.https)
	r.config.XDS.Address = freeAddress(w.t)
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the second Relay's log:\n%s", r.log)
		}
	})
	return r, own
}

// peer is second, as one of two Relays that ask each other at the URLs of their admin endpoints.
func (w *world) peer() (other *runningRelay, own *clients, urls []string) {
	w.t.Helper()
	other, own = w.second()
	for _, r := range []*runningRelay{w.relay, other} {
		r.config.Admin.Address = freeAddress(w.t)
		urls = append(urls, "http://"+r.config.Admin.Address)
	}
	return other, own, urls
}

// busy has so many requests in progress until stop is called.
func (c *clients) busy(n int, url string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	client := c.client(true)
	client.Timeout = 0
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
				if err == nil {
					_, _ = c.ask(client, req)
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	c.t.Cleanup(stop)
	return stop
}

// Two Relays, each with an Envoy of its own, size an app by the load of both, and come to the same number.
func TestSizeByTheLoadOfTwoRelays(t *testing.T) {
	w := newWorld(t)
	other, clients, urls := w.peer()
	w.relay.mayScale(urls...)
	other.mayScale(urls...)
	w.marathon.deploy(app("/sized", "sized.test", 1, "RELAY_SCALE", "1..20", "RELAY_SCALE_TARGET", "2"))
	w.start()
	other.start()
	envoy := envoytest.Start(t, envoytest.Options{XDS: []string{other.config.XDS.Address}, NodeID: "second"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := envoy.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	w.clients.expect("http://sized.test/", http.StatusOK, "/sized")
	clients.expect("http://sized.test/", http.StatusOK, "/sized")

	w.clients.busy(6, "http://sized.test/slow?ms=1000")
	clients.busy(4, "http://sized.test/slow?ms=1000")
	w.eventually("as many instances as both need", func() error {
		switch n := len(w.marathon.Tasks("/sized")); {
		case n < 5:
			return fmt.Errorf("%d instances", n)
		case n > 6: // Envoys do not report at the same moment
			t.Errorf("%d instances, though 5 are enough", n)
		}
		return nil
	})
	for _, r := range []*runningRelay{w.relay, other} {
		if log := r.log.String(); strings.Contains(log, "event=peer_unreachable") {
			t.Errorf("a peer could not be asked:\n%s", log)
		}
	}
}

// What waits in a queue counts as load: Envoys do not report it, and no more than the limit is ever in progress.
func TestGrowsForItsQueue(t *testing.T) {
	w := newWorld(t)
	w.relay.mayScale()
	w.marathon.deploy(app("/queued", "queued.test", 1, "RELAY_SCALE", "1..4", "RELAY_SCALE_TARGET", "1", "RELAY_0_CONCURRENCY", "1"))
	w.start()
	w.clients.expect("http://queued.test/", http.StatusOK, "/queued")
	w.clients.busy(6, "http://queued.test/slow?ms=1000")
	w.eventually("more instances, as requests wait", func() error {
		if n := len(w.marathon.Tasks("/queued")); n < 4 {
			return fmt.Errorf("%d instances", n)
		}
		return nil
	})
}
