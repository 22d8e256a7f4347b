package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"testing"
	"time"

	"relay/deploy"
	"relay/xds/envoytest"
)

// An Envoy with the bootstrap that Relay makes reports how many requests each app has, and each
// instance of the one at which somebody looks. What is open and silent is in progress.
func TestLoadIsReported(t *testing.T) {
	w := newWorld(t)
	client := w.relay.secure()
	w.relay.start()
	backend := func() (address string) {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/broken" {
				rw.WriteHeader(http.StatusInternalServerError)
			}
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	one, two := backend(), backend()
	w.marathon.service("/shop", []string{one, two}, "HAPROXY_0_VHOST", "shop.test")
	port, address := w.tcp.port()
	w.marathon.service("/db", []string{backend()}, modeLabel, "tcp", "HAPROXY_0_PORT", port)
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, TLS: client})
	w.envoy.ready()

	loads := w.relay.running.Loads()
	w.eventually("Envoy reports", func() error {
		if _, ok := loads.Cluster("external", "/db_0"); !ok {
			return fmt.Errorf("reporters: %v", loads.Reporters())
		}
		return nil
	})
	loads.Watch("external", "/shop_0")
	const each = 30
	for range each {
		w.clients.do("http://shop.test/")
		w.clients.do("http://shop.test/broken")
	}
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	w.eventually("all is counted", func() error {
		requests, _ := w.admin.metric(`relay_requests_total{fleet="external"}`)
		failed, _ := w.admin.metric(`relay_request_errors_total{fleet="external"}`)
		open, _ := w.admin.metric(`relay_requests_in_progress{fleet="external"}`)
		envoys, _ := w.admin.metric(`relay_load_reporters{fleet="external"}`)
		if requests != 2*each+1 || failed != each || open != 1 || envoys != 1 {
			return fmt.Errorf("%v requests, %v errors, %v in progress, %v Envoys", requests, failed, open, envoys)
		}
		return nil
	})
	if db, _ := loads.Cluster("external", "/db_0"); db.InProgress != 1 {
		t.Errorf("an open TCP connection: %+v", db)
	}
	more := func() { // rates are of the last seconds
		w.clients.do("http://shop.test/")
		w.clients.do("http://shop.test/broken")
	}
	w.eventually("each instance has its load", func() error {
		more()
		loads.Watch("external", "/shop_0")
		of := loads.Endpoints("external", "/shop_0")
		for _, address := range []string{one, two} {
			if l := of[netip.MustParseAddrPort(address)]; l.Requests == 0 || l.Errors == 0 {
				return fmt.Errorf("%v", of)
			}
		}
		return nil
	})
	w.eventually("there are rates", func() error {
		more()
		if l, _ := loads.Envoy("external", "envoy"); l.Requests == 0 || l.Errors == 0 || l.InProgress != 1 {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	if _, ok := loads.Cluster("external", "relay-xds"); ok {
		t.Error("Envoy's own cluster counts as an app")
	}
	w.envoy.nothingRejected()
}

// An Envoy that knows several Relays reports to the one that it has its resources from. It may
// report to another at first.
func TestLoadGoesToTheRelayThatServes(t *testing.T) {
	w := newWorld(t)
	w.relay.start()
	config := w.relay.config
	config.XDS.Address, config.Admin.Address = freeAddress(t), "127.0.0.1:0"
	other := &runningRelay{t: t, certs: w.certs, admin: newAdminClient(t), log: w.relay.log, config: config}
	other.start()
	relays := []*runningRelay{w.relay, other}
	// Of one Envoy of two, the first report is for the wrong Relay.
	for i := range 4 {
		envoytest.Start(t, envoytest.Options{NodeID: fmt.Sprint("edge-", i), XDS: []string{w.relay.config.XDS.Address, config.XDS.Address}})
	}
	reporters := func(r *runningRelay) (n int) {
		for _, one := range r.running.Loads().Reporters() {
			if one.Reports(time.Now()) {
				n++
			}
		}
		return n
	}
	w.eventually("all report somewhere", func() error {
		if reporters(w.relay)+reporters(other) < 4 {
			return errors.New("not yet")
		}
		return nil
	})
	t.Logf("%d and %d report at first", reporters(w.relay), reporters(other))
	settled := func() error {
		for _, r := range relays {
			served := make(map[string]bool)
			for _, s := range r.admin.envoys() {
				served[s.NodeID] = true
			}
			for _, one := range r.running.Loads().Reporters() {
				if recent := time.Since(one.Last) < 15*time.Second; served[one.NodeID] != recent {
					return fmt.Errorf("%s: served %v, %+v", r.config.XDS.Address, served, one)
				}
				delete(served, one.NodeID)
			}
			if len(served) > 0 {
				return fmt.Errorf("%v do not report", served)
			}
		}
		return nil
	}
	// A report, 5 s until the next stream, and a report to the right one.
	deadline, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	for err := settled(); err != nil; err = settled() {
		select {
		case <-deadline.Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Envoys with a bootstrap of an older Relay do not report, and serve all the same.
func TestOlderBootstrap(t *testing.T) {
	w := newWorld(t)
	w.relay.start()
	w.marathon.deploy(app("/shop", "shop.test", 1))
	text, err := deploy.Bootstrap{
		NodeID: "envoy", Fleet: "external", XDS: []string{w.relay.config.XDS.Address}, Admin: netip.MustParseAddrPort("127.0.0.1:0"),
	}.YAML()
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?m)^  load_stats_config:\n(    .*\n)+`)
	older := block.ReplaceAll(text, nil)
	if len(older) == len(text) {
		t.Fatal("the bootstrap has no load_stats_config")
	}
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{Bootstrap: older})
	w.envoy.ready()
	w.clients.expect("http://shop.test/", http.StatusOK, "/shop")
	if r := w.relay.running.Loads().Reporters(); len(r) > 0 {
		t.Errorf("it reports: %v", r)
	}
	if n, ok := w.admin.metric(`relay_load_reporters{fleet="external"}`); n != 0 || !ok {
		t.Errorf("%v Envoys report", n)
	}
	w.envoy.nothingRejected()
}
