package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/credentials"

	"relay/certs/certstest"
	"relay/collator/collatortest"
	"relay/sources/marathon/marathontest"
	"relay/xds"
	"relay/xds/xdstest"
)

// unsteady is what is another in each run, and what stands in for it.
var unsteady = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`valid until \d{4}-\d\d-\d\d`), "valid until DATE"},
	{regexp.MustCompile(`instance-[0-9a-f-]{36}`), "instance-ID"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`[0-9a-f]{64}`), "FINGERPRINT"},
	{regexp.MustCompile(`"/tmp/[^"]*/`), `"/DIRECTORY/`},
	{regexp.MustCompile(`/tmp/[^" ]*/`), "/DIRECTORY/"},
	{regexp.MustCompile(`("version": ")2\d{3}-[^"]*`), "${1}VERSION"},
	{regexp.MustCompile(`\[(\s*(null|[\d.]+),?)+\s*\]`), "VALUES"},
	{regexp.MustCompile(`("revision|"sent|"acked)": \d+`), `${1}": N`},
}

// The JSON of the admin endpoint is an interface: people's programs read it.
func TestAdminJSON(t *testing.T) {
	w := newWorld(t)
	w.certs.put("a.pem", []string{"a.test", "*.zone.test"}, certstest.Options{})
	w.certs.put("unused.pem", []string{"unused.test"}, certstest.Options{NotBefore: time.Now().AddDate(0, 0, -90), NotAfter: time.Now().AddDate(0, 0, -1)})
	running := func(id, host string, more func(*marathontest.Task)) marathontest.Task {
		task := marathontest.Task{ID: id, Host: host, Ports: []int{31000}, State: "TASK_RUNNING", StartedAt: "2026-01-01T00:00:00.000Z", Version: "2026-01-01T00:00:00.000Z"}
		if more != nil {
			more(&task)
		}
		return task
	}
	err := w.marathon.LoadApps(
		marathontest.App{Definition: app("/a", "a.test,uncovered.test", 3, "HAPROXY_0_REDIRECT_TO_HTTPS", "true", "HAPROXY_0_VHOSTS", "typo.test"), Tasks: []marathontest.Task{
			running("a.1", "10.0.0.1", func(t *marathontest.Task) { t.Region, t.Zone = "eu", "eu-1a" }),
			running("a.2", "10.0.0.2", func(t *marathontest.Task) { t.State = "TASK_KILLING" }),
			running("a.3", "10.0.0.3", func(t *marathontest.Task) { t.State = "TASK_STAGING" }),
		}},
		marathontest.App{Definition: `{"id":"/plain","instances":1,"portDefinitions":[{"port":0,"name":"metrics"},{"port":0}]}`, Tasks: []marathontest.Task{
			running("plain.1", "10.0.0.4", func(t *marathontest.Task) { t.Ports = []int{31000, 31001} }),
		}},
	)
	if err != nil {
		t.Fatal(err)
	}
	w.relay.secure()
	w.relay.start()
	w.admin.awaitReady()
	c := xdstest.ConnectBy(t, credentials.NewTLS(w.certs.clientOf(w.certs.ca, certstest.Options{})), w.relay.config.XDS.Address, "external", "edge-1")
	c.Version(1, 40, 0)
	c.Subscribe(xds.Cluster.URL())
	r := c.Next()
	c.Ack(r)
	c.Subscribe(xds.Endpoint.URL(), "/a_0")
	c.Nack(c.Next(), "no such zone")
	c.Ack(c.Next())
	w.admin.problem("Envoy edge-1", "no such zone")
	w.admin.acknowledged()
	w.eventually("the versions of the tasks are looked for", func() error {
		if _, got := w.admin.get("/api/v1/explain?subject=a.test"); strings.Contains(got, "still to be read") {
			return errors.New(got)
		}
		return nil
	})

	for _, page := range []struct{ name, path string }{
		{"apps", "/api/v1/apps"}, {"app", "/api/v1/apps/a"}, {"certificates", "/api/v1/certificates"}, {"fleets", "/api/v1/fleets"},
		{"problems", "/api/v1/problems"}, {"sources", "/api/v1/sources"}, {"uncovered", "/api/v1/uncovered"}, {"explain", "/api/v1/explain?subject=a.test"},
		{"status", "/api/v1/status"}, {"domains", "/api/v1/domains"}, {"domain", "/api/v1/domains/a.test"}, {"envoys", "/api/v1/envoys"},
		{"envoy", "/api/v1/envoys/external/edge-1"}, {"certificate", "/api/v1/certificates/dir" + filepath.Join(w.certs.dir, "a.pem")},
	} {
		status, got := w.admin.get(page.path)
		if status != http.StatusOK {
			t.Errorf("%s: status %d", page.path, status)
		}
		var indented bytes.Buffer
		if err := json.Indent(&indented, []byte(got), "", "  "); err != nil {
			t.Errorf("%s: %v", page.path, err)
		}
		got = indented.String()
		equalsGolden(t, filepath.Join("..", "testdata", "admin", page.name+".json"), got)
	}
	c.Close()
	w.eventually("the Envoy is told of though it has left", func() error {
		_, list := w.admin.get("/api/v1/envoys?state=disconnected")
		_, one := w.admin.get("/api/v1/envoys/external/edge-1")
		_, status := w.admin.get("/api/v1/status")
		if !strings.Contains(list, `"id": "edge-1"`) || !strings.Contains(one, `"state": "disconnected"`) || !strings.Contains(status, `"disconnected":[{"id":"edge-1"`) {
			return errors.New(list + one + status)
		}
		return nil
	})
}

// equalsGolden compares a text with a file, but for what is another in each run.
func equalsGolden(t *testing.T, file, got string) {
	t.Helper()
	for _, u := range unsteady {
		got = u.pattern.ReplaceAllString(got, u.instead)
	}
	if *collatortest.Update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("it differs from %s (-want +got); run with -update if it should:\n%s", file, diff)
	}
}
