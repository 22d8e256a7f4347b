package page

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"relay/admin/api"
	"relay/internal/problem"
)

// wellData is what is seen when all is well.
func wellData() *fakeData {
	now := time.Now()
	f := &fakeData{status: api.Status{
		Version: "v1.2.3", Time: now, Ready: true, OK: true, Summary: "Every domain is served.",
		Counts: api.Counts{Apps: 1284, Domains: 2031, Endpoints: 5127, Certificates: 812, Envoys: 8},
		Sources: []api.Source{
			{Name: "http://marathon.example.com:8080", Kind: "marathon", Connected: true, LastSync: now.Add(-3 * time.Second), Items: 1284},
			{Name: "https://vault.example.com:8200/secret/relay", Kind: "vault", Connected: true, LastSync: now.Add(-41 * time.Second), Items: 812},
		},
		Fleets: []api.FleetStatus{
			{Name: "external", Revision: 48211, Envoys: 6, UpToDate: 6, Reporting: ptr(6), Load: load(911, .5), Failures: ptr(0.0)},
			{Name: "internal", Revision: 10433, Envoys: 2, UpToDate: 2, Reporting: ptr(2), Load: load(64, 0), Failures: ptr(0.0)},
		},
		Load: load(975, .5), Failures: ptr(0.0), Convergence: &api.Convergence{P50: .031, P99: .14, Changes: 212},
		Series:       lastHour(now, 0),
		Certificates: api.CertificatesStatus{Total: 812, Unused: 14, Next: &api.NextCertificate{Name: "shop.example.com", NotAfter: now.AddDate(0, 0, 24)}},
	}}
	for i := range 3 {
		f.changes = append(f.changes, api.Change{
			ID: uint64(48211 - i), Time: now.Add(-time.Duration(i*17+4) * time.Second), Fleet: "external", Revision: uint64(48211 - i), Resources: 1, Converged: ptr(.028 + float64(i)/100),
			Cause: fmt.Sprintf("Marathon: status_update_event of task shop_web.%d", i), Apps: []string{"/shop/web"}, What: []string{"endpoints of /shop/web port 0: +1 -1"},
		})
	}
	for i := range 120 {
		name := []string{"web", "api", "search", "cart", "login", "images", "mail", "jobs"}[i%8]
		id := fmt.Sprintf("/team-%d/%s", i/8, name)
		a := api.App{ID: id, Version: "2026-11-28T10:00:00.000Z", Load: load(float64(120-i)*.7, 0), Failures: ptr(0), Changed: now.Add(-time.Duration(i*i) * time.Minute)}
		port := api.Port{Index: 0, Name: "http", Fleets: []string{"external"}, Domains: []string{fmt.Sprintf("%s.team-%d.example.com", name, i/8)}, Cluster: id + "_0", Load: a.Load}
		for j := range 1 + i%4 {
			port.Endpoints = append(port.Endpoints, api.Endpoint{Address: fmt.Sprintf("10.0.%d.%d:31044", i, j+7), Health: "healthy", Task: fmt.Sprintf("team-%d_%s.%d", i/8, name, j), Load: load(10, 0)})
		}
		a.Ports = []api.Port{port}
		f.apps = append(f.apps, a)
		f.domains = append(f.domains, api.Domain{Name: port.Domains[0], Fleets: []string{"external"}, Apps: []string{id}, Status: api.DomainServed, Load: a.Load, Failures: ptr(0), Certificate: "vault/" + port.Domains[0]})
	}
	for i := range 6 {
		f.envoys = append(f.envoys, api.Envoy{Fleet: "external", ID: fmt.Sprintf("edge-%d.example.com", i+1), Version: "1.40.0", Address: fmt.Sprintf("10.0.1.%d:41234", i+1), Connected: now.Add(-26 * time.Hour), State: api.EnvoyUpToDate, Reported: now.Add(-4 * time.Second), Load: load(150, .1)})
	}
	for i, name := range []string{"shop.example.com", "*.apps.example.com", "login.example.com"} {
		left := 24 + 17*i
		f.certificates = append(f.certificates, api.Certificate{Source: "vault", Name: name, ServerNames: []string{name}, ServedFor: []string{name}, Domains: []string{name}, DomainCount: 1, DaysLeft: left, NotAfter: now.Add(time.Duration(left)*24*time.Hour + time.Hour), Fingerprint: strings.Repeat("ab", 32), Key: "ECDSA"})
	}
	f.uncovered = []api.UncoveredDomain{}
	f.envoyStory = api.EnvoyStory{Envoy: f.envoys[0], Types: []api.EnvoyType{{Type: "clusters", Sent: 48211, Acked: 48211, Resources: 1284}, {Type: "scopes", Sent: 48200, Acked: 48200, Resources: 2031}}}
	f.story = api.AppStory{App: f.apps[0], Labels: map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "web.team-0.example.com", "HAPROXY_0_REDIRECT_TO_HTTPS": "true", "HAPROXY_0_AUTH": "REDACTED"}, LastChanges: f.changes,
		InEnvoy:   map[string]string{"HAPROXY_0_AUTH": "`basic_auth` of the route"},
		Resources: []api.Resource{{Fleet: "external", Type: "scopes", Name: "web.team-0.example.com", Outline: []string{"/* → basic_auth → cluster /team-0/web_0"}}}}
	f.story.Envoys = []api.Progress{{Fleet: "external", ID: "edge-1.example.com", Version: "1.40.0", Address: "10.0.1.1:41234", Needs: 4, Acknowledged: 4}}
	f.domainStory = api.DomainStory{Domain: f.domains[0], LastChanges: f.changes, Explanation: explanation("web.team-0.example.com", "/team-0/web", "/team-9/web", "vault")}
	return f
}

