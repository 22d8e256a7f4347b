package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenCommands are what people type, and the names of the files that have what they see.
var goldenCommands = map[string][]string{
	"status":            {"status"},
	"status-nagios":     {"status", "--nagios"},
	"apps":              {"apps"},
	"app":               {"app", "/shop/web"},
	"app-asleep":        {"app", "/shop/report"},
	"domains":           {"domains"},
	"domain":            {"domain", "cart.test"},
	"domain-unknown":    {"domain", "nowhere.test"},
	"explain":           {"explain", "cart.test"},
	"envoys":            {"envoys"},
	"envoy":             {"envoys", "e-2"},
	"certs":             {"certs"},
	"cert":              {"certs", "shop.test"},
	"authorities":       {"authorities"},
	"problems":          {"problems"},
	"problems-filter":   {"problems", "-q", "vhost"},
	"changes":           {"changes"},
	"failures":          {"failures"},
	"failures-filter":   {"failures", "-q", "BASKET"},
	"failures-yaml":     {"failures", "-q", "offline", "-o", "yaml"},
	"problems-json":     {"problems", "-q", "vhost", "--limit", "1", "-o", "json"},
	"tail":              {"tail", "/shop/web"},
	"diff":              {"diff", "/shop/web"},
	"config-dump":       {"config-dump", "external"},
	"config-dump-names": {"config-dump", "external", "-o", "table"},
	"apps-unknown":      {"app", "/none"},
	"deployment":        {"deployment", "imp"},
	"deployment-step":   {"deployment", "imp", "advance"},
	"deployments":       {"deployment"},
	"incidents":         {"incident"},
	"incident":          {"incident", "list", "2026-11-30-k3v7q2xa"},
	"incident-open":     {"incident", "open", "Logins are slow", "--services", "Devices,Shop", "--text", "We look into it."},
	"apps-yaml":         {"apps", "-o", "yaml"},
}

// TestCommandLineGoldens holds what people see of each command.
func TestCommandLineGoldens(t *testing.T) {
	f := newFakeRelay(t)
	for name, args := range goldenCommands {
		status, out, errs := command(t, args...)
		golden(t, name, f.shown(transcript(args, out+errs, status)))
	}
	stray(t)
}

// transcript is a command with what it says.
func transcript(args []string, text string, status int) string {
	words := []string{"$ relay"}
	for _, arg := range args {
		words = append(words, quotedWord(arg))
	}
	text = strings.Join(words, " ") + "\n" + text
	if status != 0 {
		text += fmt.Sprintf("[status %d]\n", status)
	}
	return text
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "cli", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(-update writes it anew)", name, got, want)
	}
}

// stray finds golden files of no command.
func stray(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("testdata/cli/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if goldenCommands[name] != nil || name == "watch" {
			continue
		}
		if *update {
			_ = os.Remove(file)
			continue
		}
		t.Errorf("%s is of no command", file)
	}
}

// JSON is the answer of the API as it is, and YAML says the same.
func TestOutputIsTheAnswer(t *testing.T) {
	f := newFakeRelay(t)
	for path, args := range map[string][]string{
		"status": {"status"}, "apps": {"apps"}, "apps/shop/web": {"app", "/shop/web"}, "deployments": {"deployment"}, "deployments/imp": {"deployment", "imp"}, "incidents": {"incident"}, "domains": {"domains"}, "domains/cart.test": {"domain", "cart.test"},
		"envoys": {"envoys"}, "envoys/external/e-2": {"envoys", "external/e-2"}, "certificates": {"certs"}, "certificates/vault/shop.test": {"certs", "vault/shop.test"}, "authorities": {"authorities"},
		"problems": {"problems"}, "changes": {"changes"}, "failures": {"failures"}, "diff": {"diff", "/shop/web"}, "config-dump": {"config-dump", "external"},
	} {
		want, err := indented(f.answers[path])
		if err != nil {
			t.Fatal(err)
		}
		_, out, errs := command(t, append(args, "-o", "json")...)
		if out != string(want) || errs != "" {
			t.Errorf("%s: %s%s\nwant\n%s", path, out, errs, want)
		}
		_, out, errs = command(t, append(args, "-o", "yaml")...)
		var fromYAML, fromJSON any
		if err := yaml.Unmarshal([]byte(out), &fromYAML); err != nil {
			t.Errorf("%s: %v in %s%s", path, err, out, errs)
		}
		if err := yaml.Unmarshal(want, &fromJSON); err != nil || !reflect.DeepEqual(fromYAML, fromJSON) {
			t.Errorf("%s: the YAML says something else (%v):\n%s", path, err, out)
		}
	}
}

// Flags become what the API knows.
func TestQueries(t *testing.T) {
	for want, args := range map[string][]string{
		"apps?fleet=external&q=sh+op&sort=errors":       {"apps", "-q", "sh op", "--sort", "errors", "--fleet", "external"},
		"apps?phase=asleep&sort=id":                     {"apps", "--phase", "asleep"},
		"domains?fleet=lab&sort=failures":               {"domains", "--sort", "failures", "--fleet", "lab"},
		"envoys?fleet=external&q=e-":                    {"envoys", "--filter", "e-", "--fleet", "external"},
		"certificates?q=shop":                           {"certs", "-q", "shop"},
		"authorities?q=track":                           {"authorities", "-q", "track"},
		"problems?app=%2Fa&kind=tasks&severity=failing": {"problems", "/a", "--kind", "tasks", "--severity", "failing"},
		"changes?app=%2Fa&certificate=c&q=x":            {"changes", "/a", "--certificate", "c", "-q", "x"},
		"failures?app=%2Fa&code=offline":                {"failures", "/a", "--code", "offline"},
		"failures?domain=a.test&fleet=external":         {"failures", "a.test", "--fleet", "external"},
		"config-dump?fleet=external&name=n&type=t":      {"config-dump", "external", "--type", "t", "--resource", "n"},
		"diff?app=%2Fshop%2Fweb":                        {"diff", "/shop/web"},
		"apps/shop/a%3Fb%20%23":                         {"app", "/shop/a?b #"},
	} {
		f := newFakeRelay(t)
		command(t, args...)
		if len(f.asked) != 1 || f.asked[0] != want {
			t.Errorf("relay %q asks for %q, want %q", args, f.asked, want)
		}
	}
}

// A stream that ends is opened again after its last event, and an interrupted command is a good
// one.
func TestWatch(t *testing.T) {
	f := newFakeRelay(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, errs := &awaited{text: "solved", seen: stop}, &awaited{text: "\x00", seen: func() {}}
	status := run(ctx, []string{"watch", "--only", "status,change,failure,problem"}, out, errs)
	golden(t, "watch", f.shown(transcript([]string{"watch", "--only", "status,change,failure,problem"}, errs.String()+out.String(), status)))
	for _, format := range []string{"json", "yaml"} {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		out := &awaited{text: "typo", seen: stop}
		out.text = `ended`
		if status := run(ctx, []string{"watch", "-o", format}, out, errs); status != 0 {
			t.Errorf("%s: status %d", format, status)
		}
		for part := range strings.SplitSeq(strings.TrimSpace(out.String()), map[string]string{"json": "\n", "yaml": "---\n"}[format]) {
			var e struct {
				Event string
				Data  map[string]any
			}
			err := yaml.Unmarshal([]byte(part), &e)
			if format == "json" {
				err = json.Unmarshal([]byte(part), &e)
			}
			if part != "" && (err != nil || e.Event == "" || e.Event == "status" || len(e.Data) == 0) {
				t.Errorf("%s: %v: %s", format, err, part)
			}
		}
	}
}
