package page

import (
	"encoding/json"
	"fmt"
	"testing"

	"relay/admin/api"
	"relay/collator/explain"
)

// The first sentence of an app's page says what is wrong with it.
func TestAppFindings(t *testing.T) {
	t.Parallel()
	port := func(change func(*api.Port)) []api.Port {
		p := api.Port{Fleets: []string{"external"}, Endpoints: []api.Endpoint{{Address: "a"}, {Address: "b"}}}
		if change != nil {
			change(&p)
		}
		return []api.Port{p}
	}
	tests := []struct {
		name  string
		story api.AppStory
		class string
		words string
	}{
		{"well", api.AppStory{App: api.App{Ports: port(nil)}}, "ok", "All is well: 2 instances in rotation"},
		{"no group", api.AppStory{App: api.App{Ports: []api.Port{{}}}}, "warn", "No fleet of this Relay serves it: it names no group"},
		{"other group", api.AppStory{App: api.App{Ports: []api.Port{{OtherGroups: []string{"lab"}}}}}, "warn", "No fleet of this Relay serves it: its groups are lab"},
		{"no task", api.AppStory{App: api.App{Ports: port(func(p *api.Port) { p.Endpoints = nil })}}, "bad", "It has no task, so requests get 503"},
		{"unhealthy", api.AppStory{App: api.App{Ports: port(func(p *api.Port) {
			p.Endpoints, p.Excluded = nil, []api.Excluded{{Task: "x", Reason: "its health checks fail"}}
		})}}, "bad", "No task is in rotation, so requests get 503: its health checks fail"},
		{"stopped", api.AppStory{App: api.App{Stopped: true, Ports: port(func(p *api.Port) { p.Endpoints = nil })}}, "warn", "It is scaled to 0: requests get 503"},
		{"refuses", api.AppStory{App: api.App{Ports: port(func(p *api.Port) { p.Endpoints[0].Unreachable, p.Endpoints[1].Unreachable = "r", "r" })}}, "bad", "Envoys can connect to none of its tasks"},
		{"one refuses", api.AppStory{App: api.App{Ports: port(func(p *api.Port) { p.Endpoints[0].Unreachable = "r" })}}, "warn", "Envoys cannot connect to 1 of 2 tasks"},
		{"answers 500", api.AppStory{App: api.App{Load: load(10, 5), Ports: port(nil)}}, "bad", "50 % of its requests fail"},
		{"some fail", api.AppStory{App: api.App{Load: load(1000, 1), Failures: ptr(7), Ports: port(nil)}}, "warn", "7 requests failed in the last hour"},
		{"rejected", api.AppStory{App: api.App{Ports: port(nil)}, Envoys: []api.Progress{{ID: "e", Waiting: []api.Waiting{{Type: "scopes", Name: "a.test", Error: "no such route"}}}}}, "bad", "e rejected scopes a.test: no such route"},
		{"behind", api.AppStory{App: api.App{Ports: port(nil)}, Envoys: []api.Progress{{Needs: 2, Acknowledged: 1}}}, "warn", "1 Envoy does not have all of it yet"},
		{"typo", api.AppStory{App: api.App{Ports: port(nil)}, Problems: []api.Problem{{Severity: "ignored", Item: "HAPROXY_0_VHSOT", Reason: "is not a known label", Action: "change it"}}}, "warn", "HAPROXY_0_VHSOT is not a known label"},
		{"problem", api.AppStory{App: api.App{Ports: port(nil)}, Problems: []api.Problem{{Severity: "failing", Reason: "loses its domain"}}}, "bad", "loses its domain"},
	}
	for _, tt := range tests {
		f := appFindings(&tt.story)
		if f[0].Class != tt.class || f[0].Words != tt.words {
			t.Errorf("%s: %+v; want first %s %q", tt.name, f, tt.class, tt.words)
		}
		if f[0].Class != "ok" && f[0].Do == "" && tt.name != "problem" {
			t.Errorf("%s: it is not said what to do", tt.name)
		}
	}
}

