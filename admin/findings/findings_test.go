package findings

import (
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/collator/explain"
	"relay/internal/failure"
	"relay/internal/problem"
	"relay/xds"
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
		"well":     {with(func(*api.AppStory) {}), nil, []string{"ok|All is well: 1 instance in rotation"}},
		"no group": {with(func(s *api.AppStory) { s.Ports[0].Fleets = nil }), nil, []string{"warning|names no group|HAPROXY_GROUP"}},
		"a router fails": {with(func(s *api.AppStory) {
			s.Ports[0].Fleets = nil
			s.Problems = []api.Problem{{Item: "traefik.http.routers.web.rule", Reason: "the router web is not routed: its rule is missing", Severity: problem.Failing}}
		}), nil, []string{"critical|traefik.http.routers.web.rule: the router web is not routed: its rule is missing", "warning|none of its routers is routed|correct what is wrong with its labels of Traefik"}},
		"other group": {with(func(s *api.AppStory) { s.Ports[0] = api.Port{OtherGroups: []string{"lab"}} }), nil, []string{"warning|its groups are lab"}},
		"stopped":     {with(func(s *api.AppStory) { s.Stopped, s.Ports[0].Endpoints = true, nil }), nil, []string{"warning|scaled to 0"}},
		"asleep": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints, s.Scaling = nil, &api.Scaling{Phase: api.PhaseAsleep, Reason: "nobody used it for 30 min", Text: "the next request wakes it"}
		}), nil, []string{"ok|/a is asleep: nobody used it for 30 min; the next request wakes it"}},
		"could not be woken": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints, s.Scaling = nil, &api.Scaling{Phase: api.PhaseFailed, Reason: "2 tasks have failed", Trouble: "403 forbidden"}
		}), nil, []string{"critical|/a could not be woken, so requests get 503: 2 tasks|log", "warning|The last try to change the number of instances of /a failed: 403 forbidden|credentials"}},
		"maintenance": {with(func(s *api.AppStory) { s.Maintenance = true }), nil, []string{"warning|/a is in maintenance|RELAY_MAINTENANCE"}},
		"no task":     {with(func(s *api.AppStory) { s.Ports[0].Endpoints = nil }), nil, []string{"critical|There is no task of /a, so"}},
		"ill": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints, s.Ports[0].Excluded = nil, []api.Excluded{{Task: "a.1", Reason: "fails a health check"}}
		}), nil, []string{"critical|task a.1 fails a health check"}},
		"unreachable": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints = []api.Endpoint{{Address: "10.0.0.1:1", Unreachable: "refused. Requests go elsewhere"}}
		}), nil, []string{"critical|No task of /a takes connections: 10.0.0.1:1: refused see"}},
		"one unreachable": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints = []api.Endpoint{{Unreachable: "refused"}, {}}
		}), nil, []string{"warning|1 of 2 tasks of /a takes no connections"}},
		"answers 500": {with(func(s *api.AppStory) { s.Load = &api.Load{Requests: 2, Errors: 1} }), nil,
			[]string{"critical|/a itself answers with errors (500 or above): 50 % of its requests|log"}},
		"few errors": {with(func(s *api.AppStory) { s.Load = &api.Load{Requests: 100, Errors: 1} }), nil, []string{"ok|well"}},
		"no answer": {with(func(s *api.AppStory) {
			s.Load, s.LastFailures = &api.Load{Requests: 2, Errors: 2}, failed("unreachable")
		}), nil, []string{"critical|All of the requests|the last failures say why", "warning|5 requests failed with unreachable|could not connect"}},
		"was offline": {with(func(s *api.AppStory) {
			s.LastFailures, s.LastChanges = failed("offline"), []api.Change{{Time: now.Add(time.Second)}, {Time: now.Add(-time.Hour)}}
		}), nil, []string{"ok|All is well", "ok|5 requests failed with offline|there was no instance then, and there is one now"}},
		"offline after the last change": {with(func(s *api.AppStory) {
			s.LastFailures, s.LastChanges = failed("offline"), []api.Change{{Time: now.Add(-time.Second)}}
		}), nil, []string{"warning|5 requests failed with offline|no instance that may get requests|Scale the app up"}},
		"is offline": {with(func(s *api.AppStory) {
			s.LastFailures, s.LastChanges, s.Ports[0].Endpoints = failed("offline"), []api.Change{{Time: now.Add(time.Second)}}, nil
		}), nil, []string{"critical|There is no task", "warning|5 requests failed with offline"}},
		"timed out before the last change": {with(func(s *api.AppStory) {
			s.LastFailures, s.LastChanges = failed("timed-out"), []api.Change{{Time: now.Add(time.Second)}}
		}), nil, []string{"warning|5 requests failed with timed-out"}},
		"client": {with(func(s *api.AppStory) { s.LastFailures, s.Failures = failed("forbidden"), new(9) }), nil,
			[]string{"ok|All is well", "ok|5 requests failed with forbidden (of the last 5; 9 failed in the last hour), the last one at 2026-03-01 12:00 UTC from 192.0.2.7|networks|names what is not there|tell Relay of it (trusted-proxies)"}},
		"rejected": {with(func(s *api.AppStory) {
			s.Envoys = []api.Progress{{ID: "edge-1", Needs: 2, Waiting: []api.Waiting{{Type: "scopes", Name: "a.test", Error: "no"}}}}
		}), nil, []string{"critical|Envoy edge-1 rejected scopes a.test: no|docs/rejections.md"}},
		"behind": {with(func(s *api.AppStory) {
			s.Envoys = []api.Progress{{ID: "edge-1", Needs: 2, Acknowledged: 1, Waiting: late}, {ID: "edge-2", Needs: 2, Acknowledged: 2}}
		}), nil, []string{"warning|Envoy edge-1 does not have all of it: scopes a.test is not sent yet"}},
		"both just behind": {with(func(s *api.AppStory) {
			s.Envoys = []api.Progress{{ID: "edge-1", Waiting: late}, {ID: "edge-2", Waiting: late}}
			s.LastChanges = []api.Change{{Time: now.Add(-time.Second), Waiting: []string{"edge-1", "edge-2"}}}
		}), nil, []string{"warning|since 2026-03-01 11:59 UTC|; nor does 1 other Envoy"}},
		"long behind": {with(func(s *api.AppStory) {
			s.Envoys = []api.Progress{{ID: "edge-1", Waiting: late}}
			s.LastChanges = []api.Change{{Time: now, Waiting: []string{"edge-1"}}, {Time: now.Add(-time.Minute), Waiting: []string{"edge-1"}}, {Time: now.Add(-time.Hour)}}
		}), nil, []string{"critical|Envoy edge-1 does not have all of it since 2026-03-01 11:59 UTC"}},
		"on demand": {with(func(s *api.AppStory) {
			s.Envoys = []api.Progress{{ID: "edge-1", Needs: 2, Waiting: []api.Waiting{{State: explain.OnDemand}}}}
		}), nil, []string{"ok|well"}},
		"starting": {with(func(s *api.AppStory) {
			s.Ports[0].Endpoints, s.Ports[0].Excluded = nil, []api.Excluded{{Task: "a.1", Reason: "is starting"}}
		}), nil, []string{"critical|No task of /a is in rotation yet|task a.1 is starting|wait"}},
		"answers 500 after it was away": {with(func(s *api.AppStory) {
			s.Load, s.LastFailures = &api.Load{Requests: 2, Errors: 2}, failed("unreachable")
			for i := range s.LastFailures {
				s.LastFailures[i].Time = now.Add(-time.Hour)
			}
		}), nil, []string{"critical|/a itself answers with errors (500 or above): all of its", "ok|unreachable"}},
		"what is shown may be old": {with(func(s *api.AppStory) { s.Ports[0].Endpoints = nil }), []api.Source{{Kind: "marathon", Name: "m", LastError: "not followed since then: so what (503)"}},
			[]string{"critical|marathon: what is shown of apps may be old: 503 see", "critical|no task"}},
		"Marathon is away, and that is not why": {with(func(s *api.AppStory) { s.Load = &api.Load{Requests: 1, Errors: 1} }), []api.Source{{Kind: "marathon"}},
			[]string{"critical|itself answers with errors", "critical|marathon"}},
		"problem": {with(func(s *api.AppStory) {
			s.Problems = []api.Problem{{Item: "label X", Reason: "is mistyped", Action: "correct it", Severity: problem.Ignored}}
		}), nil, []string{"warning|label X: is mistyped|correct it"}},
		"Marathon away": {with(func(*api.AppStory) {}), []api.Source{{Kind: "marathon", Name: "http://m", LastError: "503"}},
			[]string{"critical|cannot be read from marathon: what is shown of apps may be old: 503|stays"}},
		"Vault away": {with(func(*api.AppStory) {}), []api.Source{{Kind: "vault", Name: "v", Connected: true, LastError: "permission denied", LastSync: now}},
			[]string{"warning|since 2026-03-01 12:00 UTC: permission denied"}},
	} {
		t.Run(name, func(t *testing.T) { says(t, OfApp(tt.story, tt.sources, now), tt.want...) })
	}
}