// explanation is that of a domain which one app has and another loses.
func explanation(domain, app, loser, source string) json.RawMessage {
	text, err := json.Marshal(map[string]any{
		"subject": domain, "known": true,
		"domains": []any{map[string]any{
			"fleet": "external", "host": domain, "domain": domain,
			"rules": []any{
				map[string]any{"app": app, "port": 0, "path": "/", "outcome": "serves", "reason": "it has the lowest app id, then the lowest port, of those that claim it", "targets": []any{map[string]any{"cluster": app + "_0", "weight": 0}}, "handling": []any{"plain HTTP is redirected to https"}},
				map[string]any{"app": loser, "port": 0, "path": "/", "outcome": "loses", "reason": "port 0 of " + app + " has it (the lowest app id wins, then the lowest port)"},
			},
			"https": map[string]any{"listens": "0.0.0.0:443", "certificate": map[string]any{"source": source, "name": domain, "secret": source + "/" + domain, "serverName": domain, "notAfter": time.Now().AddDate(0, 0, 60), "state": "valid", "reason": "it covers " + domain}},
		}},
		"apps": []any{
			map[string]any{"id": app, "scaling": map[string]any{"phase": "awake", "text": "it does not sleep now: 31 requests or connections are in progress"}, "ports": []any{map[string]any{"index": 0, "name": "http", "groups": []string{"external"}, "fleets": []string{"external"}, "cluster": app + "_0", "domains": []string{domain}, "endpoints": []any{map[string]any{"address": "10.0.0.7:31044", "health": "healthy", "task": "web.1"}}, "excluded": []any{map[string]any{"task": "web.2", "reason": "its health checks fail"}}}}},
		},
		"fleets": []any{map[string]any{"name": "external", "needs": 5, "envoys": []any{
			map[string]any{"id": "edge-1.example.com", "version": "1.40.0", "address": "10.0.1.1:41234", "acknowledged": 5},
			map[string]any{"id": "edge-2.example.com", "version": "1.40.0", "address": "10.0.1.2:41234", "acknowledged": 4, "waiting": []any{map[string]any{"type": "scopes", "name": domain, "state": "sent, not acknowledged yet"}}},
		}}},
	})
	if err != nil {
		panic(err)
	}
	return text
}

