package collator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// While a deployment group is rolled back, no two instances that take ids have the same slot.
func TestSlotsOfARollback(t *testing.T) {
	t.Parallel()
	member := func(id string, started int64, slots map[string]int, tasks ...string) *sources.App {
		port := sources.Port{HTTP: &sources.HTTP{Hash: &sources.Hash{By: sources.HashSubdomain}}}
		for i, task := range tasks {
			e := endpoints(fmt.Sprintf("10.0.%d.%d:80", started, i+1))[0]
			e.Task, e.Slot = task, slots[task]
			port.Endpoints = append(port.Endpoints, e)
		}
		return &sources.App{ID: id, Ports: []sources.Port{port}, Deployment: &sources.Deployment{
			Group: "chat", StartedAt: time.Unix(started, 0), Instances: len(tasks), TargetInstances: 3}}
	}
	blue := member("/blue", 1, map[string]int{"b2": 2, "b3": 3}, "b2", "b3")
	green := member("/green", 2, map[string]int{"g1": 2, "g2": 1, "g3": 3}, "g1", "g2", "g3")
	for back, want := range map[bool]string{false: "(b2) 2, (b3) 3, g1 2, g2 1, g3 3", true: "b2 2, b3 3, (g1) 2, (g2) 1, g3 1"} {
		green.Deployment.Back = back
		var got []string
		for _, e := range merge("deployment-group/chat", []*sources.App{green, blue}).Ports[0].Endpoints {
			name := e.Task
			if e.Health == sources.Draining {
				name = "(" + name + ")"
			}
			got = append(got, fmt.Sprint(name, " ", e.Slot))
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("rolled back %t: %s, want %s", back, text, want)
		}
	}
	if green.Ports[0].Endpoints[2].Slot != 3 {
		t.Error("what the source said was changed")
	}
}