// late is of an Envoy that was not sent a scope.
var late = []api.Waiting{{Type: "scopes", Name: "a.test", State: "not sent yet"}}

func group(severity problem.Severity, app, item, reason string, n int) api.Group {
	return api.Group{About: "app", Subject: app, Severity: severity, Count: n, Problems: []api.Problem{{Kind: problem.App, Subject: app, Item: item, Reason: reason, Action: "do"}}}
}

func TestOfDomain(t *testing.T) {
	served := func(change func(*explain.Explanation)) *explain.Explanation {
		e := &explain.Explanation{
			Domains: []explain.Domain{{Fleet: "external", Host: "a.test", Domain: "a.test", Rules: []explain.Rule{{App: "/a", Outcome: explain.Serves}}}},
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
		}), []string{"critical|There is no task of /a,", "warning|/b does not get it"}},
		"no certificate": {served(func(e *explain.Explanation) {
			e.Domains[0].HTTPS.Listens, e.Domains[0].ACMECluster = "0.0.0.0:443", "/acme_0"
		}), []string{"warning|No certificate covers a.test in fleet external: https connections are closed"}},
		"no certificate asked for": {served(func(e *explain.Explanation) { e.Domains[0].HTTPS.Listens = "0.0.0.0:443" }),
			[]string{"ok|served", "ok|No certificate covers a.test in fleet external: nobody asks"}},
		"redirected": {served(func(e *explain.Explanation) {
			e.Domains[0].HTTPS.Listens = "0.0.0.0:443"
			e.Apps[0].Problems = []problem.Problem{{Kind: problem.HTTPS, Fleet: "external", Domain: "a.test"}}
		}), []string{"critical|No certificate covers a.test|redirected"}},
		"clients": {served(func(e *explain.Explanation) { e.Domains[0].Rules[0].AllowedNetworks = []string{"10.0.0.0/8"} }),
			[]string{"warning|Only clients from 10.0.0.0/8 are let in: 2 requests got 403 (forbidden), the last one at 2026-03-01 12:00 UTC from 192.0.2.7"}},
		"label told once": {served(func(e *explain.Explanation) {
			e.LeftOut = []explain.LeftOut{{App: "/a", Reason: "label X: Y is meant"}}
			e.Apps[0].Problems = []problem.Problem{{Kind: problem.App, App: "/a", Subject: "label X", Reason: "is mistyped", Severity: problem.Ignored}}
		}), []string{"warning|/a asks for it in vain: label X: Y is meant"}},
		"ignored label": {served(func(e *explain.Explanation) {
			e.Apps[0].Problems = []problem.Problem{
				{Kind: problem.App, App: "/a", Subject: "label X", Reason: "is mistyped", Severity: problem.Ignored},
				{Kind: problem.App, App: "/a", Subject: "label Y", Reason: "is of another domain", Severity: problem.Failing},
			}
		}), []string{"warning|label X: is mistyped"}},
		"closed port": {served(func(e *explain.Explanation) {
			e.Apps[0].Problems = []problem.Problem{
				{Kind: problem.App, App: "/a", Subject: "HAPROXY_0_AUTH", Reason: "has no hash", Severity: problem.Failing},
				{Kind: problem.App, App: "/a", Subject: "RELAY_7_JWT_ISSUER", Reason: "is of another port", Severity: problem.Failing},
				{Kind: problem.App, App: "/a", Subject: "port 0, RELAY_0_AUTH_APP", Reason: "cannot be used", Severity: problem.Failing},
				{Kind: problem.App, App: "/a", Subject: "credential oidc", Reason: "there is none: nobody is let in on port 0", Severity: problem.Failing},
			}
		}), []string{"critical|HAPROXY_0_AUTH: has no hash", "critical|RELAY_0_AUTH_APP: cannot be used", "critical|credential oidc: there is none"}},
		"expired": {served(func(e *explain.Explanation) {
			e.Domains[0].HTTPS = explain.HTTPS{Listens: "0.0.0.0:443", Certificate: &explain.Certificate{Name: "a", State: "expired", NotAfter: now, ServerName: "a.test"}}
		}), []string{"critical|certificate a ended at 2026-03-01 12:00 UTC"}},
	} {
		t.Run(name, func(t *testing.T) {
			story := &api.DomainStory{}
			if name == "clients" {
				story.LastFailures = []api.Failure{{Code: failure.NoSuchDomain, Time: now}, {Code: failure.NotAllowed, Count: 2, Time: now, Client: "192.0.2.7"}}
			}
			says(t, OfDomain(story, tt.explanation, nil, now), tt.want...)
		})
	}
}

