package compare

import (
	"fmt"
	"strings"

	"relay/compare/marathonlb"
	"relay/sources"
)

// tasks are those of a port that the sides treat differently.
type tasks struct {
	// without get requests from marathon-lb alone, and reason is why the first of them does.
	without []string
	reason  string
	// degraded get requests from Relay when few others are left.
	degraded []string
	// draining drain for one side alone.
	draining []string
	// elsewhere are reached on other ports.
	elsewhere []string
	// more is how many get requests from Relay alone.
	more int
	// served is how many Relay knows as in rotation or draining.
	served int
}

// compareInstances compares which tasks get requests.
func (s *Sides) compareInstances(old *marathonlb.Service, port sources.Port) []Finding {
	served := make(map[string]sources.Endpoint)
	for _, e := range port.Endpoints {
		served[e.Task] = e
	}
	excluded := make(map[string]string)
	for _, e := range port.Excluded {
		excluded[e.Task] = e.Reason
	}
	t := tasks{served: len(port.Endpoints)}
	for _, server := range old.Servers {
		e, serves := served[server.Task]
		switch {
		case server.Draining && (!serves || e.Health == sources.Draining):
		case server.Draining || serves && e.Health == sources.Draining:
			t.draining = append(t.draining, server.Task)
		case !serves:
			t.without = append(t.without, server.Task)
			if t.reason == "" {
				t.reason = excluded[server.Task]
			}
		case int(e.Address.Port()) != server.Port:
			t.elsewhere = append(t.elsewhere, fmt.Sprintf("%s on port %d, not %d", server.Task, e.Address.Port(), server.Port))
		case e.Health == sources.Degraded:
			t.degraded = append(t.degraded, server.Task)
		}
		delete(served, server.Task)
	}
	t.more = len(served)
	return t.findings(Finding{
		Verdict: Different, Kind: Instances, Subject: portName(old.Members, old.Port), App: old.App, Old: fmt.Sprintf("asks %d tasks", len(old.Servers)),
	})
}

// findings makes findings of one that has all but what Relay does.
func (t *tasks) findings(f Finding) (findings []Finding) {
	add := func(words string) *Finding {
		f.New = words
		findings = append(findings, f)
		return &findings[len(findings)-1]
	}
	if len(t.elsewhere) > 0 {
		one := add("reaches " + someOf(t.elsewhere))
		one.Reason, one.Do = "the ports of tasks are found in another way", "look at the app's ports and networks, and at --marathon-container-address"
	}
	switch {
	case len(t.without) == 0:
	case t.served == 0:
		one := add("asks none, and answers 503")
		one.Reason, one.Do = t.reason, "see why no task is healthy"
	default:
		one := add("does not ask " + someOf(t.without))
		if *one = one.expected("health"); t.reason != "" {
			one.Reason = t.reason + ": " + one.Reason
		}
	}
	for _, other := range []struct {
		any   bool
		words string
		e     expectation
	}{
		{len(t.degraded) > 0, "asks " + someOf(t.degraded) + " only when few others are left", "unreachable"},
		{len(t.draining) > 0, "does not drain the same of " + someOf(t.draining), "draining"},
		{t.more > 0, fmt.Sprintf("asks %d more tasks", t.more), "health"},
	} {
		if other.any {
			one := add(other.words)
			*one = one.expected(other.e)
		}
	}
	return findings
}

func someOf(all []string) string {
	const shown = 2
	if len(all) <= shown {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
}
