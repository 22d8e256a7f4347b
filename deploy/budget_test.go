package deploy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"relay/probe"
)

// shippedIntervals are those that lie between an Envoy that stops and the call.
type shippedIntervals struct{ ask, timeout, scrape, evaluate, pending, wait time.Duration }

func (s shippedIntervals) sum() time.Duration {
	return s.ask + s.timeout + s.scrape + 2*s.evaluate + s.pending + s.wait
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func readIntervals(t *testing.T) (s shippedIntervals) {
	t.Helper()
	var prometheus struct {
		Jobs []struct {
			Name     string `json:"job_name"`
			Interval string `json:"scrape_interval"`
		} `json:"scrape_configs"`
	}
	var rules struct {
		Groups []struct {
			Interval string
			Rules    []struct{ Alert, For string }
		}
	}
	var alertmanager struct {
		Route struct {
			Wait string `json:"group_wait"`
		}
	}
	for name, into := range map[string]any{"prometheus.yml": &prometheus, "alerts.yaml": &rules, "alertmanager.yml": &alertmanager} {
		if err := yaml.Unmarshal(readFile(t, name), into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	defaults := probe.DefaultSettings()
	s.ask, s.timeout, s.wait = defaults.Interval, defaults.Timeout, duration(t, alertmanager.Route.Wait)
	for _, job := range prometheus.Jobs {
		if job.Name == "relay" || job.Name == "probe" {
			s.scrape = max(s.scrape, duration(t, job.Interval))
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "RelayEdgeDown" || r.Alert == "RelayFleetDown" {
				s.evaluate, s.pending = max(s.evaluate, duration(t, g.Interval)), max(s.pending, duration(t, r.For))
			}
		}
	}
	return s
}

// Somebody is called within 90 s after an Envoy was stopped, by the intervals of the files, and the document says how soon.
func TestEdgeDownIsToldInTime(t *testing.T) {
	t.Parallel()
	s := readIntervals(t)
	if s.scrape == 0 || s.evaluate == 0 || s.pending == 0 || s.wait == 0 {
		t.Fatalf("the intervals are %+v", s)
	}
	if s.sum() > 90*time.Second {
		t.Errorf("it takes %s: %+v", s.sum(), s)
	}
	text := string(readFile(t, "../docs/monitoring.md"))
	for _, row := range []string{
		fmt.Sprintf("| all | %.0f s |", s.sum().Seconds()), fmt.Sprintf("after %.0f s at most", s.sum().Seconds()),
		fmt.Sprintf("| %.0f s | `interval` of the probes", s.ask.Seconds()), fmt.Sprintf("| %.0f s | `timeout` of the probes", s.timeout.Seconds()),
		fmt.Sprintf("| %.0f s | `scrape_interval` of the job `relay`", s.scrape.Seconds()), fmt.Sprintf("| %.0f s | `interval` of the group `probes`", s.evaluate.Seconds()),
		fmt.Sprintf("| %.0f s | `for` of `RelayEdgeDown`", s.pending.Seconds()), fmt.Sprintf("| %.0f s | `group_wait`", s.wait.Seconds()),
	} {
		if !strings.Contains(text, row) {
			t.Errorf("docs/monitoring.md has no %q", row)
		}
	}
}
