package collator

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// While people roll a deployment back, the newest app drains for the one before it, and no other does.
func TestRolledBackDeployment(t *testing.T) {
	t.Parallel()
	next := byte(0)
	member := func(id string, hour, instances, target int, back bool, tasks ...string) *sources.App {
		app := &sources.App{ID: id, Ports: []sources.Port{{Groups: []string{"external"}}}, Deployment: &sources.Deployment{
			Group: "imp", StartedAt: time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC), Instances: instances, TargetInstances: target, Back: back,
		}}
		for _, task := range tasks {
			next++
			app.Ports[0].Endpoints = append(app.Ports[0].Endpoints, sources.Endpoint{Task: task, Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, next}), 1)})
		}
		return app
	}
	for _, tt := range []struct {
		name    string
		members []*sources.App
		want    string // that drain
	}{
		{"on", []*sources.App{member("/a", 1, 2, 2, false, "a1", "a2"), member("/b", 2, 1, 2, false, "b1")}, "a1"},
		{"back", []*sources.App{member("/a", 1, 2, 2, true, "a1", "a2"), member("/b", 2, 1, 2, true, "b1")}, "b1"},
		{"back, the old one is not complete", []*sources.App{member("/a", 1, 1, 2, true, "a1"), member("/b", 2, 1, 2, true, "b1")}, ""},
		{"back, only the new one has a target", []*sources.App{member("/a", 1, 1, 0, true, "a1"), member("/b", 2, 1, 2, true, "b1")}, ""},
		{"back, there is an older one", []*sources.App{member("/a", 1, 1, 1, true, "a1"), member("/b", 2, 1, 1, true, "b1"), member("/c", 3, 1, 1, true, "c1")}, "c1"},
		{"back, of one app", []*sources.App{member("/b", 2, 1, 1, true, "b1")}, ""},
	} {
		merged := merge("deployment-group/imp", slices.Clone(tt.members))
		var drain []string
		for _, e := range merged.Ports[0].Endpoints {
			if e.Health == sources.Draining {
				drain = append(drain, e.Task)
			}
		}
		if got := strings.Join(drain, " "); got != tt.want {
			t.Errorf("%s: %q drain, want %q", tt.name, got, tt.want)
		}
	}
}
