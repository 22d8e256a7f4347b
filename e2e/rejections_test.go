package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"relay/internal/problem"
	"relay/xds"
	"relay/xds/envoytest"
	"relay/xds/xdstest"
)

// forEachVersion runs a test in a world for each version of Envoy.
func forEachVersion(t *testing.T, test func(w *world)) {
	t.Helper()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		w := newWorld(t)
		w.envoy.version = version
		test(w)
	})
}

// opened waits until an Envoy has a listener open.
func opened(t *testing.T, e *envoytest.Envoy, listener string) {
	t.Helper()
	eventually(t, listener+" open", func() error {
		all, err := e.Get(t.Context(), "/listeners")
		if err == nil && !strings.Contains(all, listener+"::") {
			err = fmt.Errorf("open are %s", all)
		}
		return err
	})
}

// rejectedByEnvoys are the problems with what Envoys reject. Of the oldest Envoy there is
// always a problem of another kind: what it cannot do.
func rejectedByEnvoys(w *world) []problem.Problem {
	return slices.DeleteFunc(w.admin.envoyProblems(), func(p problem.Problem) bool { return p.Item == "version" })
}

// A port that something else listens on costs the one Envoy, and only for as long: it
// opens the port by itself when that is free. An Envoy that comes meanwhile is sent the
// listener at once. People are told which Envoy it is, since when, and why.
func TestPortTakenOnOneMachine(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(w *world) {
		t := w.t
		port, address := w.tcp.port()
		w.marathon.service("/db", []string{w.tcp.lines("db", nil)}, modeLabel, "tcp", portLabel, port)
		var taken []net.Listener
		for _, address := range []string{w.clients.http, address} {
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			taken = append(taken, l)
		}
		start := func(node string) *envoytest.Envoy {
			return envoytest.Start(t, envoytest.Options{Version: w.envoy.version, XDS: []string{w.relay.config.XDS.Address}, NodeID: node})
		}
		w.relay.start()
		first := start("edge-1")
		items := []string{"listeners http", "listeners tcp/" + port}
		for _, item := range items {
			w.admin.problem("fleet external, Envoy edge-1", item+": rejected since 20")
		}
		w.admin.problem("Envoy edge-1", "cannot bind '"+w.clients.http+"': Address already in use")
		w.admin.problem("Envoy edge-1", "cannot bind '"+address+"': Address already in use")
		for _, subject := range []string{"seed.test", "/db"} {
			if _, out, _ := w.admin.explain(subject); !strings.Contains(out, "rejected by this Envoy since 20") || !strings.Contains(out, "cannot bind '") {
				t.Errorf("relay explain %s does not say it:\n%s", subject, out)
			}
		}

		for _, l := range taken {
			_ = l.Close()
		}
		second := start("edge-2")
		opened(t, second, "http")
		opened(t, second, "tcp/"+port)
		for _, p := range rejectedByEnvoys(w) {
			if p.Subject != "fleet external, Envoy edge-1" || !slices.Contains(items, p.Item) {
				t.Errorf("also a problem: %+v", p)
			}
		}
		opened(t, first, "http")
		opened(t, first, "tcp/"+port)
		w.eventually("no problem", func() error {
			if all := rejectedByEnvoys(w); len(all) > 0 {
				return fmt.Errorf("%+v", all)
			}
			return nil
		})
		second.Kill() // both have the port
		w.tcp.greeted(address, "db").says(t, "db")
		if w.envoy.version == envoytest.Newest { // the oldest takes no scopes any more until it is started again
			w.clients.expect("http://seed.test/", http.StatusOK, "/seed")
		}
	})
}