// troubleData is wellData with one of each trouble.
func troubleData() *fakeData {
	now := time.Now()
	f := wellData()
	s := &f.status
	s.OK, s.Summary = false, "2 domains have no task, 1 has no certificate, 3 apps are in no fleet."
	s.Sources[1] = api.Source{Name: s.Sources[1].Name, Kind: "vault", LastSync: now.Add(-52 * time.Minute), Items: 812, LastError: "read live: 403 permission denied: the token has expired"}
	s.Fleets[0] = api.FleetStatus{Name: "external", Revision: 48211, Envoys: 5, UpToDate: 3, Behind: 1, Rejecting: 1, Disconnected: []api.EnvoySince{{ID: "edge-6.example.com", Since: now.Add(-4 * time.Minute)}}, Reporting: ptr(4), NotReported: []api.EnvoySince{{ID: "edge-5.example.com", Since: now.Add(-11 * time.Minute)}}, Load: load(880, 31), Failures: ptr(22.4)}
	s.Load, s.Failures, s.Series = load(944, 31), ptr(22.4), lastHour(now, 32)
	s.Certificates.Soon, s.Certificates.Expired, s.Certificates.Uncovered = 2, 1, 1
	f.problems = []api.Problem{
		{Kind: problem.Connection, App: "/team-0/web", Subject: "port 0", Item: "10.0.0.8:31044", Reason: "2 Envoys cannot connect to it: connection refused"},
		{Kind: problem.Tasks, App: "/team-3/cart", Subject: "port 0", Reason: "no task is in rotation: team-3_cart.1 fails a health check"},
		{Kind: problem.Clash, App: "/team-9/web", Fleet: "external", Subject: "web.team-0.example.com", Domain: "web.team-0.example.com", Reason: "port 0 does not get the domain: port 0 of /team-0/web has it (the lowest app id wins, then the lowest port)"},
		{Kind: problem.Source, Subject: "vault", Reason: "read live: 403 permission denied: the token has expired", Action: "give Relay a new token: --vault-token-file"},
		{Kind: problem.Envoy, Subject: "edge-3.example.com", Item: "scopes api.team-4.example.com", Fleet: "external", Reason: "rejected revision 48190: route: unknown cluster '/team-4/api_0'"},
		{Kind: problem.App, App: "/team-5/jobs", Subject: "HAPROXY_0_VHSOT", Reason: "is not a known label: HAPROXY_0_VHOST is"},
		{Kind: problem.Unserved, App: "/other/web", Subject: "port 0", Item: "lab", Severity: problem.Advice, Reason: "wants a.example.com, and its group lab is no fleet here"},
	}
	for i := range f.problems {
		f.problems[i] = f.problems[i].Complete()
	}
	s.Worst = problem.Groups(f.problems, 10)
	asShown(f.problems)
	for i := range s.Worst {
		asShown(s.Worst[i].Problems)
	}
	s.Counts.Problems, s.Counts.Failing, s.Counts.Envoys = len(f.problems), 5, 7
	for i := range 8 {
		code, cause, status := "unreachable", "no connection to the instance: connection refused", 503
		if i%3 == 1 {
			code, cause, status = "timed-out", "the instance did not answer within 60 s", 504
		}
		f.failures = append(f.failures, api.Failure{Time: now.Add(-time.Duration(i*3+1) * time.Second), Fleet: "external", Envoy: "edge-1.example.com", App: "/team-0/web", Domain: "web.team-0.example.com", Method: "GET", Path: fmt.Sprintf("/basket/%d", i), Status: status, Code: code, Cause: cause, Instance: "10.0.0.8:31044", RequestID: fmt.Sprintf("7e1f0c9a-%04d-4c1b", i), Client: "203.0.113.7", Duration: .003, Count: 1 + i%2*9})
	}
	f.changes[0].Converged, f.changes[0].Waiting = nil, []string{"edge-2.example.com"}
	f.changes[1].Converged, f.changes[1].Rejected = nil, []api.Rejected{{Envoy: "edge-3.example.com", Resource: "scopes api.team-4.example.com", Error: "route: unknown cluster '/team-4/api_0'"}}
	f.authorities = []api.Authority{{Source: "vault", Name: "trackers", Subjects: []string{"CN=trackers 2026"}, NotBefore: now, NotAfter: now.AddDate(1, 0, 0), DaysLeft: 365, Services: []string{"/team-0/web"},
		Revocation: &api.Revocation{Count: 3, MadeAt: now}, Remarks: []string{"a revocation list of it is out of date from 2026-03-01T00:00:00Z on"}}, {Source: "dir", Name: "unused", Subjects: []string{"CN=unused"}, DaysLeft: -1, UsedInstead: "vault"}}
	f.uncovered = []api.UncoveredDomain{{Fleet: "external", Domain: "new.example.com", Wanted: true, Reason: "no certificate covers it"}, {Fleet: "external", Domain: "plain.example.com", Reason: "no certificate covers it"}}
	f.certificates[0].DaysLeft, f.certificates[1].DaysLeft = -1, 9
	f.envoys[1].State, f.envoys[1].Behind = api.EnvoyBehind, 3
	f.envoys[2].State, f.envoys[2].Lacking = api.EnvoyRejecting, 1
	f.envoys[5].State, f.envoys[5].Disconnected = api.EnvoyDisconnected, now.Add(-4*time.Minute)
	f.envoyStory = api.EnvoyStory{Envoy: f.envoys[2], LastFailures: f.failures, Types: []api.EnvoyType{
		{Type: "clusters", Sent: 48211, Acked: 48211, Resources: 1284},
		{Type: "endpoints", Sent: 48211, Acked: 48207, Resources: 1284, Behind: 3, InFlight: true},
		{Type: "scopes", Sent: 48190, Acked: 48190, Resources: 2030, Lacking: 1, Lacks: []api.Lacking{{Name: "api.team-4.example.com", By: "this Envoy", Since: now.Add(-9 * time.Minute), Error: "route: unknown cluster '/team-4/api_0'", Retry: now.Add(time.Minute), Older: true}}},
	}}
	story := &f.story
	story.Failures, story.ProblemCount, story.Severity = ptr(184), 1, "failing"
	story.Problems, story.LastFailures, story.LastChanges = f.problems[:1], f.failures, f.changes
	story.Load = load(78, 22.4)
	s.Scaling, story.Scaling = wakesStatus(now), wokenScaling(now)
	story.Scaling.Trouble = "Marathon cannot be reached: connection refused"
	story.Ports[0].TCP = &api.TCP{Text: "port 8883; TLS ends at Envoy (modern); clients need a certificate of devices, with a name of uri:spiffe://lab.test/tenant/acme/*; new connections at 50/s to each instance", Port: 8883, AcceptRate: 50, TLS: &api.ServiceTLS{Profile: "modern", Authority: "devices", ClientNames: []string{"uri:spiffe://lab.test/tenant/acme/*"}}}
	story.Ports[0].Rebalance = &api.Rebalance{Phase: "ending", Text: "4 instances have 61 to 134 connections, and would have 100 each: up to 10 % of 400 are ended a minute, by now 61 since 14:05:12 UTC", Since: now, Ended: 61}
	story.Ports[0].Endpoints = []api.Endpoint{
		{Address: "10.0.0.7:31044", Health: "healthy", Task: "team-0_web.0", Load: load(39, 0)},
		{Address: "10.0.0.8:31044", Health: "healthy", Task: "team-0_web.1", Load: load(39, 22.4), Unreachable: "2 Envoys cannot connect to it since 11:02: connection refused"},
	}
	story.Ports[0].Excluded = []api.Excluded{{Task: "team-0_web.2", Reason: "its health checks fail: GET /health answered 500"}}
	story.Envoys = append(story.Envoys, api.Progress{Fleet: "external", ID: "edge-2.example.com", Version: "1.40.0", Address: "10.0.1.2:41234", Needs: 4, Acknowledged: 3, Waiting: []api.Waiting{{Type: "endpoints", Name: "/team-0/web_0", State: "sent, not acknowledged yet"}}})
	f.apps[0] = story.App
	f.apps[26].Ports[0].Endpoints, f.apps[26].ProblemCount, f.apps[26].Severity = nil, 1, "failing"
	f.domains[0].Failures, f.domains[26].Status, f.domains[27].Status = ptr(184), api.DomainWithoutTask, api.DomainWithoutCertificate
	f.domains[27].Certificate = ""
	f.domainStory.Domain, f.domainStory.Problems, f.domainStory.LastFailures = f.domains[0], f.problems[2:3], f.failures
	return f
}

// asShown puts problems into the form of the API, where the subject is what has the problem.
func asShown(problems []api.Problem) {
	for i := range problems {
		if p := &problems[i]; p.App != "" {
			p.Kind, p.App, p.Subject, p.Item = problem.App, "", p.App, p.Subject
		}
	}
}
