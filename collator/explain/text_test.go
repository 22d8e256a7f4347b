package explain

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/collator/collatortest"
	"relay/internal/problem"
	"relay/xds"
)

// explanations have a golden file each.
func explanations() map[string]Explanation {
	until := time.Date(2026, 7, 30, 23, 59, 0, 0, time.UTC)
	return map[string]Explanation{
		"domain": {
			Subject: "shop.test", Known: true,
			Domains: []Domain{{
				Fleet: "external", Host: "shop.test", Domain: "shop.test", ACMECluster: "/marathon-acme_0",
				Rules: []Rule{
					{App: "/shop/api", Path: "/api", IgnoreCase: true, Order: 5, Outcome: Serves, Reason: "no other port claims it",
						Targets: []Target{{Cluster: "/shop/api_0", Weight: 1}}, Handling: []string{"a password is asked for (user joe)"}},
					{App: "/shop/web", Path: "/", Outcome: Serves, Reason: "2 ports share it",
						Targets: []Target{{Cluster: "/shop/web_0", Weight: 90}, {Cluster: "/shop/web-2_0", Weight: 10}}},
					{App: "/zz", Port: 1, Path: "/", Outcome: Loses, Reason: "port 1 does not get the domain"},
				},
				HTTPS: HTTPS{Listens: "0.0.0.0:443",
					Certificate: &Certificate{Secret: "vault/shop.test", ServerName: "shop.test", NotAfter: until, State: "valid", Reason: "it covers shop.test"},
					Others:      []Certificate{{Secret: "dir/old.pem", ServerName: "shop.test", NotAfter: until.AddDate(-1, 0, 0), State: "expired", Reason: "it is expired"}}},
				Notes: []string{"the exact name counts before *.test, for all paths"},
			}, {
				Fleet: "internal", Host: "shop.test", Domain: "*.test",
				HTTPS: HTTPS{Notes: []string{"the fleet has no https listener"}},
			}},
			Services: []Service{
				{Fleet: "external", App: "/db", Listener: "tcp/5432", Address: "0.0.0.0:5432", Outcome: Serves, Reason: "no other port wants it",
					Cluster: "/db_0", Handling: []string{"only clients from 10.0.0.0/8 are let in"}},
				{Fleet: "external", App: "/mail", Port: 1, Listener: "https", Address: "0.0.0.0:443", ServerName: "mail.test", Outcome: Loses, Reason: "port 0 of /a has it"},
			},
			Apps: []App{{ID: "/shop/web", Version: "v1", Deployment: "deployment-group/shop",
				Ports: []Port{
					{Name: "http", Fleets: []string{"external", "internal"}, OtherGroups: []string{"public"}, Cluster: "deployment-group/shop_0", Domains: []string{"shop.test"},
						Connections: []string{"instances take turns"},
						Endpoints:   []Endpoint{{Address: "10.0.0.1:31000", Health: "healthy", Task: "shop.1"}},
						Excluded:    []Excluded{{Task: "shop.2", Reason: "its health checks fail"}}},
					{Index: 1}, {Index: 2, Groups: []string{"lab"}},
				},
				Problems: []problem.Problem{{Fleet: "external", Subject: "shop.test", Reason: "port 1 does not get the domain"}, {Reason: "odd"}},
				Notes:    []Note{{Task: "shop.1", Text: "is judged by its own version, of 2026-05-01T10:00:00.000Z"}}},
				{ID: "/none"}},
			Fleets: []Fleet{{Name: "external", Needs: 6, Envoys: []Envoy{
				{ID: "edge-1", Version: "1.40.0", Address: "10.0.1.1:4123", Acknowledged: 6},
				{ID: "edge-2", Address: "10.0.1.2:4123", Acknowledged: 5, Waiting: []Waiting{{Type: "clusters", Name: "/shop/web_0", State: "sent, not acknowledged yet"}}},
				{ID: "edge-3", Version: "1.40.0", Address: "10.0.1.3:4123", Acknowledged: 4, Waiting: []Waiting{
					{Type: "listeners", Name: "http", State: string(xds.Rejected), Rejected: &xds.StaleResource{By: xds.ThisEnvoy, Since: until, Retry: until, Message: "cannot bind '0.0.0.0:80': Address already in use"}},
					{Type: "scopes", Name: "shop.test", State: string(xds.Quarantined), Rejected: &xds.StaleResource{By: xds.OthersOfItsVersion, Since: until, HasOlder: true, Message: "no such route"}},
				}},
			}}, {Name: "internal", Needs: 2}},
			Refused: []string{`node edge-4 from 10.0.1.4, the last time at 2026-07-30T23:59:00Z: no fleet "intern"`},
		},
		"unknown": {
			Subject: "shop.tets", Near: []string{"shop.test", "www.shop.test"},
			NotReady: []string{"certificates have not been read from vault https://vault.test yet"},
		},
	}
}

func TestExplanationText(t *testing.T) {
	t.Parallel()
	for name, e := range explanations() {
		// What the command has is what came through JSON.
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var received Explanation
		if err := json.Unmarshal(data, &received); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		received.WriteText(&got)
		file := filepath.Join("testdata", name+".golden.txt")
		collatortest.Golden(t, file, got.Bytes())
	}
}

// What is on demand, and no request has needed, is nothing that an Envoy owes.
func TestExplainOnDemand(t *testing.T) {
	t.Parallel()
	needs := []xds.Key{{Type: xds.Scope, Name: "a.test"}, {Type: xds.Cluster, Name: "/a_0"}, {Type: xds.Secret, Name: "vault/a.test"}, {Type: xds.Listener, Name: "http"}}
	progress := xds.EnvoyProgress{NodeID: "edge-1", Resources: []xds.ResourceProgress{{Progress: xds.Acknowledged}, {Progress: xds.NotAsked}, {Progress: xds.NotAsked}, {Progress: xds.NotAsked}}}
	const notAsked = "not asked for"
	for _, tt := range []struct {
		onDemand        []xds.Type
		cluster, secret string
	}{
		{nil, notAsked, notAsked},
		{[]xds.Type{xds.Cluster, xds.Endpoint}, OnDemand, notAsked},
		{[]xds.Type{xds.Secret}, notAsked, OnDemand},
	} {
		got := envoyOf(progress, needs, tt.onDemand)
		want := []Waiting{
			{Type: "clusters", Name: "/a_0", State: tt.cluster}, {Type: "secrets", Name: "vault/a.test", State: tt.secret},
			{Type: "listeners", Name: "http", State: notAsked},
		}
		if diff := cmp.Diff(want, got.Waiting); diff != "" || got.Acknowledged != 1 {
			t.Errorf("on demand %v: %d acknowledged, waiting (-want +got):\n%s", tt.onDemand, got.Acknowledged, diff)
		}
	}
}
