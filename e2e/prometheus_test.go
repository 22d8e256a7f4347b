package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// panelQueries are those of a dashboard, as Grafana asks them when everything is chosen.
func panelQueries(t *testing.T, file string) (queries []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	chosen := strings.NewReplacer("$instance", ".*", "$fleet", ".*", "$kind", ".*", "$__rate_interval", "20s")
	for _, panel := range board.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("%s: a panel asks for nothing", file)
		}
		for _, target := range panel.Targets {
			query := chosen.Replace(target.Expr)
			if strings.Contains(query, "$") {
				t.Errorf("%s: %s has a variable that is not known here", file, target.Expr)
			}
			queries = append(queries, query)
		}
	}
	if len(queries) < 15 {
		t.Errorf("%s: only %d queries", file, len(queries))
	}
	return queries
}

// Prometheus with the settings in deploy reads Relay and an Envoy, can work out each alert, and
// has data for each panel of the dashboards.
func TestPrometheus(t *testing.T) {
	boards, err := filepath.Glob("../deploy/grafana/dashboards/*.json")
	boards = slices.DeleteFunc(boards, func(board string) bool { return strings.HasSuffix(board, "-graphite.json") })
	if err != nil || len(boards) < 3 {
		t.Fatalf("dashboards: %q, %v", boards, err)
	}
	w := newScalingWorld(t)
	w.certs.issueUnnoticed()
	a := func(instances int) string {
		return app("/a", "a.test", instances, "RELAY_OWNER", "team-a", "RELAY_0_PROBE", "/")
	}
	w.marathon.deploy(a(1))
	w.probeAs("interval: 5s\nsample: {domains: 1, interval: 5s}\n")
	w.start()
	p := startPrometheus(t, prometheusSettings{relay: w.admin.address(), envoy: w.envoy.Admin})
	var missing []string
	for _, board := range boards {
		missing = append(missing, panelQueries(t, board)...)
	}
	// Envoy reports its load every 10 s, and a rate needs two values. A busy machine takes longer.
	const limit = 90 * time.Second
	start := time.Now()
	for i := 1; ; i++ {
		w.marathon.deploy(a(1 + i%2))
		w.clients.expect("http://a.test/", http.StatusOK, "/a")
		w.clients.expect("http://nobody.test/", http.StatusNotFound, "")
		if i%20 == 1 { // some requests wait for an app to wake
			id, domain := fmt.Sprintf("/sleepy%d", i), fmt.Sprintf("sleepy%d.test", i)
			w.marathon.deploy(sleepyApp(id, domain, 0, map[string]string{"RELAY_IDLE_AFTER": "30m", "RELAY_ASLEEP": "1"}))
			w.phase(id, api.PhaseAsleep)
			w.clients.expect("http://"+domain+"/", http.StatusOK, id)
		}
		err := p.unhealthy(2)
		var still []string
		for _, query := range missing {
			if without := p.has(query); without != nil {
				still, err = append(still, query), errors.Join(err, without)
			}
		}
		missing = still
		if err == nil {
			t.Logf("after %s", time.Since(start).Round(time.Second))
			return
		}
		if time.Since(start) > limit {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
