package scenario

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relay/internal/testbed"
)

// edge is an Envoy.
type edge struct {
	name    string
	address string // that it binds
	bed     *testbed.Bed
}

// startEdges starts the Envoys.
func (r *Run) startEdges() error {
	if len(r.scenario.Edges) == 0 {
		r.edges = []*edge{{name: "envoy-" + r.scenario.Name, address: "127.0.0.1", bed: r.bed}}
	}
	for n, fleet := range r.scenario.Edges {
		bed := &testbed.Bed{
			Dir: filepath.Join(r.bed.Dir, fleet), RelayBinary: r.bed.RelayBinary, EnvoyBinary: r.bed.EnvoyBinary, XDS: r.bed.XDS,
			EnvoyAdmin: r.bed.EnvoyAdmin, Fleet: fleet, Terminal: r.bed.Terminal,
		}
		if err := os.Mkdir(bed.Dir, 0o700); err != nil {
			return err
		}
		if n > 0 {
			var err error
			if bed.EnvoyAdmin, err = r.reserveAddress(); err != nil {
				return err
			}
		}
		r.edges = append(r.edges, &edge{name: "envoy-" + fleet, address: edgeAddress(n), bed: bed})
	}
	for _, e := range r.edges {
		r.onStop(func() {
			if e.bed.Envoy != nil {
				e.bed.Envoy.Stop()
			}
		})
		if err := r.startEdge(e); err != nil {
			return err
		}
	}
	return nil
}

// startEdge starts an Envoy, and returns when it serves.
func (r *Run) startEdge(e *edge) error {
	r.parts.Lock()
	err := e.bed.StartEnvoy(r.ctx, e.name, "--drain-time-s", "2")
	r.parts.Unlock()
	if err != nil {
		return err
	}
	return r.await("Envoy to serve", func() error { return r.get("http://"+e.bed.EnvoyAdmin+"/ready", nil) })
}

func edgeAddress(n int) string { return fmt.Sprintf("127.0.0.%d", n+1) }

// writeFleets writes a configuration with the fleets, and returns the flag for it.
func (r *Run) writeFleets() (flags []string, err error) {
	var text strings.Builder
	text.WriteString("fleets:\n")
	for n, fleet := range r.scenario.Edges {
		_, http, _ := net.SplitHostPort(r.http)
		_, https, _ := net.SplitHostPort(r.https)
		fmt.Fprintf(&text, "- {name: %s, http: \"%s\", https: \"%s\"}\n", fleet, net.JoinHostPort(edgeAddress(n), http), net.JoinHostPort(edgeAddress(n), https))
	}
	file, err := r.WriteFile("relay.yaml", text.String())
	return []string{"--config", file}, err
}

func (r *Run) edge(fleet string) *edge {
	return r.edges[slices.Index(r.scenario.Edges, fleet)]
}

// EdgeHTTPS is where the Envoy of a fleet takes HTTPS.
func (r *Run) EdgeHTTPS(fleet string) string {
	_, port, _ := net.SplitHostPort(r.https)
	return net.JoinHostPort(r.edge(fleet).address, port)
}

// StopEdge stops the Envoy of a fleet.
func (r *Run) StopEdge(fleet string) {
	e := r.edge(fleet)
	r.parts.Lock()
	before := e.bed.Envoy
	e.bed.Envoy = nil
	r.parts.Unlock()
	before.Stop()
}

// StartEdge starts the Envoy of a fleet after StopEdge, and returns when it serves.
func (r *Run) StartEdge(fleet string) error { return r.startEdge(r.edge(fleet)) }
