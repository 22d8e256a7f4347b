package device

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/probe"
	"relay/xds/envoytest"
)

// edge is an Envoy before the servers of a world, and how it is asked.
type edge struct {
	*envoytest.Envoy
	target probe.Target
}

// startEdge starts an Envoy. The servers behind it speak without TLS.
func (w *world) startEdge(t *testing.T, version, tlsVersion string, proxyProtocol bool, agents string) edge {
	t.Helper()
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	template, err := os.ReadFile("testdata/envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e := edge{target: w.target}
	e.target.Address, e.target.HTTPSAddress = fmt.Sprint("127.0.0.1:", envoytest.FreePort(t)), fmt.Sprint("127.0.0.1:", envoytest.FreePort(t))
	e.target.ProxyProtocol, e.target.HTTPSProxyProtocol = proxyProtocol, proxyProtocol
	filters := ""
	if proxyProtocol {
		filters = `{name: proxy, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol}}`
	}
	text := strings.NewReplacer("PORT_DEVICES", port(e.target.Address), "PORT_HTTPS", port(e.target.HTTPSAddress), "PORT_SERVER", port(w.target.Address),
		"PORT_AGENT", port(agents), "FILE_DIR", w.dir, "TLS_VERSION", tlsVersion, "LISTENER_FILTERS", filters).Replace(string(template))
	e.Envoy = envoytest.Start(t, envoytest.Options{Version: version, Bootstrap: []byte(text), Workers: 1})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := e.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

// newEdgeWorld has what Envoys read.
func newEdgeWorld(t *testing.T) *world {
	w := newWorld(t)
	w.serverTLS = nil
	edge := w.ca.TestIssue(t, []string{"devices.test", "agents.test"}, certstest.Options{})
	w.write("edge.pem", certstest.Join(edge.Leaf, edge.Chain))
	w.write("edge.key", edge.Key)
	w.write("devices.pem", w.devices.PEM())
	w.write("crl.pem", w.devices.TestRevoke(t, certstest.ListOptions{}, 99))
	return w
}

func (w *world) through(e edge) probe.Result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return w.prober.Probe(ctx, e.target)
}

// Two Envoys, of which each is asked for itself: what one of them refuses or lacks is said of that one.
func TestThroughEnvoys(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		w := newEdgeWorld(t)
		agents := w.servePlainAgents()
		w.limits(10 * time.Second)
		w.start()
		first, second := w.startEdge(t, version, "TLSv1_2", false, agents), w.startEdge(t, version, "TLSv1_3", true, agents)
		both := []edge{first, second}
		for _, e := range both {
			if r := w.through(e); !r.OK {
				t.Fatalf("%+v", r)
			}
		}
		for name, issued := range map[string]*certstest.Issued{
			"(it expired 20":          w.devices.TestIssue(t, []string{"device"}, certstest.Options{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}),
			"revoked certificate":     w.devices.TestIssue(t, []string{"device"}, certstest.Options{Serial: 99}),
			"unknown certificate aut": certstest.TestCA(t).TestIssue(t, []string{"device"}, certstest.Options{}),
		} {
			w.show(issued)
			for _, e := range both {
				r := w.through(e)
				fails(t, r, TLS, name)
				if !r.Answered {
					t.Error("the Envoy is taken to be down")
				}
			}
		}
		w.show(w.devices.TestIssue(t, []string{"device"}, certstest.Options{}))
		second.Kill()
		if r := w.through(first); !r.OK {
			t.Errorf("%+v", r)
		}
		r := w.through(second)
		fails(t, r, Connect, "the connection was refused")
		if r.Answered {
			t.Error("the Envoy is taken to be up")
		}
	})
}

// Behind an Envoy too, each failure of the servers is one of its step.
func TestServersBehindEnvoy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		broken     func(*world)
		step, seen string
	}{
		"black-holed agent":     {instead("SAY", nothing), MessageToAgent, "no answer within 300ms"},
		"another device's text": {instead("SAY", says("HEARD %s\nAGENT serial-4712-b says %s\n")), MessageFromAgent, "which is for another device"},
		"no agent":              {agentInstead(deviceID, status(404)), HTTPToAgent, "the agent answers 404"},
		"no call":               {agentInstead("/calls", status(202)), HTTPFromAgent, "no call came from the agent within 4s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newEdgeWorld(t)
			agents := w.servePlainAgents()
			w.limits(10 * time.Second)
			switch tt.step {
			case MessageToAgent:
				w.device.Limits.MessageToAgent = 300 * time.Millisecond
			case HTTPFromAgent:
				w.device.Limits.HTTPFromAgent = 4 * time.Second // long enough for the request, on a busy machine too
			case MessageFromAgent:
				w.device.Limits.MessageFromAgent = 4 * time.Second // long enough for what comes
			}
			tt.broken(w)
			w.start()
			fails(t, w.through(w.startEdge(t, envoytest.Newest, "TLSv1_3", false, agents)), tt.step, tt.seen)
		})
	}
}

// A connection server that is away, and one whose machine is black-holed, are told apart.
func TestConnectionServerIsAway(t *testing.T) {
	t.Parallel()
	w := newEdgeWorld(t)
	agents := w.servePlainAgents()
	w.limits(10 * time.Second)
	w.device.Limits.Hello = 300 * time.Millisecond
	w.start()
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hole.Close() }()
	w.target.Address = hole.Addr().String()
	e := w.startEdge(t, envoytest.Newest, "TLSv1_3", false, agents)
	fails(t, w.through(e), Hello, "no answer within 300ms")
	_ = hole.Close()
	// Envoy closes the connection as soon as it knows, which may be before TLS is done.
	w.device.Limits.Hello = 10 * time.Second
	w.prober.devices[w.device.Name] = &device{w.device}
	r := w.through(e)
	fails(t, r, r.Steps[len(r.Steps)-1].Name, "the connection was closed")
	if last := r.Steps[len(r.Steps)-1].Name; last != TLS && last != Hello {
		t.Errorf("%s failed", last)
	}
}
