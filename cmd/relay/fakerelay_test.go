package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/admin/findings"
	"relay/collator/explain"
	"relay/internal/problem"
)

// fakeNow is the time of the answers, and of the tables in tests.
var fakeNow = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return fakeNow.Add(-d) }

func pointer[T any](v T) *T { return &v }

// fakeRelay answers as a Relay does, always the same, and keeps what it was asked.
type fakeRelay struct {
	*httptest.Server
	answers map[string]any
	asked   []string
}

func newFakeRelay(t *testing.T) *fakeRelay {
	t.Helper()
	now = func() time.Time { return fakeNow }
	t.Cleanup(func() { now = time.Now })
	f := &fakeRelay{answers: fakeAnswers()}
	f.Server = httptest.NewServer(http.HandlerFunc(f.answer))
	t.Cleanup(f.Close)
	t.Setenv("RELAY_ADMIN", f.URL)
	return f
}

func (f *fakeRelay) answer(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api/v1/")
	query := r.URL.Query()
	query.Del("limit")
	f.asked = append(f.asked, strings.TrimSuffix(path+"?"+query.Encode(), "?"))
	v, ok := f.answers[path]
	status := http.StatusOK
	if handler, ok := v.(http.HandlerFunc); ok {
		handler(w, r)
		return
	}
	switch {
	case path == "events" || path == "tail":
		w.Header().Set("Content-Type", map[string]string{"events": "text/event-stream", "tail": "application/x-ndjson"}[path])
		_, _ = fmt.Fprint(w, v)
		return
	case path == "explain":
		e := v.(map[string]explain.Explanation)[query.Get("subject")]
		if !e.Known {
			e.Subject, status = query.Get("subject"), http.StatusNotFound
		}
		v = e
	case !ok:
		v, status = api.Error{Error: fmt.Sprintf("no such thing as %s", path)}, http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
	_, _ = w.Write(b.Bytes())
}

// shown is what a command writes to both, with the address of every Relay.
func (f *fakeRelay) shown(text string) string {
	u, _ := url.Parse(f.URL)
	return strings.ReplaceAll(text, u.Host, "127.0.0.1:9090")
}

// nobody is an address on which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	return s.URL
}

// fakeAnswers are those of a shop that has most of what can go wrong.
func fakeAnswers() map[string]any {
	answers := map[string]any{
		"status":           fakeStatus(),
		"apps":             api.Apps{Apps: fakeApps(), Page: api.Page{Total: 4}},
		"apps/shop/web":    fakeAppStory(),
		"apps/shop/report": fakeSleeper(),
		"deployments":      api.Deployments{Deployments: []api.Deployment{fakeDeployment()}, Page: api.Page{Total: 1}},
		"deployments/imp":  fakeDeployment(), "deployments/imp/advance": fakeStep(),
		"incidents": fakeIncidents(), "incidents/open": api.IncidentChange{Incident: fakeIncidents().Incidents[1]},
		"domains":             api.Domains{Domains: fakeDomains(), Page: api.Page{Total: 3}},
		"domains/cart.test":   fakeDomainStory(),
		"envoys":              api.Envoys{Envoys: fakeEnvoys(), Page: api.Page{Total: 3}},
		"envoys/external/e-2": api.EnvoyStory{Envoy: fakeEnvoys()[1], Types: fakeEnvoyTypes()},
		"certificates":        api.Certificates{Certificates: fakeCertificates(), Page: api.Page{Total: 2}},
		"authorities":         api.Authorities{Authorities: fakeAuthorities(), Page: api.Page{Total: 2}},
		"certificates/vault/shop.test": api.CertificateStory{
			Certificate: fakeCertificates()[0], LastChanges: fakeChanges()[1:2],
		},
		"problems": api.Problems{Summary: fakeStatus().Summary, Groups: fakeStatus().Worst, Problems: fakeProblems(), Page: api.Page{Total: 3}},
		"changes":  api.Changes{Changes: fakeChanges(), Page: api.Page{Total: 3}},
		"failures": api.Failures{Failures: fakeFailures(), Page: api.Page{Total: 2}},
		"fleets":   api.Fleets{Fleets: []api.Fleet{{Name: "external"}}},
		"diff": api.Diff{Change: fakeChanges()[0], Known: true, Resources: []api.ResourceDiff{{
			Type: "endpoints", Name: "/shop/web_0", Before: encoded(fakeEndpoints("10.0.0.7", "10.0.0.8")), After: encoded(fakeEndpoints("10.0.0.7", "10.0.0.9")),
		}, {Type: "scopes", Name: "new.test", After: encoded(map[string]string{"name": "new.test"})}}},
		"config-dump": map[string]any{"configs": []any{
			map[string]any{"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": []any{map[string]any{"version_info": "1", "cluster": map[string]any{"name": "/shop/web_0"}}}},
			map[string]any{"@type": "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs": []any{map[string]any{"endpoint_config": map[string]any{"cluster_name": "/shop/web_0"}}}},
		}},
		"explain": map[string]explain.Explanation{"cart.test": fakeExplanation()},
		"events":  fakeEvents(),
		"tail":    fakeTail(),
	}
	return answers
}

