package deploy_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// promtool runs Prometheus' own checker in this folder.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Fatal("promtool is missing: make programs installs it")
	}
	if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Prometheus takes its settings and the alert rules, and each alert fires when it should and
// not otherwise.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "config", "prometheus.yml") // and the rules that it names
	promtool(t, "test", "rules", "alerts_test.yaml", "alerts_probes_test.yaml", "alerts_apps_test.yaml")
}

type alertRule struct {
	Alert       string
	Labels      struct{ Severity string }
	Annotations struct{ Summary, Description, Runbook string }
}

func alertRules(t *testing.T) (all []alertRule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alertRule }
	}
	if err := yaml.Unmarshal(readFile(t, "alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, slices.DeleteFunc(g.Rules, func(r alertRule) bool { return r.Alert == "" })...) // those that record
	}
	if len(all) < 20 {
		t.Fatalf("only %d alerts", len(all))
	}
	return all
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Each alert says what it means and has a part in the runbook, with what to see and to do. Each
// has a test that it fires, and one that it is quiet.
func TestAlertsHaveRunbooks(t *testing.T) {
	t.Parallel()
	runbook, tests := string(readFile(t, "../docs/runbook.md")), string(readFile(t, "alerts_test.yaml"))+string(readFile(t, "alerts_probes_test.yaml"))+string(readFile(t, "alerts_apps_test.yaml"))
	parts := make(map[string]string)
	for part := range strings.SplitSeq(runbook, "\n## ") {
		heading, text, _ := strings.Cut(part, "\n")
		parts[heading] = text
	}
	for _, a := range alertRules(t) {
		if a.Annotations.Summary == "" || a.Annotations.Description == "" {
			t.Errorf("%s: the summary or description is missing", a.Alert)
		}
		if want := "docs/runbook.md#" + strings.ToLower(a.Alert); a.Annotations.Runbook != want {
			t.Errorf("%s: the runbook is %q, want %q", a.Alert, a.Annotations.Runbook, want)
		}
		if !regexp.MustCompile(`^(critical|warning|info)$`).MatchString(a.Labels.Severity) {
			t.Errorf("%s: the severity is %q", a.Alert, a.Labels.Severity)
		}
		for _, words := range []string{"**It means:**", "**See:**", "**Do:**"} {
			if !strings.Contains(parts[a.Alert], words) {
				t.Errorf("docs/runbook.md has no %s of %s", words, a.Alert)
			}
		}
		for _, test := range []string{" fires\n", " is quiet\n"} {
			if !strings.Contains(tests, "- name: "+a.Alert+test) && a.Alert+test != "RelayWatchdog is quiet\n" {
				t.Errorf("alerts_test.yaml has no test that %s%s", a.Alert, test)
			}
		}
		delete(parts, a.Alert)
	}
	for heading := range parts {
		if !strings.HasPrefix(heading, "# ") {
			t.Errorf("docs/runbook.md has a part %s, which is no alert", heading)
		}
	}
}