// Of all that is wrong with a domain, that is said first without which the rest cannot be well,
// and what costs nothing last.
func TestTheCauseIsFirst(t *testing.T) {
	e := &explain.Explanation{
		Domains: []explain.Domain{{
			Fleet: "external", Host: "a.test", Domain: "a.test", HTTPS: explain.HTTPS{Listens: "0.0.0.0:443"},
			Rules: []explain.Rule{{App: "/a", Outcome: explain.Serves}, {App: "/b", Outcome: explain.Loses, Reason: "/a has it"}},
		}},
		Apps: []explain.App{{
			ID: "/a", Ports: []explain.Port{{Endpoints: []explain.Endpoint{{Address: "10.0.0.1:1", Unreachable: "refused"}}}},
			Problems: []problem.Problem{{Kind: problem.HTTPS, Fleet: "external", Domain: "a.test"}, {Kind: problem.App, Subject: "label X", Reason: "is mistyped"}},
		}},
		Fleets: []explain.Fleet{
			{Name: "external", Envoys: []explain.Envoy{{ID: "edge-1", Waiting: []explain.Waiting{{Type: "scopes", Name: "a.test", Rejected: &xds.StaleResource{Message: "no"}}}}}},
			{Name: "internal"},
		},
		LeftOut: []explain.LeftOut{{App: "/c", Reason: "its group is no fleet"}},
	}
	story := &api.DomainStory{
		Domain:       api.Domain{Load: &api.Load{Requests: 1, Errors: 1}},
		LastFailures: []api.Failure{{Code: "no-such-path", Time: now}, {Code: "unreachable", Time: now}},
	}
	sources := []api.Source{{Kind: "vault", Name: "v"}, {Kind: "marathon", Name: "m"}}
	says(t, OfDomain(story, e, sources, now),
		"critical|Apps cannot be read", "critical|No Envoy of fleet internal", "critical|No task of /a takes connections|refused", "critical|rejected scopes a.test: no",
		"critical|Certificates cannot be read", "critical|No certificate covers", "critical|All of the requests",
		"warning|/b does not get it", "warning|/c asks for it in vain", "warning|unreachable", "warning|label X", "ok|no-such-path")
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
		"rejected": {api.Status{Ready: true, Fleets: []api.FleetStatus{{Name: "external", Envoys: 2, Rejecting: 2, Rejected: []api.Rejected{{Envoy: "e", Resource: "scopes a.test", Error: "no"}}}}},
			[]string{"warning|Fleet external: Envoy e rejects scopes a.test: no; so does 1 other Envoy|docs/rejections.md"}},
		"late": {api.Status{Ready: true, OK: true, Fleets: []api.FleetStatus{{Name: "external", Envoys: 1, Behind: 1, Late: []api.EnvoySince{{ID: "e", Since: now}}}}},
			[]string{"warning|Envoy e is behind: it has not answered since 2026-03-01 12:00 UTC"}},
		"left out": {api.Status{Ready: true, Counts: api.Counts{LeftOut: 1, WithoutCertificate: 1}, Worst: []api.Group{group(problem.Ignored, "/a", "label X", "is mistyped", 1)}},
			[]string{"warning|1 domain is not served, though an app asks for it", "warning|/a: label X: is mistyped"}},
		"worst problems": {api.Status{Ready: true, Counts: api.Counts{Failing: 9}, Worst: []api.Group{
			group(problem.Failing, "/a", "port 0", "no task", 3), group(problem.Failing, "/b", "port 0", "no task", 1), group(problem.Failing, "/c", "port 0", "no task", 1)}},
			[]string{"warning|/a: port 0: no task|do", "warning|/b: port 0: no task", "warning|5 more problems cost"}},
		"certificates": {api.Status{Ready: true, Time: now, Certificates: api.CertificatesStatus{
			Soon: 2, Uncovered: 1, Next: &api.NextCertificate{Name: "a", NotAfter: now.Add(time.Hour)}}},
			[]string{"critical|certificate a ends at 2026-03-01 13:00 UTC", "warning|2 certificates in use expire", "warning|1 domain has no certificate"}},
		"expired": {api.Status{Ready: true, Time: now, Certificates: api.CertificatesStatus{Next: &api.NextCertificate{Name: "a", NotAfter: now}}},
			[]string{"critical|a ended at 2026-03-01 12:00 UTC"}},
		"changes refused": {api.Status{Ready: true, Counts: api.Counts{Failing: 1}, Worst: []api.Group{{Severity: problem.Failing, About: "source", Subject: "scaling", Count: 1,
			Problems: []api.Problem{{Kind: problem.Source, Subject: "scaling", Reason: "Marathon does not let Relay", Severity: problem.Failing}}}}},
			[]string{"warning|scaling: Marathon does not let Relay"}},
		"failing":     {api.Status{Ready: true, Counts: api.Counts{Failing: 2}}, []string{"warning|2 problems cost requests, or keep changes"}},
		"errors":      {api.Status{Ready: true, Load: &api.Load{Requests: 10, Errors: 2}}, []string{"warning|20 % of the requests"}},
		"refused":     {api.Status{Ready: true, Refused: []string{"10.0.0.1: no certificate"}}, []string{"warning|10.0.0.1"}},
		"catching up": {api.Status{Ready: true, OK: true, Fleets: []api.FleetStatus{{Name: "external", Envoys: 2, Behind: 2}}}, []string{"ok|All is well; 2 Envoys catch up"}},
		"not served":  {api.Status{Ready: true, Summary: "1 domain has no task", Counts: api.Counts{WithoutTask: 1}}, []string{"warning|Not everything is served: 1 domain has no task"}},
		"meant":       {api.Status{Ready: true, Counts: api.Counts{Stopped: 3}}, []string{"ok|All is well"}},
		"probes": {api.Status{Ready: true, Probes: &api.ProbesStatus{Place: "here", Asked: 12, Failing: 3, Worst: []api.Probe{{Name: "a.test", Fleet: "external", Envoy: "edge-1", Reason: "connect: refused"}}}},
			[]string{"warning|3 of 12 probes from here fail: a.test through external/edge-1: connect: refused; and 2 more"}},
		"all probes": {api.Status{Ready: true, Probes: &api.ProbesStatus{Place: "here", Asked: 1, Failing: 1, Worst: []api.Probe{{Name: "resolver", Reason: "no answer"}}}},
			[]string{"critical|1 of 1 probe from here fails: resolver: no answer"}},
		"no probe fails": {api.Status{Ready: true, Probes: &api.ProbesStatus{Place: "here", Asked: 5}}, []string{"ok|All is well"}},
		"worst first": {api.Status{Ready: true, Counts: api.Counts{Failing: 1}, Sources: []api.Source{{Kind: "marathon"}}},
			[]string{"critical|marathon", "warning|1 problem costs"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.status.OK = tt.status.OK || tt.status.Counts == api.Counts{Failing: tt.status.Counts.Failing}
			says(t, OfStatus(&tt.status), tt.want...)
		})
	}
}