// The port is freed while Envoy has no stream. On the next one it tells of the scopes
// that went with the listener that it rejected. The listener serves all the same.
func TestPortFreedBetweenStreams(t *testing.T) {
	w := newWorld(t)
	taken, err := net.Listen("tcp", w.clients.http)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	proxy := w.envoy.startVia()
	w.admin.problem("Envoy envoy", "listeners http: rejected")
	w.admin.settled()
	w.relay.stop()
	_ = taken.Close()
	w.relay.start()
	w.clients.expect("http://seed.test/", http.StatusOK, "/seed")
	w.eventually("no problem", func() error {
		if all := w.admin.envoyProblems(); len(all) > 0 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	proxy.Await(1, "scopes told of, and no listener", func(e *xdstest.Exchange) bool {
		told := make(map[string]int)
		for _, r := range e.Requests {
			told[r.GetTypeUrl()] += len(r.GetInitialResourceVersions())
		}
		return told[xds.Scope.URL()] > 0 && told[xds.Listener.URL()] == 0
	})
}

// servicesFile has Relay read apps from a file, and returns what writes it: TCP
// services by the numbers of their ports, beside an app that stays.
func servicesFile(w *world, ports []string, backend string) (write func(services ...int)) {
	w.t.Helper()
	apps := w.relay.appsFile()
	return func(services ...int) {
		w.t.Helper()
		text := "- id: /web\n  ports:\n  - domains: [web.test]\n    endpoints: [{address: \"127.0.0.1:9\"}]\n"
		for _, i := range services {
			text += fmt.Sprintf("- id: /s%d\n  ports:\n  - mode: tcp\n    servicePort: %s\n    endpoints: [{address: %q}]\n", i, ports[i], backend)
		}
		apps(text)
	}
}

// Several TCP services come at once, and the port of one is taken. One that is deleted
// while Relay finds out which is closed, though Envoy had opened it without telling.
func TestServiceDeletedWhileTheCulpritIsSought(t *testing.T) {
	t.Parallel()
	forEachVersion(t, func(w *world) {
		t := w.t
		var ports, addresses []string
		for range 4 {
			port, address := w.tcp.port()
			ports, addresses = append(ports, port), append(addresses, address)
		}
		backend := w.tcp.lines("tcp", nil)
		write := servicesFile(w, ports, backend)
		write()
		proxy := w.envoy.startVia()
		w.envoy.ready()
		w.admin.settled()
		taken, err := net.Listen("tcp", addresses[0])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = taken.Close() }()

		// The first answer rejects all; the second one is held back.
		answers := make(map[*discoveryv3.DeltaDiscoveryRequest]bool)
		proxy.HoldRequests(func(r *discoveryv3.DeltaDiscoveryRequest) bool {
			if r.GetTypeUrl() == xds.Listener.URL() && r.GetResponseNonce() != "" {
				answers[r] = true
			}
			return len(answers) > 1
		})
		write(0, 1, 2, 3)
		w.eventually("rejected", func() error {
			if w.admin.sum(`relay_xds_rejections_total{fleet="external",type="listeners"}`) != 1 {
				return errors.New("the first answer has not come")
			}
			for _, e := range w.admin.envoys() {
				for _, k := range e.Types {
					if k.Type == xds.Listener && k.InFlight { // the response whose answer is held back
						return nil
					}
				}
			}
			return errors.New("not yet")
		})
		w.tcp.greeted(addresses[3], "tcp")
		listeners := w.admin.fleet("external").Resources["listeners"]
		write(0, 1, 2)
		w.eventually("deleted", func() error {
			if n := w.admin.fleet("external").Resources["listeners"]; n != listeners-1 {
				return fmt.Errorf("there are %d listeners, want %d", n, listeners-1)
			}
			return nil
		})
		proxy.HoldRequests(nil)
		w.tcp.refused(addresses[3])
		w.tcp.greeted(addresses[1], "tcp")
		w.tcp.greeted(addresses[2], "tcp")
		w.admin.problem("Envoy envoy", "listeners tcp/"+ports[0]+": rejected")
		if all := rejectedByEnvoys(w); len(all) != 1 {
			t.Errorf("the problems are %+v, want one", all)
		}
	})
}

// An Envoy that has no source of clusters in its bootstrap cannot route to anything new.
// People see that. Where clusters are on demand it is as it should be, and the reverse is a problem.
func TestEnvoyThatNeverAsksForClusters(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.HTTPS = netip.AddrPort{}
	lazy := *w.relay.fleet
	lazy.Name, lazy.HTTP, lazy.ClustersOnDemand = "lazy", netip.AddrPortFrom(w.relay.fleet.HTTP.Addr(), envoytest.FreePort(t)), true
	w.relay.config.Fleets = append(w.relay.config.Fleets, lazy)
	w.relay.start()
	for _, fleet := range []string{"lazy", "external"} {
		envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, Fleet: fleet, NodeID: "edge-" + fleet, ClustersOnDemand: true})
	}
	w.admin.streams(2)
	if problems := w.admin.envoyProblems(); len(problems) > 0 {
		t.Errorf("problems at once: %+v", problems)
	}
	envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, Fleet: "lazy", NodeID: "edge-eager"})
	w.admin.problem("fleet external, Envoy edge-external", "has not asked for clusters")
	w.admin.problem("fleet lazy, Envoy edge-eager", "it asks for all clusters, though the fleet has clusters: on-demand")
	if problems := w.admin.envoyProblems(); len(problems) != 2 {
		t.Errorf("problems: %+v", problems)
	}
}
