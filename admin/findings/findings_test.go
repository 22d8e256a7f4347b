package findings

import (
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/problem"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// says fails the test unless the findings begin with those wanted: a level, and parts of the
// text and the action, divided by "|".
func says(t *testing.T, got []api.Finding, wanted ...string) {
	t.Helper()
	if len(got) != len(wanted) {
		t.Fatalf("%d findings, want %d: %+v", len(got), len(wanted), got)
	}
	for i, f := range got {
		shown := string(f.Level) + " " + f.Text + " " + f.Action
		for _, part := range strings.Split(wanted[i], "|") {
			if !strings.Contains(shown, part) {
				t.Errorf("finding %d is without %q: %s", i, part, shown)
			}
		}
	}
}

func TestOfApp(t *testing.T) {
	one := api.Port{Fleets: []string{"external"}, Endpoints: []api.Endpoint{{Address: "10.0.0.1:1"}}}
	with := func(change func(*api.AppStory)) *api.AppStory {
		s := &api.AppStory{App: api.App{ID: "/a", Ports: []api.Port{one}}}
		change(s)
		return s
	}
	failed := func(code string) []api.Failure {
		return []api.Failure{{Code: code, Time: now, Client: "192.0.2.7", Count: 4}, {Code: code, Time: now.Add(-time.Minute), Client: "192.0.2.8"}}
	}
	for name, tt := range map[string]struct {
		story   *api.AppStory
		sources []api.Source
		want    []string
	}{
		"well":        {with(func(*api.AppStory) {}), nil, []string{"ok|All is well: 1 instance in rotation"}},
		"no group":    {with(func(s *api.AppStory) { s.Ports[0].Fleets = nil }), nil, []string{"warning|names no group|HAPROXY_GROUP"}},
		"other group": {with(func(s *api.AppStory) { s.Ports[0] = api.Port{OtherGroups: []string{"lab"}} }), nil, []string{"warning|its groups are lab"}},
		"stopped":     {with(func(s *api.AppStory) { s.Stopped, s.Ports[0].Endpoints = true, nil }), nil, []string{"warning|scaled to 0"}},
		"no task":     {with(func(s *api.AppStory) { s.Ports[0].Endpoints = nil }), nil, []string{"critical|has no task"}},
		"ill": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints, s.Ports[0].Excluded = nil, []api.Excluded{{Task: "a.1", Reason: "fails a health check"}}
		}), nil, []string{"critical|task a.1 fails a health check"}},
		"unreachable": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints = []api.Endpoint{{Unreachable: "refused"}}
		}), nil, []string{"critical|none of its tasks"}},
		"one unreachable": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints = []api.Endpoint{{Unreachable: "refused"}, {}}
		}), nil, []string{"warning|1 of 2 tasks"}},
		"answers 500": {with(func(s *api.AppStory) { s.Load = &api.Load{Requests: 2, Errors: 1} }), nil,
			[]string{"critical|50 % of its requests|answers 500 or above"}},
		"few errors": {with(func(s *api.AppStory) { s.Load = &api.Load{Requests: 100, Errors: 1} }), nil, []string{"ok|well"}},
		"no answer": {with(func(s *api.AppStory) {
			s.Load, s.LastFailures = &api.Load{Requests: 2, Errors: 2}, failed("unreachable")
		}), nil, []string{"critical|All of its requests|the last failures say why", "warning|5 requests failed with unreachable|could not connect"}},
		"client": {with(func(s *api.AppStory) { s.LastFailures = failed("forbidden") }), nil,
			[]string{"ok|5 requests failed with forbidden, the last one at 2026-03-01T12:00:00Z from 192.0.2.7|networks|trusted-proxies"}},
		"rejected": {with(func(s *api.AppStory) {
			s.Envoys = []api.Progress{{ID: "edge-1", Needs: 2, Waiting: []api.Waiting{{Type: "scopes", Name: "a.test", Error: "no"}}}}
		}), nil, []string{"critical|Envoy edge-1 rejected scopes a.test: no|docs/rejections.md"}},
		"behind": {with(func(s *api.AppStory) {
			s.Envoys = []api.Progress{{ID: "edge-1", Needs: 2, Acknowledged: 1}, {ID: "edge-2", Needs: 2, Acknowledged: 2}}
		}), nil, []string{"warning|1 Envoy, such as edge-1, does not"}},
		"problem": {with(func(s *api.AppStory) {
			s.Problems = []api.Problem{{Item: "label X", Reason: "is mistyped", Action: "correct it", Severity: problem.Ignored}}
		}), nil, []string{"warning|label X: is mistyped|correct it"}},
		"Marathon away": {with(func(*api.AppStory) {}), []api.Source{{Kind: "marathon", Name: "http://m", LastError: "503"}},
			[]string{"critical|cannot be read from marathon: 503|stays"}},
		"Vault away": {with(func(*api.AppStory) {}), []api.Source{{Kind: "vault", Name: "v", Connected: true, LastError: "permission denied", LastSync: now}},
			[]string{"warning|since 2026-03-01 12:00 UTC: permission denied"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, OfApp(tt.story, tt.sources), tt.want...) })
	}
}