// The first sentence of a domain's page says whether it is served, and if not, why.
func TestDomainFindings(t *testing.T) {
	t.Parallel()
	const served = `"domains":[{"fleet":"ext","host":"a.test","domain":"a.test","rules":[{"app":"/a","port":0,"path":"/","outcome":"serves"}],"https":{}}]`
	const tasks = `"apps":[{"id":"/a","ports":[{"index":0,"endpoints":[{"address":"1"}]},{"index":1,"endpoints":[{"address":"2"}]}]},{"id":"/loser","ports":[{"index":0,"endpoints":[{"address":"3"}]}]}]`
	const has = `"fleets":[{"name":"ext","needs":2,"envoys":[{"id":"e","acknowledged":2}]}]`
	tests := []struct{ name, explanation, class, words string }{
		{"served", served + "," + tasks + "," + has, "ok", "Served by 1 task; 1 Envoy has all of it"},
		{"taken", `"leftOut":[{"app":"/b","reason":"port 0 of /a has it"}]`, "bad", "/b asks for it in vain: port 0 of /a has it"},
		{"nowhere", ``, "bad", "No fleet of this Relay serves it"},
		{"no task", served + `,"apps":[{"id":"/a","ports":[{"index":0,"excluded":[{"task":"t","reason":"it is staging"}]}]}],` + has, "bad", "No task is in rotation, so requests get 503: it is staging"},
		{"no Envoy", served + "," + tasks + `,"fleets":[{"name":"ext","needs":2}]`, "bad", "No Envoy of fleet ext is connected to this Relay"},
		{"rejected", served + "," + tasks + `,"fleets":[{"name":"ext","needs":2,"envoys":[{"id":"e","acknowledged":1,"waiting":[{"type":"scopes","name":"a.test","state":"rejected","rejected":{"name":"a.test","by":"this Envoy","error":"no"}}]}]}]`, "bad", "e rejected scopes a.test: no"},
		{"no certificate", `"domains":[{"fleet":"ext","host":"a.test","domain":"a.test","rules":[{"app":"/a","outcome":"serves"}],"https":{"listens":"0.0.0.0:443"}}],` + tasks + "," + has, "warn", "No certificate covers it in fleet ext: https connections are closed"},
		{"of another app", `"domains":[{"fleet":"ext","host":"a.test","domain":"a.test","rules":[{"app":"/a","outcome":"serves"},{"app":"/loser","path":"/","outcome":"loses","reason":"port 0 of /a has it"}],"https":{}}],` + tasks + "," + has, "warn", "/loser does not get / of it: port 0 of /a has it"},
		{"expired", `"domains":[{"fleet":"ext","host":"a.test","domain":"a.test","rules":[{"app":"/a","outcome":"serves"}],"https":{"listens":"0.0.0.0:443","certificate":{"name":"c","state":"expired","serverName":"a.test"}}}],` + tasks + "," + has, "bad", "Its certificate c is expired: clients refuse it"},
	}
	for _, tt := range tests {
		var e explain.Explanation
		text := `"subject":"a.test"`
		if tt.explanation != "" {
			text += "," + tt.explanation
		}
		if err := json.Unmarshal([]byte("{"+text+"}"), &e); err != nil {
			t.Fatal(tt.name, err)
		}
		f := domainFindings(&api.DomainStory{}, &e)
		if f[0].Class != tt.class || f[0].Words != tt.words {
			t.Errorf("%s: %+v; want first %s %q", tt.name, f, tt.class, tt.words)
		}
	}
}

// The verdict of the first screen names the worst.
func TestVerdict(t *testing.T) {
	t.Parallel()
	well := api.Status{Ready: true, OK: true}
	for want, change := range map[string]func(*api.Status){
		"ok: All is well":                        func(*api.Status) {},
		"ok: All is well; 2 Envoys catch up":     func(s *api.Status) { s.Fleets = []api.FleetStatus{{Behind: 2}} },
		"bad: Not ready":                         func(s *api.Status) { s.Ready, s.OK = false, false },
		"bad: 1 problem costs requests":          func(s *api.Status) { s.Counts.Failing = 1 },
		"bad: 1 Envoy rejects what it is sent":   func(s *api.Status) { s.Fleets = []api.FleetStatus{{Rejecting: 1}} },
		"warn: 1 source cannot be read":          func(s *api.Status) { s.Sources = []api.Source{{}} },
		"warn: 1 Envoy is gone":                  func(s *api.Status) { s.Fleets = []api.FleetStatus{{Disconnected: []api.EnvoySince{{}}}} },
		"warn: Certificates are about to expire": func(s *api.Status) { s.Certificates.Soon = 1 },
		"warn: Not everything is served":         func(s *api.Status) { s.OK, s.Counts.WithoutTask = false, 1 },
	} {
		s := well
		change(&s)
		if class, words := verdict(&s); class+": "+words != want {
			t.Errorf("%s: %s, want %s", class, words, want)
		}
	}
	scaled := well
	scaled.OK, scaled.Counts.Stopped = false, 3
	if _, words := verdict(&scaled); words != "All is well" {
		t.Errorf("apps that are scaled to 0 as people want it: %s", words)
	}
}

// Failures of one cause and app are one group, whatever clients ask for.
func TestFailuresAreGrouped(t *testing.T) {
	t.Parallel()
	var list []api.Failure
	for i := range 100 {
		list = append(list, api.Failure{Code: "no-such-domain", Domain: "a.test", Count: 2, Status: 404})
		if i%50 == 0 {
			list = append(list, api.Failure{Code: "offline", App: "/a", Domain: fmt.Sprint(i)}, api.Failure{Code: "offline", App: "/b"})
		}
	}
	for i := range 100 {
		list = append(list, api.Failure{Code: "no-such-domain", Domain: fmt.Sprint(i)})
	}
	groups := groupFailures(list)
	if len(groups) != maxFirst {
		t.Fatalf("%d groups", len(groups))
	}
	for i, want := range []string{"no-such-domain a.test 200", "offline  2", "offline  2"} {
		g := groups[i]
		domain := g.Domain
		if g.App != "" {
			domain = ""
		}
		if got := fmt.Sprintf("%s %s %d", g.Code, domain, g.Times); got != want {
			t.Errorf("group %d is %q, want %q", i, got, want)
		}
	}
}
