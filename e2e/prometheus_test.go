package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/admin/api"
)

// runningPrometheus is Debian's, with the settings of deploy/prometheus.yml.
type runningPrometheus struct {
	t       *testing.T
	address string
}

// startPrometheus runs it with other targets, and asks them more often. It ends with the test.
func startPrometheus(t *testing.T, targets map[string]string) *runningPrometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is missing: make programs installs it")
	}
	folder := t.TempDir()
	for _, name := range []string{"prometheus.yml", "alerts.yaml"} {
		text, err := os.ReadFile(filepath.Join("../deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		settings := regexp.MustCompile(`(scrape|evaluation)_interval: \d+s`).ReplaceAllString(string(text), "${1}_interval: 500ms")
		for from, to := range targets {
			if name == "prometheus.yml" && !strings.Contains(settings, from) {
				t.Fatalf("%s names no %s", name, from)
			}
			settings = strings.ReplaceAll(settings, from, to)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &runningPrometheus{t, freeAddress(t)}
	cmd := exec.Command(program, "--config.file", filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(folder, "data"), "--web.listen-address", p.address, "--log.level", "warn")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus:\n%s", log.String())
		}
	})
	return p
}

// get reads an answer of its API.
func (p *runningPrometheus) get(path string, query url.Values, data any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer := struct {
		Data  any
		Error string
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}

// has reports whether a query gives something that is a number.
func (p *runningPrometheus) has(query string) error {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get("/api/v1/query", url.Values{"query": {query}}, &data); err != nil {
		return fmt.Errorf("%s: %w", query, err)
	}
	for _, r := range data.Result {
		if r.Value[1] != "NaN" {
			return nil
		}
	}
	return fmt.Errorf("no data for %s", query)
}

// unhealthy says what Prometheus cannot read, or cannot work out.
func (p *runningPrometheus) unhealthy() error {
	var targets struct {
		ActiveTargets []struct{ Health, LastError, ScrapeURL string }
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := errors.Join(p.get("/api/v1/targets", nil, &targets), p.get("/api/v1/rules", nil, &rules)); err != nil {
		return err
	}
	var errs []error
	if len(targets.ActiveTargets) != 2 {
		errs = append(errs, fmt.Errorf("%d targets", len(targets.ActiveTargets)))
	}
	for _, t := range targets.ActiveTargets {
		if t.Health != "up" || t.LastError != "" {
			errs = append(errs, fmt.Errorf("%s is %s: %s", t.ScrapeURL, t.Health, t.LastError))
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" || r.LastError != "" {
				errs = append(errs, fmt.Errorf("alert %s is %s: %s", r.Name, r.Health, r.LastError))
			}
		}
	}
	return errors.Join(errs...)
}

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
	chosen := strings.NewReplacer("$instance", ".*", "$fleet", ".*", "$__rate_interval", "20s")
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
	if err != nil || len(boards) < 2 {
		t.Fatalf("dashboards: %q, %v", boards, err)
	}
	w := newScalingWorld(t)
	w.certs.issueUnnoticed()
	w.marathon.deploy(app("/a", "a.test", 1))
	w.start()
	p := startPrometheus(t, map[string]string{"relay.example.com:9090": strings.TrimPrefix(w.relay.running.AdminURL(), "http://"), "edge-1.example.com:9901": w.envoy.Admin})
	var missing []string
	for _, board := range boards {
		missing = append(missing, panelQueries(t, board)...)
	}
	// Envoy reports its load every 10 s, and a rate needs two values.
	const limit = 35 * time.Second
	start := time.Now()
	for i := 1; ; i++ {
		w.marathon.deploy(app("/a", "a.test", 1+i%2))
		w.clients.expect("http://a.test/", http.StatusOK, "/a")
		w.clients.expect("http://nobody.test/", http.StatusNotFound, "")
		if i%20 == 1 { // some requests wait for an app to wake
			id, domain := fmt.Sprintf("/sleepy%d", i), fmt.Sprintf("sleepy%d.test", i)
			w.marathon.deploy(sleepyApp(id, domain, 0, map[string]string{"RELAY_IDLE_AFTER": "30m", "RELAY_ASLEEP": "1"}))
			w.phase(id, api.PhaseAsleep)
			w.clients.expect("http://"+domain+"/", http.StatusOK, id)
		}
		err := p.unhealthy()
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