func TestOfDomain(t *testing.T) {
	served := func(change func(*explain.Explanation)) *explain.Explanation {
		e := &explain.Explanation{
			Domains: []explain.Domain{{Fleet: "external", Rules: []explain.Rule{{App: "/a", Outcome: explain.Serves}}}},
			Apps:    []explain.App{{ID: "/a", Ports: []explain.Port{{Endpoints: []explain.Endpoint{{Address: "10.0.0.1:1"}}}}}},
			Fleets:  []explain.Fleet{{Name: "external", Needs: 1, Envoys: []explain.Envoy{{ID: "edge-1", Acknowledged: 1}}}},
		}
		change(e)
		return e
	}
	for name, tt := range map[string]struct {
		explanation *explain.Explanation
		want        []string
	}{
		"well":       {served(func(*explain.Explanation) {}), []string{"ok|served by 1 task; 1 Envoy has all of it"}},
		"not served": {&explain.Explanation{}, []string{"critical|No fleet of this Relay serves it"}},
		"left out":   {&explain.Explanation{LeftOut: []explain.LeftOut{{App: "/a", Reason: "did you mean X"}}}, []string{"critical|/a asks for it in vain: did you mean X"}},
		"no Envoy":   {served(func(e *explain.Explanation) { e.Fleets[0].Envoys = nil }), []string{"critical|No Envoy of fleet external"}},
		"loser": {served(func(e *explain.Explanation) {
			e.Domains[0].Rules = append(e.Domains[0].Rules, explain.Rule{App: "/b", Outcome: explain.Loses, Reason: "port 0 of /a has it"})
		}), []string{"warning|/b does not get it: port 0 of /a has it"}},
		"loser's tasks do not count": {served(func(e *explain.Explanation) {
			e.Domains[0].Rules = append(e.Domains[0].Rules, explain.Rule{App: "/b", Outcome: explain.Loses})
			e.Apps = append(e.Apps, e.Apps[0])
			e.Apps[1].ID, e.Apps[0].Ports = "/b", []explain.Port{{}}
		}), []string{"critical|has no task", "warning|/b does not get it"}},
		"no certificate": {served(func(e *explain.Explanation) { e.Domains[0].HTTPS.Listens = "0.0.0.0:443" }),
			[]string{"warning|No certificate covers it in fleet external"}},
		"ignored label": {served(func(e *explain.Explanation) {
			e.Apps[0].Problems = []problem.Problem{
				{Kind: problem.App, App: "/a", Subject: "label X", Reason: "is mistyped", Severity: problem.Ignored},
				{Kind: problem.App, App: "/a", Subject: "label Y", Reason: "is of another domain", Severity: problem.Failing},
			}
		}), []string{"warning|label X: is mistyped"}},
		"expired": {served(func(e *explain.Explanation) {
			e.Domains[0].HTTPS = explain.HTTPS{Listens: "0.0.0.0:443", Certificate: &explain.Certificate{Name: "a", State: "expired", ServerName: "a.test"}}
		}), []string{"critical|certificate a is expired"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, OfDomain(&api.DomainStory{}, tt.explanation, nil), tt.want...) })
	}
}

