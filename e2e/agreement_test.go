package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"relay/admin/api"
	"relay/xds/envoytest"
)

// What the first screen, the lists, the stories, the events and the metrics say of a running Relay
// and a real Envoy is the same, once nothing moves.
func TestNumbersAgree(t *testing.T) {
	w := newWorld(t)
	client := w.relay.secure()
	w.relay.start()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			rw.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(s.Close)
	w.marathon.service("/shop", []string{s.Listener.Addr().String()}, "HAPROXY_0_VHOST", "shop.test,www.shop.test")
	w.marathon.service("/dead", []string{freeAddress(t)}, "HAPROXY_0_VHOST", "dead.test")
	w.marathon.deploy(app("/typo", "typo.test", 1, "HAPROXY_0_VHOSTS", "x.test"))
	w.marathon.deploy(app("/nowhere", "nowhere.test", 1, "HAPROXY_GROUP", "extern"))
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, TLS: client})
	w.envoy.ready()
	w.eventually("Envoy reports", func() error {
		if loads := w.relay.running.Loads(); len(loads.Reporters()) == 0 {
			return fmt.Errorf("no reporters")
		} else if _, ok := loads.Cluster("external", "/shop_0"); !ok {
			return fmt.Errorf("not of the app")
		}
		return nil
	})
	w.marathon.deploy(app("/late", "late.test", 1))
	for range 20 {
		w.clients.do("http://shop.test/")
		w.clients.do("http://shop.test/broken")
		w.clients.do("http://dead.test/")
	}
	w.eventually("there is load", func() error {
		var shop api.AppStory
		if w.admin.read("/api/v1/apps/shop", &shop); shop.Load == nil || shop.Load.Requests == 0 {
			return fmt.Errorf("%+v", shop.Load)
		}
		return nil
	})
	w.eventually("the numbers agree", func() error {
		// There is load still, however long it takes.
		w.clients.do("http://shop.test/")
		w.clients.do("http://shop.test/broken")
		return disagreement(w)
	})
	w.envoy.nothingRejected()
}

// disagreement says which numbers differ.
func disagreement(w *world) error {
	var status api.Status
	var apps api.Apps
	var domains api.Domains
	var envoys api.Envoys
	var problems api.Problems
	var failures api.Failures
	var changes api.Changes
	for path, into := range map[string]any{
		"status": &status, "apps": &apps, "domains": &domains, "envoys": &envoys, "problems": &problems, "failures": &failures, "changes": &changes,
	} {
		w.admin.read("/api/v1/"+path, into)
	}
	endpoints, countOf := 0, 0
	for _, a := range apps.Apps {
		for _, p := range a.Ports {
			endpoints += len(p.Endpoints)
		}
		countOf += a.ProblemCount
	}
	failing, failed := 0, 0
	for _, p := range problems.Problems {
		if p.Severity == "failing" {
			failing++
		}
	}
	for _, f := range failures.Failures {
		failed += f.Count
	}
	point, text := event(w)
	c := status.Counts
	same := map[string][]float64{
		"apps":             {float64(c.Apps), float64(apps.Total), float64(len(apps.Apps)), float64(point.Counts.Apps)},
		"domains":          {float64(c.Domains), float64(domains.Total), float64(len(domains.Domains))},
		"endpoints":        {float64(c.Endpoints), float64(endpoints)},
		"Envoys":           {float64(c.Envoys), float64(envoys.Total), 1, w.admin.sum("relay_xds_streams")},
		"up to date":       {float64(status.Fleets[0].UpToDate), 1},
		"problems":         {float64(c.Problems), float64(problems.Total), w.admin.sum("relay_problems"), float64(point.Counts.Problems)},
		"failing":          {float64(c.Failing), float64(failing), w.admin.sum("relay_problems_failing")},
		"failures":         {20, float64(failed), w.admin.sum("relay_failures_total")},
		"reporting Envoys": {1, float64(*status.Fleets[0].Reporting), w.admin.sum("relay_load_reporters")},
		"changes":          {float64(changes.Total), float64(len(changes.Changes)), float64(changes.Changes[0].ID)},
	}
	for what, numbers := range same {
		for _, n := range numbers {
			if n != numbers[0] {
				return fmt.Errorf("%s: %v", what, numbers)
			}
		}
	}
	if status.Summary != problems.Summary || status.Summary != point.Summary || !strings.Contains(text, `"point":{`) {
		return fmt.Errorf("%q, %q and %q", status.Summary, problems.Summary, text)
	}
	return stories(w, status, domains)
}

// stories says what is wrong with the load and the failures of single apps and domains.
func stories(w *world, status api.Status, domains api.Domains) error {
	var shop, dead, late api.AppStory
	w.admin.read("/api/v1/apps/late", &late)
	var domain api.DomainStory
	w.admin.read("/api/v1/apps/shop", &shop)
	w.admin.read("/api/v1/apps/dead", &dead)
	w.admin.read("/api/v1/domains/dead.test", &domain)
	switch {
	case status.Load == nil || shop.Load == nil || *status.Load != *status.Fleets[0].Load:
		return fmt.Errorf("no load: %+v", status)
	case shop.Load.Requests == 0 || shop.Load.Errors == 0 || status.Load.Requests < shop.Load.Requests:
		return fmt.Errorf("load %+v of %+v", shop.Load, status.Load)
	case *dead.Failures != 20 || len(dead.LastFailures) == 0 || dead.LastFailures[0].Code != "unreachable" || *domain.Failures != 20:
		return fmt.Errorf("failures %+v", dead.LastFailures)
	case len(late.LastChanges) == 0 || late.LastChanges[0].Converged == nil || late.Changed.IsZero() || status.Convergence == nil:
		return fmt.Errorf("changes %+v", late.LastChanges)
	}
	states := make(map[string]api.DomainStatus)
	for _, d := range domains.Domains {
		states[d.Name] = d.Status
	}
	if states["nowhere.test"] != api.DomainInNoFleet || states["shop.test"] != api.DomainWithoutCertificate {
		return fmt.Errorf("domains are %v", maps.Clone(states))
	}
	return nil
}

// event returns the status with which the stream of events begins.
func event(w *world) (status api.Status, text string) {
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.admin.url+"/api/v1/events", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+w.admin.token)
	resp, err := w.admin.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &status); err != nil {
				w.t.Fatal(err)
			}
			return status, data
		}
	}
	w.t.Fatal("no event came")
	return status, ""
}
