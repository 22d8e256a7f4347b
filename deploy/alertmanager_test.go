package deploy_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// amtool runs Alertmanager's own checker in this folder.
func amtool(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("amtool"); err != nil {
		t.Fatal("amtool is missing: make programs installs it")
	}
	out, err := exec.Command("amtool", args...).CombinedOutput()
	if err != nil {
		t.Errorf("amtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Alertmanager takes its settings, and who is told of an alert follows from its severity and its owner: whoever
// runs the platform is not woken by one app.
func TestAlertmanager(t *testing.T) {
	t.Parallel()
	amtool(t, "check-config", "alertmanager.yml")
	for labels, receiver := range map[string]string{
		"alertname=RelayWatchdog severity=info":                                                    "watchdog",
		"alertname=RelayEdgeDown severity=critical fleet=external envoy=edge-1":                    "platform-pager",
		"alertname=RelayDeviceFails severity=critical fleet=devices owner=":                        "platform-pager",
		"alertname=RelayProbeFails severity=warning app=/b owner=":                                 "platform-chat",
		"alertname=RelayDomainByPlainHTTPOnly severity=info fleet=external":                        "platform-mail",
		"alertname=RelayAppErrorsFast severity=critical app=/shop owner=shop fleet=external":       "shop-pager",
		"alertname=RelayAppErrorsSlow severity=warning app=/shop owner=shop fleet=external":        "shop-chat",
		"alertname=RelayAppProbeFails severity=critical app=/b owner=nobody-knows":                 "owners-chat",
		"alertname=RelayAppErrorsFast severity=critical app=/b owner=a.b@example.com":              "owner-mail",
		"alertname=RelayAppErrorsFast severity=critical app=/b owner=a.b@elsewhere.test":           "owners-chat",
		"alertname=RelayAppErrorsFast severity=critical app=/b owner=x/a@example.com":              "owners-chat",
		"alertname=RelayAppErrorsFast severity=critical app=/b owner=a@example.com.elsewhere.test": "owners-chat",
		"alertname=RelayManyAppsFail severity=critical fleet=external":                             "platform-pager",
		"alertname=RelayProbeCertificateExpires severity=warning domain=a.test":                    "platform-chat",
	} {
		t.Run(labels, func(t *testing.T) {
			t.Parallel()
			amtool(t, append([]string{"config", "routes", "test", "--config.file", "alertmanager.yml", "--verify.receivers", receiver}, strings.Fields(labels)...)...)
		})
	}
}

type inhibitRule struct {
	Source []string `json:"source_matchers"`
	Target []string `json:"target_matchers"`
	Equal  []string
}

var alertNamed = regexp.MustCompile(`^alertname=~?"([A-Za-z|]+)"$`)

// names are the alerts that matchers of a rule are for.
func (r inhibitRule) names(t *testing.T, matchers []string) []string {
	t.Helper()
	if len(matchers) != 1 || !alertNamed.MatchString(matchers[0]) {
		t.Fatalf("a rule is for %q: it is to name alerts", matchers)
	}
	return strings.Split(alertNamed.FindStringSubmatch(matchers[0])[1], "|")
}

// What keeps an alert quiet is one that exists, and wakes somebody at least as soon: nothing is hidden by a warning.
func TestNothingIsHiddenByLess(t *testing.T) {
	t.Parallel()
	var file struct {
		Rules []inhibitRule `json:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(readFile(t, "alertmanager.yml"), &file); err != nil {
		t.Fatal(err)
	}
	rank := []string{"info", "warning", "critical"}
	severity := make(map[string]int)
	for _, a := range alertRules(t) {
		severity[a.Alert] = slices.Index(rank, a.Labels.Severity) + 1
	}
	if len(file.Rules) < 5 {
		t.Errorf("only %d rules", len(file.Rules))
	}
	for _, r := range file.Rules {
		for _, source := range r.names(t, r.Source) {
			for _, target := range r.names(t, r.Target) {
				switch {
				case severity[source] == 0 || severity[target] == 0:
					t.Errorf("%s keeps %s quiet: one of them is no alert of alerts.yaml", source, target)
				case severity[source] < severity[target]:
					t.Errorf("%s keeps %s quiet, and is less severe", source, target)
				case source == target || source == "RelayWatchdog" || target == "RelayWatchdog":
					t.Errorf("%s keeps %s quiet", source, target)
				}
			}
		}
	}
}
