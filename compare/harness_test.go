package compare_test

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/collator/routing"
	"relay/compare"
	"relay/compare/marathonlb"
	"relay/internal/relay"
	"relay/sources/marathon"
	"relay/sources/marathon/marathontest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// app is an app with one port of the fleet external and a task.
type app struct {
	id     string
	labels map[string]string
	// port is the service port, and taskPort that of the task; both have a default.
	port, taskPort int
	// stopped leaves the app without tasks.
	stopped bool
	// more replaces or adds fields.
	more map[string]any
}

func (a app) json(t *testing.T) (id string, raw json.RawMessage) {
	t.Helper()
	labels := map[string]string{"HAPROXY_GROUP": "external"}
	for name, value := range a.labels {
		labels[name] = value
	}
	if a.port == 0 {
		a.port = 10000
	}
	if a.taskPort == 0 {
		a.taskPort = 31000
	}
	tasks := []any{}
	if !a.stopped {
		tasks = append(tasks, map[string]any{
			"id": strings.ReplaceAll(a.id[1:], "/", "_") + ".1", "host": "127.0.0.1", "ports": []int{a.taskPort}, "state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z",
		})
	}
	fields := map[string]any{
		"id": a.id, "instances": len(tasks), "labels": labels, "portDefinitions": []any{map[string]any{"port": a.port, "protocol": "tcp"}}, "tasks": tasks,
	}
	for name, value := range a.more {
		fields[name] = value
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return a.id, raw
}

// settings are what Relay and marathon-lb run with.
type settings struct {
	options marathonlb.Options
	// fleet may change the fleet.
	fleet func(*routing.Fleet)
}

// sidesOf has Relay read the apps from a Marathon, and returns both sides.
func sidesOf(t *testing.T, set settings, apps ...app) *compare.Sides {
	t.Helper()
	m := marathontest.Start(t, marathontest.Options{})
	for _, a := range apps {
		id, raw := a.json(t)
		m.SetRawApp(id, raw)
	}
	var read []marathonlb.App
	fleet := routing.Fleet{Name: "external", HTTP: netip.MustParseAddrPort("0.0.0.0:80"), Options: routing.DefaultOptions()}
	if set.fleet != nil {
		set.fleet(&fleet)
	}
	config := relay.Config{
		Apps: relay.Apps{ACME: "/marathon-acme", Marathon: marathon.Config{URLs: []string{m.URL()}, OnFullRead: func() func([]byte) {
			read = nil
			return func(text []byte) {
				one, err := marathonlb.Read(text)
				if err != nil {
					t.Error(err)
				}
				read = append(read, one)
			}
		}}},
		Fleets: []relay.Fleet{{Fleet: fleet}},
	}
	c, unread, err := relay.ReadOnce(t.Context(), config, 20*time.Second)
	if err != nil || len(unread) > 0 {
		t.Fatal(err, unread)
	}
	if len(read) != len(apps) {
		t.Fatalf("%d of %d apps were read for marathon-lb", len(read), len(apps))
	}
	if len(set.options.Groups) == 0 {
		set.options.Groups = []string{"external"}
	}
	sides, err := compare.NewSides(c, "external", read, set.options)
	if err != nil {
		t.Fatal(err)
	}
	return sides
}

// brief writes findings as one line each: verdict, kind and subject, and what else is asked
// for.
func brief(r *compare.Report, also ...func(compare.Finding) string) (lines []string) {
	r.Sort()
	for _, f := range r.Findings {
		line := string(f.Verdict) + " " + string(f.Kind) + " " + f.Subject
		for _, more := range also {
			line += " | " + more(f)
		}
		lines = append(lines, line)
	}
	return lines
}

// without leaves out the lines that have one of the texts.
func without(lines []string, texts ...string) []string {
	return slices.DeleteFunc(lines, func(line string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) })
	})
}

// golden compares with a file, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := "testdata/" + name
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}
