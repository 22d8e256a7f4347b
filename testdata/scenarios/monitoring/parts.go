package monitoring

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"relay/certs/certstest"
	"relay/deploy"
	"relay/testdata/scenarios/scenario"
)

// parts are the programs that watch, and where they are.
type parts struct {
	*system
	// outside is where relay probe says what it found, and page the status page that it has.
	outside, page string
	// prometheus and alertmanager are empty if they are not installed.
	prometheus, alertmanager string
}

// prepare writes the settings. Each place that asks needs an address of its own for the calls of agents.
func (m *parts) prepare(s *scenario.Scenario, r *scenario.Run) error {
	m.agent = func() string { return fmt.Sprintf("127.0.0.1:%d", r.Marathon.Tasks(agentsApp)[0].Ports[0]) }
	device, err := r.CA.Issue([]string{"device-1.monitoring.test"}, certstest.Options{URIs: []*url.URL{{Scheme: "spiffe", Host: "monitoring.test", Path: "/device-1"}}})
	if err != nil {
		return err
	}
	m.outside, m.page = r.Reserve(), r.Reserve()
	files := map[string]string{
		"ca.pem": string(r.CA.RootPEM()), "device.pem": string(certstest.Join(device.Leaf, device.Chain)), "device.key": string(device.Key),
		"page.yaml": fmt.Sprintf(page, m.page, r.Admin(), m.outside),
	}
	for _, place := range []string{"relay", "outside", "once"} {
		_, port, _ := strings.Cut(r.Port("devices"), ":")
		files[place+".yaml"] = strings.NewReplacer("DIR", r.Path(""), "PORT", port, "CALLBACK", r.Reserve()).Replace(probes)
	}
	err = r.Directory.PutFile("devices.ca.pem", r.CA.RootPEM())
	for name, text := range files {
		_, failed := r.WriteFile(probeFile(name), text)
		err = errors.Join(err, failed)
	}
	s.Flags = []string{"--probes", "--probe-place", "relay", "--probe-file", r.Path(probeFile("relay.yaml")), "--status-page-file", r.Path("page.yaml")}
	return err
}

// probeFile is the name of a file with settings of probes.
func probeFile(name string) string {
	if name == "page.yaml" || filepath.Ext(name) != ".yaml" {
		return name
	}
	return "probes-" + name
}

// probes are the settings of each place that asks.
const probes = `interval: 5s
timeout: 3s
ca-file: DIR/ca.pem
callback: {listen: "CALLBACK", url: "http://CALLBACK/callback"}
devices:
- name: device-1
  app: /devices
  port: PORT
  server-name: devices.monitoring.test
  certificate: DIR/device.pem
  key: DIR/device.key
  id: device-1
  hello: {send: "HELLO {id}\n", expect: "^WELCOME {id}$"}
  message-to-agent: {send: "SAY {nonce}\n", expect: "^HEARD {nonce}$"}
  message-from-agent: {expect: "^agent {id} heard {nonce}$"}
  http-to-agent: {url: "https://agents.monitoring.test/agents/{id}?n={nonce}", expect: "^agent {id} heard {nonce}$"}
  http-from-agent: {request: {method: POST, url: "https://agents.monitoring.test/agents/{id}/calls?to={callback}"}}
`

// page are the settings of the status page, for Relay and for relay probe.
const page = `title: Example Platform
url: http://%s/
services:
- {name: Shop, description: Where things are bought, domains: [shop.monitoring.test]}
- {name: Search, description: Where they are found, domains: [search.monitoring.test]}
- {name: Devices, description: Connections of devices and their agents, probes: ["device-*"]}
places:
- {name: relay, url: "%s"}
- {name: outside, url: "http://%s"}
`

// startProbe starts relay probe, which has the status page: it lives when Relay does not.
func (m *parts) startProbe(r *scenario.Run) error {
	state := r.Path("outside")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	return r.Launch("probe", r.Relay(), "probe", "--relay", r.Admin(), "--probe-file", r.Path("probes-outside.yaml"), "--probe-place", "outside", "--listen", m.outside,
		"--status-page", m.page, "--status-page-file", r.Path("page.yaml"), "--state-dir", state)
}

// startAlerts starts Prometheus and Alertmanager, if they are installed. Whom Alertmanager tells is said.
func (m *parts) startAlerts(r *scenario.Run) error {
	prometheus, missing := exec.LookPath("prometheus")
	alertmanager, alsoMissing := exec.LookPath("prometheus-alertmanager")
	if missing != nil || alsoMissing != nil {
		return nil
	}
	m.prometheus, m.alertmanager = r.Reserve(), r.Reserve()
	routes, err := routesTo(r.Serve(told{r}))
	if err != nil {
		return err
	}
	var failed error
	write := func(name, text string) string {
		path, err := r.WriteFile(name, text)
		failed = errors.Join(failed, err)
		return path
	}
	settings := write("prometheus.yml", fmt.Sprintf(prometheusSettings, write("alerts.yaml", quickRules()), m.alertmanager, strings.TrimPrefix(r.Admin(), "http://"), m.outside))
	config := write("alertmanager.yml", routes)
	return errors.Join(failed,
		r.Launch("alertmanager", alertmanager, "--config.file", config, "--storage.path", r.Path("alertmanager"), "--web.listen-address", m.alertmanager, "--cluster.listen-address", ""),
		r.Launch("prometheus", prometheus, "--config.file", settings, "--storage.tsdb.path", r.Path("prometheus"), "--web.listen-address", m.prometheus))
}

const prometheusSettings = `global: {scrape_interval: 2s, evaluation_interval: 2s}
rule_files: [%q]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs:
- {job_name: relay, static_configs: [{targets: [%q]}]}
- {job_name: probe, static_configs: [{targets: [%q]}]}
`

var minutes = regexp.MustCompile(`(?m)^    for: \d+m$`)

// quickRules are those of deploy, but that what has to last for minutes has to last for half a minute: people who look at
// a demo do not wait. RelayFleetDown fires before, and so it is told in place of what follows from it.
func quickRules() string { return minutes.ReplaceAllString(deploy.Alerts, "    for: 30s") }

// routesTo is the configuration of Alertmanager in deploy, with receivers that are all at one URL, each at its name.
func routesTo(url string) (string, error) {
	var settings struct {
		Route     map[string]any   `yaml:"route"`
		Inhibit   []any            `yaml:"inhibit_rules"`
		Receivers []map[string]any `yaml:"receivers"`
	}
	if err := yaml.Unmarshal([]byte(deploy.Alertmanager), &settings); err != nil {
		return "", err
	}
	settings.Route["group_wait"], settings.Route["group_interval"] = "2s", "5s"
	for i, receiver := range settings.Receivers {
		name := fmt.Sprint(receiver["name"])
		settings.Receivers[i] = map[string]any{"name": name, "webhook_configs": []any{map[string]any{"url": url + "/" + name, "send_resolved": name != watchdog}}}
	}
	text, err := yaml.Marshal(settings)
	return string(text), err
}

// runOut has the certificate of the search replaced by one that lives for so long.
func runOut(r *scenario.Run, after time.Duration) error {
	issued, err := r.CA.Issue([]string{searchDomain}, certstest.Options{NotAfter: time.Now().Add(after)})
	if err != nil {
		return err
	}
	return errors.Join(r.Directory.Put(searchDomain, issued), r.ReadCertificates())
}

// renew has it replaced by one that lives long.
func renew(r *scenario.Run) error { return runOut(r, 60*24*time.Hour) }
