package admin

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// fakeProbing has two fleets with an Envoy each, and one that left.
type fakeProbing struct {
	asked *TargetQuery
	found []api.Probe
}

func (f fakeProbing) Targets(q TargetQuery) api.ProbeTargets {
	*f.asked = q
	return api.ProbeTargets{
		Fleets: []api.ProbeFleet{
			{Name: "external", HTTP: 80, HTTPS: 443, Envoys: []api.ProbeEnvoy{{ID: "edge-1", Address: "10.0.0.1"}, {ID: "edge-2", Address: "fd00::2", Disconnected: time.Unix(1, 0)}}},
			{Name: "internal", HTTP: 8080, Address: "10.9.9.9", Envoys: []api.ProbeEnvoy{{ID: "inner-1", Address: "10.0.0.3"}}},
		},
		Domains: []api.ProbeDomain{
			{Name: "shop.test", Fleets: []string{"external", "internal"}, App: "/shop/web", Owner: "team-shop", HTTPS: true, Status: api.DomainServed, Probe: "/health 200"},
			{Name: "asleep.test", Fleets: []string{"external"}, App: "/a", Status: api.DomainAsleep, Probe: "/", Skip: "the app sleeps"},
			{Name: "grpc.test", Fleets: []string{"external"}, App: "/g", Status: api.DomainServed, Probe: "grpc"},
			{Name: "chosen.test", Fleets: []string{"internal"}, App: "/c", Status: api.DomainServed, Path: "/v1"},
		},
	}
}

func (f fakeProbing) Found(q ProbeQuery) (api.Probes, bool) {
	if f.found == nil {
		return api.Probes{}, false
	}
	var next string
	found := f.found
	if q.After != "" {
		found = found[1:]
	} else if q.Limit == 1 {
		found, next = found[:1], "0/a b"
	}
	return api.Probes{Place: fmt.Sprint(q), Probes: found, Page: api.Page{Next: next, Total: len(f.found)}}, true
}

func (fakeProbing) Peers() []string { return []string{"https://relay-2.test", "http://relay.test"} }

// answered asks for a path, and decodes the answer.
func answered[T any](t *testing.T, cfg Config, path string, status int) (answer T) {
	t.Helper()
	w := httptest.NewRecorder()
	New(cfg, nil).Handler().ServeHTTP(w, httptest.NewRequest("GET", "http://relay.test"+path, nil))
	if w.Code != status || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %d, %s: %s", path, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestProbesAPI(t *testing.T) {
	t.Parallel()
	cfg := newConfig(fakeViews{})
	for _, path := range []string{"/api/v1/sd/envoys", "/api/v1/sd/domains"} {
		if got := answered[[]api.Targets](t, cfg, path, 200); got == nil || len(got) > 0 {
			t.Errorf("%s without anything to ask: %v", path, got)
		}
	}
	if got := answered[api.ProbeTargets](t, cfg, "/api/v1/probes/targets?sample=10", 200); got.Domains == nil || got.Fleets == nil || got.Services == nil {
		t.Errorf("lists are absent: %+v", got)
	}
	var asked TargetQuery
	fake := fakeProbing{asked: &asked}
	cfg.Probing = fake
	if got := answered[api.Error](t, cfg, "/api/v1/probes", 404); !strings.Contains(got.Error, "--probes") {
		t.Errorf("without --probes: %q", got.Error)
	}
	answered[api.ProbeTargets](t, cfg, "/api/v1/probes/targets?sample=500&epoch=77&fleet=external", 200)
	if asked != (TargetQuery{Fleet: "external", Sample: 500, Epoch: 77}) {
		t.Errorf("asked was %+v", asked)
	}
	for _, bad := range []string{"/targets?sample=0", "/targets?sample=100000", "/targets?epoch=-1", "/targets?x=1", "?kind=ping", "?state=ok"} {
		answered[api.Error](t, cfg, "/api/v1/probes"+bad, 400)
	}

	fake.found = []api.Probe{{ID: "a b", Reason: "GET http://u:s3cret@a.test/", Steps: []api.ProbeStep{{Seen: "token=s3cret"}}}, {ID: "c"}}
	cfg.Probing = fake
	first := answered[api.Probes](t, cfg, "/api/v1/probes?limit=1&q=Shop&kind=http&fleet=external&state=failing", 200)
	if first.Place != "{Shop http external true 1 }" || len(first.Probes) != 1 || first.Next == "" || strings.Contains(fmt.Sprint(first), "s3cret") {
		t.Errorf("the first page is %+v", first)
	}
	second := answered[api.Probes](t, cfg, "/api/v1/probes?limit=1&cursor="+url.QueryEscape(first.Next), 200)
	if !strings.HasSuffix(second.Place, " 1 0/a b}") || len(second.Probes) != 1 || second.Probes[0].ID != "c" || second.Next != "" {
		t.Errorf("the second page is %+v", second)
	}
}

func TestServiceDiscovery(t *testing.T) {
	t.Parallel()
	cfg := newConfig(fakeViews{})
	cfg.Probing = fakeProbing{asked: new(TargetQuery)}
	targets := func(path string) (all []string) {
		for _, group := range answered[[]api.Targets](t, cfg, path, 200) {
			all = append(all, group.Targets...)
		}
		return all
	}
	if got, want := targets("/api/v1/sd/envoys"), []string{"10.0.0.1:80", "10.0.0.1:443", "[fd00::2]:80", "[fd00::2]:443", "10.9.9.9:8080"}; !reflect.DeepEqual(got, want) {
		t.Errorf("Envoys: %q", got)
	}
	if got, want := targets("/api/v1/sd/relays"), []string{"relay.test:80", "relay-2.test:443"}; !reflect.DeepEqual(got, want) {
		t.Errorf("Relays: %q", got)
	}
	want := []string{"https://10.0.0.1:443/health", "https://[fd00::2]:443/health", "http://10.9.9.9:8080/health", "http://10.9.9.9:8080/v1"}
	if got := targets("/api/v1/sd/domains?sample=5"); !reflect.DeepEqual(got, want) {
		t.Errorf("domains: %q", got)
	}
	second := answered[[]api.Targets](t, cfg, "/api/v1/sd/domains", 200)[1]
	if want := (map[string]string{
		"__meta_relay_fleet": "external", "__meta_relay_envoy": "edge-2", "__meta_relay_address": "[fd00::2]", "__meta_relay_connected": "false",
		"__meta_relay_domain": "shop.test", "__meta_relay_url": "https://shop.test/health", "__meta_relay_app": "/shop/web", "__meta_relay_port": "0",
		"__meta_relay_owner": "team-shop", "__meta_relay_module": "", "__meta_relay_probe": "/health 200", "__meta_relay_sampled": "false", "__meta_relay_status": "served",
	}); !reflect.DeepEqual(second.Labels, want) {
		t.Errorf("labels: %q", second.Labels)
	}
}
