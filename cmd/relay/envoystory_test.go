package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/terminal"
)

// Of an Envoy that has connected just now nobody can know whether it reports requests.
func TestEnvoyWithoutReport(t *testing.T) {
	newFakeRelay(t) // sets the time
	for connected, want := range map[time.Duration]string{time.Second: "has not reported them yet", time.Minute: "its bootstrap may be older"} {
		var b bytes.Buffer
		printer{"table", &terminal.Screen{Writer: &b, Width: 200}}.envoy(api.EnvoyStory{Envoy: api.Envoy{Connected: before(connected)}})
		if !strings.Contains(b.String(), want) {
			t.Errorf("connected %s ago, it is without %q:\n%s", connected, want, b.String())
		}
	}
}

// That Envoys do not report is told when a report should have come.
func TestStatusOfEnvoysWithoutReport(t *testing.T) {
	t.Parallel()
	for connected, told := range map[time.Duration]bool{time.Second: false, time.Minute: true} {
		var b bytes.Buffer
		fleet := api.FleetStatus{Name: "external", Envoys: 1, Reporting: pointer(0), NotReported: []api.EnvoySince{{ID: "e-1", Connected: before(connected)}}}
		printer{"table", &terminal.Screen{Writer: &b, Width: 200}}.fleets([]api.FleetStatus{fleet}, fakeNow)
		if got := strings.Contains(b.String(), "1 of 1 Envoy of fleet external does not report requests, such as e-1"); got != told {
			t.Errorf("connected %s ago, it is told: %t\n%s", connected, got, b.String())
		}
	}
}
