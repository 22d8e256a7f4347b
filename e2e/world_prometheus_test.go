package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// runningPrometheus is Debian's, with the settings of deploy/prometheus.yml.
type runningPrometheus struct {
	t       *testing.T
	address string
	// end ends it before the test does.
	end func()
}

// prometheusSettings are the addresses that are put in. What has none is left out.
type prometheusSettings struct {
	relay, probe, blackbox, alertmanager string
	// envoy is the admin endpoint of the only Envoy that is read.
	envoy string
	// asShipped leaves the intervals as they are; otherwise all are two seconds, which is also how long
	// Prometheus waits for an answer, and half a second where it asks nobody.
	asShipped bool
	// quicker divides the times for which something has to be wrong.
	quicker bool
	args    []string
}

var jobOfPrometheus = regexp.MustCompile(`(?ms)^- job_name: (\w+)$.*?(\z|^$)`)

// apply puts the addresses into the settings of deploy/prometheus.yml.
func (s prometheusSettings) apply(t *testing.T) (settings, rules string) {
	t.Helper()
	_, admin, _ := net.SplitHostPort(s.envoy)
	addresses := map[string][2]string{ // by job: what is replaced
		"relay": {"relay.example.com:9090", s.relay}, "probe": {"probe.example.com:9116", s.probe},
		"envoy": {":9901", admin}, "blackbox": {"blackbox.example.com:9115", s.blackbox},
	}
	if admin != "" {
		addresses["envoy"] = [2]string{":9901", ":" + admin}
	}
	settings = jobOfPrometheus.ReplaceAllStringFunc(readSettings(t, "prometheus.yml", map[string]string{"alertmanager.example.com:9093": cmp.Or(s.alertmanager, "127.0.0.1:1")}), func(job string) string {
		name := jobOfPrometheus.FindStringSubmatch(job)[1]
		address, known := addresses[name]
		if !known || !strings.Contains(job, address[0]) {
			t.Fatalf("the job %s of prometheus.yml has another address", name)
		}
		if address[1] == "" {
			return ""
		}
		return strings.ReplaceAll(strings.ReplaceAll(job, address[0], address[1]), "relay.example.com:9090", s.relay)
	})
	if s.alertmanager == "" {
		settings = regexp.MustCompile(`(?ms)^alerting:.*?^$`).ReplaceAllString(settings, "")
	}
	if strings.Contains(settings, "example.com") {
		t.Fatalf("an address is left:\n%s", settings)
	}
	rules = readSettings(t, "alerts.yaml", nil)
	if !s.asShipped {
		settings, rules = quickIntervals(settings), quickIntervals(rules)
	}
	if s.quicker {
		rules = quickerRules(t, rules)
	}
	return settings, rules
}

var intervalOfPrometheus = regexp.MustCompile(`(?m)^( *)((?:\w+_)?interval): \d+s$`)

func quickIntervals(text string) string {
	quick := map[string]string{"refresh_interval": "2s", "scrape_interval": "2s"}
	return intervalOfPrometheus.ReplaceAllStringFunc(text, func(line string) string {
		m := intervalOfPrometheus.FindStringSubmatch(line)
		return m[1] + m[2] + ": " + cmp.Or(quick[m[2]], "500ms")
	})
}

// startPrometheus runs it. It ends with the test.
func startPrometheus(t *testing.T, s prometheusSettings) *runningPrometheus {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus is missing: make programs installs it")
	}
	folder := t.TempDir()
	settings, rules := s.apply(t)
	for name, text := range map[string]string{"prometheus.yml": settings, "alerts.yaml": rules} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &runningPrometheus{t: t, address: freeAddress(t)}
	p.end = runUntilEnd(t, "Prometheus", exec.Command(program, append([]string{"--config.file", filepath.Join(folder, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(folder, "data"),
		"--web.listen-address", p.address, "--log.level", "warn"}, s.args...)...))
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

// unhealthy says what Prometheus cannot read, or cannot work out, if it is to read so many.
func (p *runningPrometheus) unhealthy(wanted int) error {
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
	if len(targets.ActiveTargets) != wanted {
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
