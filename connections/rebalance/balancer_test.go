package rebalance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"relay/sources"
)

// group is two apps that are routed as one, and Envoys of two fleets that serve them.
type group struct {
	merged *sources.App
	open   map[string]map[netip.AddrPort]uint64 // by fleet
	asked  []string
}

func (g *group) Routed(id string) (string, *sources.App) { return "(group)/imp", g.merged }
func (g *group) Serving(string, int) []string            { return []string{"inside", "outside"} }
func (g *group) Counting(fleet string) (nodes []string, _ string) {
	return []string{"edge-" + fleet}, ""
}
func (g *group) Unreachable(string) map[netip.AddrPort]bool { return nil }
func (g *group) Cluster(app string, port int) string        { return fmt.Sprintf("%s_%d", app, port) }
func (g *group) FollowOpen(fleet, cluster string) (map[netip.AddrPort]uint64, bool) {
	g.asked = append(g.asked, fleet+" "+cluster)
	return g.open[fleet], g.open[fleet] != nil
}

// The members of a deployment group are evened out together, by what all fleets have, but for those that drain.
func TestGroup(t *testing.T) {
	t.Parallel()
	endpoint := func(n int) sources.Endpoint { return sources.Endpoint{Address: simAddress(n)} }
	app := func(id string, endpoints ...sources.Endpoint) *sources.App {
		return &sources.App{ID: id, Ports: []sources.Port{{TCP: &sources.TCP{Port: 1, Rebalance: 60}, Endpoints: endpoints}}}
	}
	drains := endpoint(2)
	drains.Health = sources.Draining
	g := &group{
		merged: app("/imp", endpoint(0), endpoint(1), drains),
		open: map[string]map[netip.AddrPort]uint64{
			"inside":  {simAddress(0): 100, simAddress(1): 20, simAddress(2): 500},
			"outside": {simAddress(0): 100, simAddress(1): 20},
		},
	}
	r := new(recorder)
	stage := NewStage(r)
	registry := prometheus.NewRegistry()
	b := New(Config{Loads: g, View: g, Registerer: registry}, stage)
	if _, ok := b.Story("(group)/imp", 0); ok {
		t.Error("there is a story of what was not looked at")
	}
	stage.SyncApps([]*sources.App{app("/imp/blue", endpoint(0), endpoint(2)), app("/imp/green", endpoint(1))})
	now := time.Unix(1_800_000_000, 0)
	for range 6 {
		b.look(now)
		now = now.Add(lookEvery)
	}
	blue, green := r.apps["/imp/blue"].Ports[0].Endpoints, r.apps["/imp/green"].Ports[0].Endpoints
	if blue[0].Shed.Percent <= 0 || blue[1].Shed.Percent != 0 || green[0].Shed.Percent != 0 {
		t.Errorf("sheds: %+v, %+v", blue, green)
	}
	if story, ok := b.Story("(group)/imp", 0); !ok || story.Phase != Ending || !strings.Contains(story.Text, "would have 120 each") {
		t.Errorf("the story: %+v", story)
	}
	if got := gauges(t, registry); got != "ending 1, even 0, paused 0, unknown 0, waiting 0" {
		t.Errorf("the metric: %s", got)
	}
	g.open["inside"][simAddress(0)] -= 10
	b.look(now)
	if n := value(t, registry, "relay_rebalancing_ended_total")[0].GetCounter().GetValue(); n != 10 {
		t.Errorf("%g connections ended", n)
	}
	delete(g.open, "outside")
	b.look(now)
	if story, _ := b.Story("(group)/imp", 0); story.Phase != Unknown || !strings.Contains(story.Text, "outside") {
		t.Errorf("the story: %+v", story)
	}
	stage.SyncApps(nil)
	b.look(now)
	if len(b.ports) != 0 {
		t.Error("a port is kept that is gone")
	}
}

// value is what a metric has.
func value(t *testing.T, registry *prometheus.Registry, name string) []*dto.Metric {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return nil
}

func gauges(t *testing.T, registry *prometheus.Registry) string {
	var all []string
	for _, m := range value(t, registry, "relay_rebalancing_services") {
		all = append(all, fmt.Sprintf("%s %g", m.GetLabel()[0].GetValue(), m.GetGauge().GetValue()))
	}
	return strings.Join(all, ", ")
}

// Of more ports than are looked at, none of the others ends.
func TestTooManyPorts(t *testing.T) {
	t.Parallel()
	g := &group{merged: &sources.App{ID: "/imp", Ports: make([]sources.Port, maxPorts+1)}}
	for i := range g.merged.Ports {
		g.merged.Ports[i].TCP = &sources.TCP{Port: 1, Rebalance: 60}
	}
	stage := NewStage(new(recorder))
	b := New(Config{Loads: g, View: g}, stage)
	stage.SyncApps([]*sources.App{g.merged})
	b.look(time.Now())
	if len(g.asked) != 2*maxPorts {
		t.Errorf("asked of %d clusters", len(g.asked))
	}
	if story, _ := b.Story("(group)/imp", maxPorts); story.Phase != Unknown {
		t.Errorf("the story: %+v", story)
	}
}
