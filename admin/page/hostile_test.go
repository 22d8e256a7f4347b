package page

import (
	"net/url"
	"strings"
	"time"

	"relay/admin/api"
	"relay/internal/problem"
)

// hostile is what an app could put into any text: it ends tags, attributes, styles and scripts
// of all kinds, turns the text around, and is long.
const hostile = `"'><script>alert(1)</script><img src=x onerror=alert(2)><svg/onload=alert(3)>{{.}}${alert(4)}javascript:alert(5)</title></style></textarea><!--` + "\u202egnp.\u200b" + `</a><a href="javascript:alert(6)">x</a>&lt;b&gt;'+alert(7)+'`

var hostileLong = hostile + strings.Repeat("averylonglabelwithoutaspace", 60)

// hostilePath is hostile without what an address cannot have in its path.
var hostilePath = strings.ReplaceAll(hostile, "/", "|")

// hostileData has a hostile text wherever one can come from outside.
func hostileData() *fakeData {
	now := time.Now()
	l := load(3, 1)
	f := &fakeData{status: api.Status{
		Version: "v1.2.3", Time: now, Summary: hostile, NotReady: []string{hostileLong}, Refused: []string{hostileLong},
		Sources: []api.Source{{Name: hostileLong, Kind: "marathon", LastError: hostileLong}},
		Fleets:  []api.FleetStatus{{Name: "external", Envoys: 1, Behind: 1, Reporting: ptr(0), NotReported: []api.EnvoySince{{ID: hostile}}, Disconnected: []api.EnvoySince{{ID: hostileLong, Since: now}}}},
	}}
	f.status.Certificates.Next = &api.NextCertificate{Name: hostile, NotAfter: now}
	f.problems = []api.Problem{
		problem.Problem{Kind: problem.App, App: "/" + hostilePath, Subject: hostileLong, Item: hostileLong, Reason: hostileLong}.Complete(),
		problem.Problem{Kind: problem.Clash, App: "/" + hostilePath, Subject: hostile, Domain: hostile, Fleet: hostile, Reason: hostile, Action: hostileLong}.Complete(),
		problem.Problem{Kind: problem.Envoy, Subject: hostileLong, Item: hostile, Reason: hostile}.Complete(),
	}
	f.status.Worst = problem.Groups(f.problems, 10)
	f.status.Counts.Problems, f.status.Counts.Failing = 3, 1
	f.changes = []api.Change{{ID: 1, Time: now, Fleet: "external", Cause: hostileLong, Apps: []string{"/" + hostilePath}, Certificates: []string{hostileLong}, What: []string{hostileLong, hostile}, Rejected: []api.Rejected{{Envoy: hostileLong, Resource: hostileLong, Error: hostileLong}}}, {ID: 2, Time: now, Waiting: []string{hostileLong}, Cause: hostile}}
	f.failures = []api.Failure{{Time: now, Fleet: "external", Envoy: hostileLong, App: "/" + hostilePath, Domain: hostile, Method: hostile, Path: hostileLong, Status: 503, Code: hostile, Cause: hostileLong, Instance: hostile, RequestID: hostileLong, Client: hostile, Count: 3}}
	app := api.App{ID: "/" + hostilePath, Version: hostile, Load: l, Failures: ptr(1), ProblemCount: 1, Severity: "failing", Ports: []api.Port{
		{Name: hostile, Fleets: []string{"external"}, Domains: []string{hostile, hostileLong}, Cluster: hostileLong, Load: l, Endpoints: []api.Endpoint{{Address: "10.0.0.7:1", Health: "healthy", Task: hostileLong}, {Address: "10.0.0.7:2", Task: hostile, Unreachable: hostileLong}}, Excluded: []api.Excluded{{Task: hostileLong, Reason: hostileLong}}},
		{Index: 1, OtherGroups: []string{hostileLong}, TCP: &api.TCP{Text: hostileLong, TLS: &api.ServiceTLS{Authority: hostileLong, ClientNames: []string{hostileLong}}}, Rebalance: &api.Rebalance{Phase: "paused", Text: hostileLong, Since: now, Ended: 1}},
	}}
	f.apps = []api.App{app}
	f.story = api.AppStory{App: app, Labels: map[string]string{hostileLong: hostileLong, "HAPROXY_0_VHOST": hostile}, Problems: f.problems, Notes: []api.Note{{Task: hostileLong, Text: hostileLong}}, LastFailures: f.failures, LastChanges: f.changes,
		InEnvoy: map[string]string{"HAPROXY_0_VHOST": hostileLong}, Resources: []api.Resource{{Fleet: hostile, Type: hostile, Name: hostileLong, Outline: []string{hostileLong}}},
		Envoys: []api.Progress{{Fleet: "external", ID: hostileLong, Version: hostile, Needs: 2, Waiting: []api.Waiting{{Type: hostile, Name: hostileLong, State: hostile, Error: hostileLong}}}}}
	f.story.Scaling = &api.Scaling{Phase: api.PhaseFailed, Since: now, Reason: hostileLong, Text: hostileLong, Size: hostile, Trouble: hostileLong, Events: []api.ScalingEvent{{Time: now, Kind: "did not start", Text: hostileLong}}}
	f.status.Scaling = &api.ScalingStatus{Waiting: 1, Wakes: []api.Wake{{App: "/" + hostilePath, Requests: 1, Since: now, Why: hostileLong}}}
	f.domains = []api.Domain{{Name: hostilePath, Fleets: []string{"external"}, Apps: []string{"/" + hostilePath}, Status: api.DomainServed, Certificate: "vault/" + hostile}}
	f.domainStory = api.DomainStory{Domain: f.domains[0], Problems: f.problems, LastFailures: f.failures, LastChanges: f.changes, Explanation: explanation(hostilePath, "/"+hostilePath, hostileLong, hostile)}
	f.envoys = []api.Envoy{{Fleet: "external", ID: hostilePath, Version: hostile, Zone: hostile, Address: hostile, Connected: now, State: api.EnvoyBehind}}
	f.envoyStory = api.EnvoyStory{Envoy: f.envoys[0], LastFailures: f.failures, Types: []api.EnvoyType{{Type: "scopes", Lacking: 1, Lacks: []api.Lacking{{Name: hostileLong, By: hostile, Since: now, Error: hostileLong}}}}}
	f.certificates = []api.Certificate{{Source: "vault", Name: hostilePath, ServerNames: []string{hostileLong}, ServedFor: []string{hostile}, Domains: []string{hostile}, EndsWithIssuer: hostileLong, Remarks: []string{hostileLong}, NotAfter: now, Key: hostile}}
	f.authorities = []api.Authority{{Source: "vault", Name: hostilePath, Subjects: []string{hostileLong, hostile}, Services: []string{"/" + hostilePath}, Remarks: []string{hostileLong}, NotAfter: now}}
	f.uncovered = []api.UncoveredDomain{{Fleet: "external", Domain: hostileLong, Wanted: true, Reason: hostileLong}}
	f.deployments = []api.Deployment{{
		Group: hostilePath, To: "/" + hostilePath, From: []string{hostileLong}, Target: 2, Waiting: []string{hostileLong}, ReadOnly: hostile,
		Apps:   []api.DeploymentApp{{ID: "/" + hostilePath, Version: hostileLong, Tasks: []api.DeploymentTask{{Task: hostileLong, Address: "10.0.0.7:1", Health: "draining", Waiting: hostileLong}}}},
		Next:   []api.DeploymentChange{{App: hostileLong, Why: hostileLong}},
		Events: []api.DeploymentEvent{{Time: now, Kind: "trouble", Text: hostileLong}},
	}}
	f.story.Deployment, f.story.Owner = hostilePath, hostile
	f.probes = []api.Probe{
		{ID: hostileLong, Name: hostileLong, Kind: hostile, Fleet: hostile, Envoy: hostileLong, Domain: hostilePath, App: "/" + hostilePath, Owner: hostile, Reason: hostileLong, Code: hostile, RequestID: hostile,
			Status: 503, Since: now, Explain: "/api/v1/explain?subject=x", Steps: []api.ProbeStep{{Name: hostile, Seen: hostileLong, Limit: 1}}},
		{ID: "skipped", Name: hostile, Skipped: hostileLong},
	}
	f.status.Probes = &api.ProbesStatus{Place: hostile, Asked: 2, Failing: 1, Worst: f.probes[:1]}
	return f
}

// hostilePages are all pages of hostileData.
func hostilePages() []string {
	return []string{
		"/", "/apps", appURL("/" + hostilePath), "/domains", domainURL(hostilePath), domainURL(hostile + "?"), "/uncovered", "/authorities", "/deployments", deploymentURL(hostilePath), "/envoys", envoyURL("external", hostilePath), "/certificates", certificateURL("vault", hostilePath),
		"/problems", "/changes", "/probes", "/probes?state=" + url.QueryEscape(hostile), "/failures", "/failures?code=" + url.QueryEscape(hostile) + "&app=" + url.QueryEscape(hostileLong), "/search?q=" + url.QueryEscape(hostile), "/apps?q=" + url.QueryEscape(hostile) + "&sort=" + url.QueryEscape(hostile) + "&fleet=" + url.QueryEscape(hostile),
	}
}