func TestOfStatus(t *testing.T) {
	fleet := api.FleetStatus{Name: "external", Envoys: 2, UpToDate: 2}
	for name, tt := range map[string]struct {
		status api.Status
		want   []string
	}{
		"well":      {api.Status{Ready: true, Fleets: []api.FleetStatus{fleet}}, []string{"ok|All is well"}},
		"not ready": {api.Status{NotReady: []string{"apps have not been read"}}, []string{"critical|apps have not been read"}},
		"no reason": {api.Status{}, []string{"critical|not served everything"}},
		"no Envoy":  {api.Status{Ready: true, Fleets: []api.FleetStatus{{Name: "external"}}}, []string{"warning|no Envoy is connected"}},
		"all left": {api.Status{Ready: true, Fleets: []api.FleetStatus{{Name: "external", Disconnected: []api.EnvoySince{{ID: "e"}}}}},
			[]string{"critical|any more"}},
		"one left": {api.Status{Ready: true, Fleets: []api.FleetStatus{{Name: "external", Envoys: 1, Disconnected: []api.EnvoySince{{ID: "e"}}}}},
			[]string{"warning|1 Envoy has left in the last hour, such as e"}},
		"rejecting": {api.Status{Ready: true, Fleets: []api.FleetStatus{{Name: "external", Envoys: 2, Rejecting: 2}}},
			[]string{"warning|2 Envoys reject what they are sent"}},
		"certificates": {api.Status{Ready: true, Time: now, Certificates: api.CertificatesStatus{
			Soon: 2, Uncovered: 1, Next: &api.NextCertificate{Name: "a", NotAfter: now.Add(time.Hour)}}},
			[]string{"critical|certificate a expires at 2026-03-01T13:00:00Z", "warning|2 certificates in use expire", "warning|1 domain has no certificate"}},
		"expired": {api.Status{Ready: true, Time: now, Certificates: api.CertificatesStatus{Next: &api.NextCertificate{Name: "a", NotAfter: now}}},
			[]string{"critical|a has expired"}},
		"failing":     {api.Status{Ready: true, Counts: api.Counts{Failing: 2}}, []string{"warning|2 problems cost requests, or keep changes"}},
		"errors":      {api.Status{Ready: true, Load: &api.Load{Requests: 10, Errors: 2}}, []string{"warning|20 % of the requests"}},
		"refused":     {api.Status{Ready: true, Refused: []string{"10.0.0.1: no certificate"}}, []string{"warning|10.0.0.1"}},
		"catching up": {api.Status{Ready: true, OK: true, Fleets: []api.FleetStatus{{Name: "external", Envoys: 2, Behind: 2}}}, []string{"ok|All is well; 2 Envoys catch up"}},
		"not served":  {api.Status{Ready: true, Summary: "1 domain has no task", Counts: api.Counts{WithoutTask: 1}}, []string{"warning|Not everything is served: 1 domain has no task"}},
		"meant":       {api.Status{Ready: true, Counts: api.Counts{Stopped: 3}}, []string{"ok|All is well"}},
		"worst first": {api.Status{Ready: true, Counts: api.Counts{Failing: 1}, Sources: []api.Source{{Kind: "marathon"}}},
			[]string{"critical|marathon", "warning|1 problem costs"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.status.OK = tt.status.OK || tt.status.Counts == api.Counts{Failing: tt.status.Counts.Failing}
			says(t, OfStatus(&tt.status), tt.want...)
		})
	}
}
