package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relay/certs/certstest"
	"relay/compare"
	"relay/sources/marathon/marathontest"
)

// comparing runs relay compare, and returns its status and what it wrote.
func comparing(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), append([]string{"compare", "--old-admin", "none"}, args...), &out, &err)
	return status, out.String(), err.String()
}

// fullMarathon has one app, with more labels in the form of JSON.
func fullMarathon(t *testing.T, labels string) *marathontest.Server {
	t.Helper()
	m := marathontest.Start(t, marathontest.Options{})
	m.SetRawApp("/a", json.RawMessage(`{"id":"/a","instances":1,"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"a.test"`+labels+`},
		"portDefinitions":[{"port":10000}],"tasks":[{"id":"a.1","host":"127.0.0.1","ports":[31000],"state":"TASK_RUNNING","startedAt":"2026-01-01T00:00:00.000Z"}]}`))
	return m
}

func TestCompareStatus(t *testing.T) {
	t.Parallel()
	// A proxy in front ends TLS, so that the fleet needs no certificates.
	proxied := []string{"--trusted-proxies", "127.0.0.0/8", "--https-public-port", "443"}
	same := fullMarathon(t, "")
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(page.Close) // after the parts, which are parallel
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	tests := []struct {
		name   string
		args   []string
		status int
		says   string
	}{
		{"the same", []string{"--marathon", same.URL()}, 0, "0 different"},
		{"the same answers", []string{"--marathon", same.URL(), "--old", page.URL, "--new", page.URL}, 0, "requests  external         1     1"},
		{"different", []string{"--marathon", fullMarathon(t, `,"HAPROXY_0_AUTH":"R:joe:$5$neverShown"`).URL()}, 1, "different  closed"},
		{"a side is away", []string{"--marathon", same.URL(), "--old", page.URL, "--new", away.URL}, 2, "is refused"},
		{"Marathon is away", []string{"--marathon", away.URL}, 2, "the apps cannot be read"},
		{"no Marathon", []string{"--source-file", "apps.yaml"}, 2, "marathon-lb reads Marathon"},
		{"a wrong flag", []string{"--marathon", same.URL(), "--rate", "0"}, 2, "--rate"},
		{"a wrong address", []string{"--marathon", same.URL(), "--old", "lb:80"}, 2, "--old is not a URL"},
		{"an unknown fleet", []string{"--marathon", same.URL(), "--compare-fleet", "internal"}, 2, `no fleet "internal"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			status, stdout, stderr := comparing(t, append(test.args, proxied...)...)
			if status != test.status || !strings.Contains(stdout+stderr, test.says) || strings.Contains(stdout+stderr, "neverShown") {
				t.Errorf("status %d\n%s%s", status, stdout, stderr)
			}
		})
	}
}

// The status is not 0 if a part tells nothing, whatever the others tell.
func TestCompareOutcome(t *testing.T) {
	t.Parallel()
	fine := &compare.Tally{Part: "rules", Compared: 2, Same: 1, CannotTell: 1}
	for want, r := range map[int]*compare.Report{
		0: {Tallies: []*compare.Tally{fine, {Part: "requests"}}},
		1: {Tallies: []*compare.Tally{fine, {Part: "requests", Compared: 3, CannotTell: 2, Different: 1}}},
		2: {Tallies: []*compare.Tally{fine, {Part: "requests", Compared: 3, CannotTell: 3}}},
	} {
		got := 0
		if status, ok := errors.AsType[exitStatus](outcome(r)); ok {
			got = status.status
		}
		if got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
}

func TestCompareFleetsOfTheConfigurationFile(t *testing.T) {
	t.Parallel()
	m := fullMarathon(t, `,"HAPROXY_GROUP":"external,internal"`)
	config := filepath.Join(t.TempDir(), "relay.yaml")
	text := "marathon: [" + m.URL() + "]\nold-strict-mode: true\nfleets:\n- {name: external, http: 0.0.0.0:80}\n- {name: internal, http: 0.0.0.0:8080}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := comparing(t, "--config", config, "-o", "json")
	var r compare.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || status != 1 || len(r.Tallies) != 2 || r.Tallies[0].Fleet != "external" || r.Tallies[1].Fleet != "internal" {
		t.Errorf("status %d, %v\n%s%s", status, err, stdout, stderr)
	}
	if !strings.Contains(stdout, "strict-mode asks for HAPROXY_0_ENABLED") {
		t.Error("the setting of the file has no effect")
	}
	if status, _, stderr := comparing(t, "--config", config, "--old", "http://lb.test"); status != 2 || !strings.Contains(stderr, "--compare-fleet NAME") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestCompareCertificatesByRules(t *testing.T) {
	t.Parallel()
	m := fullMarathon(t, "")
	for name, domain := range map[string]string{"covered": "a.test", "uncovered": "b.test"} {
		file := filepath.Join(t.TempDir(), "x.pem")
		if err := os.WriteFile(file, certstest.TestCA(t).TestIssue(t, []string{domain}, certstest.Options{}).Bundle(), 0o600); err != nil {
			t.Fatal(err)
		}
		status, stdout, stderr := comparing(t, "--marathon", m.URL(), "--https", "0.0.0.0:443", "--certs-dir", file)
		if want := map[string]int{"covered": 0, "uncovered": 1}[name]; status != want || strings.Contains(stdout, "has no certificate that clients accept") != (want == 1) {
			t.Errorf("%s: status %d\n%s%s", name, status, stdout, stderr)
		}
	}
}

func TestCompareInterrupted(t *testing.T) {
	t.Parallel()
	m := fullMarathon(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	page := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer page.Close()
	var out, err bytes.Buffer
	status := run(ctx, []string{"compare", "--marathon", m.URL(), "--old", page.URL, "--old-admin", "none", "--trusted-proxies", "127.0.0.0/8", "--https-public-port", "443"}, &out, &err)
	if status != statusNotCompared || !strings.Contains(out.String(), "this is what was known by then") || !strings.Contains(out.String(), "rules  external") {
		t.Errorf("status %d\n%s%s", status, out.String(), err.String())
	}
}