func encoded(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func fakeEndpoints(addresses ...string) any {
	type endpoint struct{ Address string }
	var all []endpoint
	for _, a := range addresses {
		all = append(all, endpoint{a})
	}
	return map[string]any{"cluster_name": "/shop/web_0", "endpoints": all, "policy": map[string]int{"overprovisioning_factor": 100}}
}

func fakeStatus() api.Status {
	problems := fakeProblems()
	s := api.Status{
		Version: "0.1.0", Time: fakeNow, Ready: true, Summary: "1 domain has no task, 1 domain is left out",
		Counts:  api.Counts{Apps: 3, Domains: 3, Endpoints: 5, Certificates: 2, Envoys: 2, Problems: 3, Failing: 2, WithoutTask: 1},
		Sources: []api.Source{{Name: "http://marathon.test:8080", Kind: "marathon", Connected: true, LastSync: before(40 * time.Second), Items: 3}, {Name: "https://vault.test:8200", Kind: "vault", LastSync: before(2 * time.Hour), LastError: "permission denied: the token has expired", Items: 2}},
		Fleets: []api.FleetStatus{{
			Name: "external", Revision: 1287, Envoys: 2, UpToDate: 1, Rejecting: 1, Disconnected: []api.EnvoySince{{ID: "e-3", Since: before(5 * time.Minute)}},
			Reporting: pointer(1), NotReported: []api.EnvoySince{{ID: "e-2"}}, Load: &api.Load{Requests: 120.4, Errors: 0.52}, Failures: pointer(0.2),
		}},
		Load: &api.Load{Requests: 120.4, Errors: 0.52}, Failures: pointer(0.2), Convergence: &api.Convergence{P50: 0.004, P99: 0.021, Changes: 96},
		Certificates: api.CertificatesStatus{Total: 2, Unused: 1, Soon: 1, Next: &api.NextCertificate{Name: "vault/shop.test", NotAfter: fakeNow.Add(12 * 24 * time.Hour)}},
		Worst: []api.Group{
			{About: "app", Subject: "/shop/cart", Severity: problem.Failing, Action: problems[0].Action, Count: 1, Problems: problems[:1]},
			{About: "envoy", Subject: "fleet external, Envoy e-2", Severity: problem.Failing, Action: problems[1].Action, Count: 1, Problems: problems[1:2]},
			{About: "app", Subject: "/shop/web", Severity: problem.Ignored, Action: problems[2].Action, Count: 1, Problems: problems[2:]},
		},
	}
	s.Scaling = &api.ScalingStatus{
		Apps: map[string]int{api.PhaseAwake: 2, api.PhaseAsleep: 1, api.PhaseWaking: 1}, Decisions: 17, Waiting: 3, Queued: 2,
		Wakes: []api.Wake{{App: "/shop/print", Requests: 3, Since: before(4 * time.Second), Why: "An instance is starting."}},
	}
	s.Findings = findings.OfStatus(&s)
	return s
}

func fakeProblems() []api.Problem {
	return []api.Problem{
		{Kind: problem.App, Subject: "/shop/cart", Item: "port 0", Reason: "fleet external: no task is in rotation: task cart.1 fails its health check", Domain: "cart.test", Severity: problem.Failing, Action: "look at the app's tasks, health checks and log in Marathon"},
		{Kind: problem.Envoy, Subject: "fleet external, Envoy e-2", Item: "listener https", Reason: "rejected since 11:50 by this Envoy: no such extension", Severity: problem.Failing, Action: "docs/rejections.md says what to do"},
		{Kind: problem.App, Subject: "/shop/web", Item: "HAPROXY_0_VHOSTS", Reason: "is not a known label: did you mean HAPROXY_0_VHOST?", Severity: problem.Ignored, Action: "change the app's definition; docs/labels.md has all labels"},
	}
}

func fakeApps() []api.App {
	return []api.App{
		{
			ID: "/shop/cart", Version: "2026-11-30T11:40:00.000Z", Failures: pointer(42), Changed: before(20 * time.Minute), ProblemCount: 1, Severity: "failing", Load: &api.Load{Requests: 3.1},
			Ports: []api.Port{{Fleets: []string{"external"}, Domains: []string{"cart.test"}, Cluster: "/shop/cart_0", Excluded: []api.Excluded{{Task: "cart.1", Reason: "fails its health check"}}}},
		},
		{
			ID: "/shop/web", Version: "2026-11-30T11:59:00.000Z", Failures: pointer(0), Changed: before(time.Minute), ProblemCount: 1, Severity: "ignored", Load: &api.Load{Requests: 117.3, Errors: 0.52, Requests10m: 110, Errors10m: 0.4, InProgress: 3},
			Ports: []api.Port{{
				Fleets: []string{"external"}, OtherGroups: []string{"lab"}, Domains: []string{"shop.test", "www.shop.test"}, Cluster: "/shop/web_0",
				Endpoints: []api.Endpoint{{Address: "10.0.0.7:31001", Health: "healthy", Task: "web.7", Load: &api.Load{Requests: 60}}, {Address: "10.0.0.9:31004", Health: "healthy", Task: "web.9", Unreachable: "connection refused, 3 times in the last minute, by e-1", Load: &api.Load{Requests: 57.3, Errors: 0.52}}},
			}},
		},
		{ID: "/shop/batch", Version: "1", Stopped: true},
		inLists(fakeSleeper().App),
	}
}

func fakeAppStory() api.AppStory {
	story := api.AppStory{
		App: fakeApps()[1], Labels: map[string]string{"HAPROXY_GROUP": "external,lab", "HAPROXY_0_VHOST": "shop.test,www.shop.test", "HAPROXY_0_VHOSTS": "typo.test"},
		Problems: fakeProblems()[2:],
		Notes:    []api.Note{{Task: "web.7", Text: "is judged by its own version"}},
		Resources: []api.Resource{
			{Fleet: "external", Type: "clusters", Name: "/shop/web_0", Outline: []string{"lb_policy LEAST_REQUEST", "connect_timeout 3s"}},
			{Fleet: "external", Type: "scopes", Name: "shop.test", Outline: []string{"/admin* → rbac, basic_auth → cluster /shop/web_0", "/* → cluster /shop/web_0"}},
		}, MoreResources: 3,
		Envoys: []api.Progress{
			{Fleet: "external", ID: "e-1", Version: "1.40.0", Address: "10.0.1.1", Needs: 4, Acknowledged: 4},
			{Fleet: "external", ID: "e-2", Version: "1.40.0", Address: "10.0.1.2", Needs: 4, Acknowledged: 3, Waiting: []api.Waiting{{Type: "listener", Name: "https", State: "rejected", Error: "no such extension"}}},
		},
		LastFailures: fakeFailures()[1:], LastChanges: fakeChanges()[:1],
	}
	story.Ports = slices.Clone(story.Ports)
	story.Ports[0].TCP = &api.TCP{Text: "port 8883; TLS ends at Envoy (modern); clients need a certificate of devices, with a name of uri:spiffe://lab.test/tenant/acme/*; new connections at 50/s to each instance", Port: 8883}
	story.Ports[0].Rebalance = &api.Rebalance{Phase: "ending", Text: "2 instances have 40 to 80 connections, and would have 60 each: up to 10 % of 120 are ended a minute, by now 3 since 14:05:12 UTC", Since: fakeNow, Ended: 3}
	story.Findings = findings.OfApp(&story, nil, fakeNow)
	return story
}

func fakeDomainStory() api.DomainStory {
	explanation := fakeExplanation()
	story := api.DomainStory{
		Domain: fakeDomains()[0], Problems: fakeProblems()[:1], LastFailures: fakeFailures()[:1], LastChanges: fakeChanges()[:1], Explanation: encoded(explanation),
	}
	story.Findings = findings.OfDomain(&story, &explanation, nil, fakeNow)
	return story
}

func fakeDomains() []api.Domain {
	return []api.Domain{
		{Name: "cart.test", Fleets: []string{"external"}, Apps: []string{"/shop/cart"}, Status: api.DomainWithoutTask, Load: &api.Load{Requests: 3.1}, Failures: pointer(42), Certificate: "vault/shop.test"},
		{Name: "shop.test", Fleets: []string{"external"}, Apps: []string{"/shop/web"}, Status: api.DomainServed, Load: &api.Load{Requests: 117.3, Errors: 0.52}, Failures: pointer(0), Certificate: "vault/shop.test"},
		{Name: "www.shop.test", Fleets: []string{"external"}, Apps: []string{"/shop/web"}, Status: api.DomainWithoutCertificate},
	}
}

func fakeEnvoys() []api.Envoy {
	return []api.Envoy{
		{Fleet: "external", ID: "e-1", Version: "1.40.0", Address: "10.0.1.1", Connected: before(72 * time.Hour), State: api.EnvoyUpToDate, Reported: before(3 * time.Second), Load: &api.Load{Requests: 120.4, Errors: 0.52}},
		{Fleet: "external", ID: "e-2", Version: "1.40.0", Address: "10.0.1.2", Connected: before(10 * time.Minute), State: api.EnvoyRejecting, Behind: 2, Lacking: 1},
		{Fleet: "external", ID: "e-3", Version: "1.40.0", Address: "10.0.1.3", Connected: before(50 * time.Hour), Disconnected: before(5 * time.Minute), State: api.EnvoyDisconnected},
	}
}

func fakeEnvoyTypes() []api.EnvoyType {
	return []api.EnvoyType{
		{Type: "clusters", Sent: 1287, Acked: 1287, Resources: 5},
		{Type: "listeners", Sent: 1280, Acked: 1280, Resources: 2, Lacking: 1, Lacks: []api.Lacking{{Name: "https", By: "this Envoy", Since: before(10 * time.Minute), Error: "no such extension", Older: true}}},
	}
}

func fakeAuthorities() []api.Authority {
	from, to := fakeNow.AddDate(-1, 0, 0), fakeNow.AddDate(0, 0, 6)
	return []api.Authority{
		{Source: "vault", Name: "trackers", Subjects: []string{"CN=trackers"}, NotBefore: from, NotAfter: fakeNow.AddDate(1, 0, 0), DaysLeft: 365, Services: []string{"/shop/web"}, Revocation: &api.Revocation{Count: 3, MadeAt: fakeNow, OutOfDateAt: &to}, Remarks: []string{"a revocation list of it is out of date from 2026-03-07 on"}},
		{Source: "dir", Name: "trackers", Subjects: []string{"CN=trackers"}, NotBefore: from, NotAfter: fakeNow.AddDate(0, 1, 0), DaysLeft: 31, UsedInstead: "vault"},
	}
}

func fakeCertificates() []api.Certificate {
	return []api.Certificate{
		{Source: "vault", Name: "shop.test", ServerNames: []string{"cart.test", "shop.test"}, NotAfter: fakeNow.Add(12 * 24 * time.Hour), DaysLeft: 12, Fingerprint: "5f3a", Key: "ECDSA P-256", ServedFor: []string{"cart.test", "shop.test"}, Domains: []string{"cart.test", "shop.test"}, DomainCount: 2},
		{Source: "vault", Name: "old.test", ServerNames: []string{"old.test"}, NotAfter: fakeNow.Add(-3 * 24 * time.Hour), DaysLeft: -3, Fingerprint: "77b0", Key: "RSA 2048", Unused: true},
	}
}

func fakeChanges() []api.Change {
	return []api.Change{
		{ID: 96, Time: before(time.Minute), Fleet: "external", Revision: 1287, Cause: "Marathon: status_update_event of task web.9", Apps: []string{"/shop/web"}, AppCount: 1, What: []string{"port 0: +10.0.0.7:31005 -10.0.0.6:31001"}, Resources: 1, Converged: pointer(0.004)},
		{ID: 95, Time: before(10 * time.Minute), Fleet: "external", Revision: 1286, Cause: "certificate vault/shop.test read again", Certificates: []string{"vault/shop.test"}, What: []string{"certificate vault/shop.test"}, Resources: 2, Waiting: []string{"e-2"}, Rejected: []api.Rejected{{Envoy: "e-2", Resource: "listener https", Error: "no such extension"}}},
		{ID: 94, Time: before(20 * time.Minute), Fleet: "external", Revision: 1285, Cause: "Marathon: health_status_changed_event of task cart.1", Apps: []string{"/shop/cart"}, AppCount: 1, What: []string{"port 0: -10.0.0.9:31004"}, Resources: 1, Converged: pointer(1.5)},
	}
}

func fakeFailures() []api.Failure {
	return []api.Failure{
		{Time: before(30 * time.Second), Fleet: "external", Envoy: "e-1", App: "/shop/cart", Domain: "cart.test", Method: "GET", Path: "/basket", Status: 503, Code: "offline", Cause: "no instance of the app is in rotation", RequestID: "6f1c2b1e", Client: "192.0.2.7", Count: 8},
		{Time: before(2 * time.Minute), Fleet: "external", Envoy: "e-1", App: "/shop/web", Domain: "shop.test", Method: "POST", Path: "/buy", Status: 503, Code: "unreachable", Cause: "no connection to an instance: connection refused", Instance: "10.0.0.9:31004", Client: "192.0.2.8", Duration: 0.25, Count: 1},
	}
}

func fakeExplanation() explain.Explanation {
	return explain.Explanation{
		Subject: "cart.test", Known: true,
		Domains: []explain.Domain{{Domain: "cart.test", Host: "cart.test", Fleet: "external", Rules: []explain.Rule{{Path: "/", App: "/shop/cart", Outcome: explain.Serves, Reason: "no other app wants it", Targets: []explain.Target{{Cluster: "/shop/cart_0", Weight: 1}}}}}},
		Apps: []explain.App{{ID: "/shop/cart", Ports: []explain.Port{{
			Groups: []string{"external"}, Fleets: []string{"external"}, Cluster: "/shop/cart_0", Domains: []string{"cart.test"}, Excluded: []explain.Excluded{{Task: "cart.1", Reason: "fails its health check"}},
		}}}},
		Fleets: []explain.Fleet{{Name: "external", Needs: 4, Envoys: []explain.Envoy{{ID: "e-1", Version: "1.40.0", Address: "10.0.1.1", Acknowledged: 4}}}},
	}
}

// fakeEvents is one stream of them.
func fakeEvents() string {
	var b strings.Builder
	event := func(name, id string, v any) {
		if id != "" {
			b.WriteString("id: " + id + "\n")
		}
		fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", name, encoded(v))
	}
	b.WriteString(": heartbeat\n\n")
	event(api.EventStatus, "", fakeStatus())
	event(api.EventChange, "96", fakeChanges()[0])
	event(api.EventFailure, "", fakeFailures()[0])
	event(api.EventProblem, "", api.ProblemEvent{Appeared: fakeProblems()[:1], Ended: fakeProblems()[2:], Problems: 2, Failing: 2})
	return b.String()
}

// fakeTail is one stream of requests.
func fakeTail() string {
	var b strings.Builder
	for _, v := range []any{
		api.Request{Time: before(2 * time.Second), Fleet: "external", Envoy: "e-1", App: "/shop/web", Domain: "shop.test", Client: "192.0.2.7", Method: "GET", Path: "/", Status: 200, Duration: 0.004, Instance: "10.0.0.7:31001"},
		api.Request{Time: before(time.Second), Fleet: "external", Envoy: "e-1", App: "/shop/web", Domain: "shop.test", Client: "192.0.2.8", Method: "POST", Path: "/buy", Status: 503, Code: "unreachable", Duration: 0.25, Instance: "10.0.0.9:31004"},
		map[string]any{"notice": api.Notice{State: api.TailEnded, Text: "Relay stops"}},
	} {
		b.Write(append(encoded(v), '\n'))
	}
	return b.String()
}

// writeClientFile writes the user's file.
func writeClientFile(t *testing.T, text string) (path string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	path = clientFilePath(os.Getenv)
	if err := os.MkdirAll(strings.TrimSuffix(path, "/client.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
