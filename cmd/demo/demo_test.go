package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/yaml"

	"relay/sources/marathon/marathontest"
)

// commands returns the lines that the demo printed for people to run.
func commands(guide string) []string {
	var all []string
	for lines := bufio.NewScanner(strings.NewReader(guide)); lines.Scan(); {
		line := lines.Text()
		program, _, _ := strings.Cut(line, " ")
		if program != "curl" && program != "export" && filepath.Base(program) != "relay" {
			continue
		}
		for strings.HasSuffix(line, `\`) && lines.Scan() {
			line += "\n" + lines.Text()
		}
		all = append(all, line)
	}
	return all
}

// shell runs a line as a user's shell would.
func shell(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", line).CombinedOutput()
	if err != nil {
		t.Errorf("%s\n%v\n%s", line, err, out)
	}
	return string(out)
}

// expected are the printed lines in their order: a part of each, and a part of
// its answer.
var expected = []struct{ line, answer, mode string }{
	{"/traffic/off", "sends nothing", ""},
	{"http://web.test", `"app": "/web"`, ""},
	{"https://web.test", `"app": "/web"`, ""},
	{"http://shop.test", "301 Moved Permanently", ""},
	{"http://api.test", `Basic realm="API"`, ""},
	{"http://api.test", "access-control-allow-origin: https://shop.test", ""},
	{"/old/x", "308 Permanent Redirect", ""},
	{"[1-9]", "429", ""},
	{"https://ada.tenants.test", `"app": "/tenants"`, ""},
	{"http://blog.test", "503 Service Unavailable", ""},
	{"http://nobody.test", "404 Not Found", ""},
	{"/.well-known/acme-challenge/", `"app": "/marathon-acme"`, ""},
	{`"instances":4`, "deploymentId", ""},
	{`"RELEASE":"2"`, "deploymentId", ""},
	{"-X DELETE", "TASK_RUNNING", ""},
	{`"id":"/new"`, "deploymentId", ""},
	{"http://new.test", `"app": "/new"`, ""},
	{"-X DELETE", "deploymentId", ""},
	{"X-Vault-Token", `dns_names`, "vault"},
	{"start date", "start date", ""},
	{"/renew/web.test", "stored a new certificate for web.test", ""},
	{"/_mlb_signal/usr1", "204 No Content", ""},
	{"export RELAY_ADMIN=", "", ""},
	{" status", "marathon  followed", ""},
	{" domain shop.test", "shop.test: served", ""},
	{" app /web", "HAPROXY_0_VHOST=web.test,www.web.test", ""},
	{" diff /web", "/web_0", ""},
	{" domain blog.test", "scaled to 0", ""},
	{" tail web.test", "/followed", ""},
	{" watch", "/news: port 0: ", ""},
	{"/api/v1/problems", "did you mean HAPROXY_0_REDIRECT_TO_HTTPS", ""},
	{"/api/v1/apps/web", `"id": "/web"`, ""},
	{"/api/v1/certificates", "*.tenants.test", ""},
	{"/api/v1/fleets", "demo-envoy", ""},
	{"/readyz", "ready", ""},
	{"/metrics", "relay_xds_streams", ""},
	{" app /nightly", "asleep", ""},
	{"http://nightly.test", `"app": "/nightly"`, ""},
	{"/clusters", "web", ""},
	{"/config_dump", "https", ""},
}

func TestDemo(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("this test runs the curl lines that the demo prints: install curl")
	}
	for _, mode := range []struct {
		certs    string
		children int
		end      syscall.Signal
	}{{"dir", 2, syscall.SIGINT}, {"vault", 3, syscall.SIGTERM}} {
		t.Run(mode.certs, func(t *testing.T) {
			t.Parallel()
			p := launch(t, nil, "--certs", mode.certs)
			p.ready()
			children := p.children(mode.children)
			for i, line := range strings.Split(p.guide, "\n") {
				// The test's own temporary folder has a longer name than a user's.
				if n := len(strings.ReplaceAll(line, p.tmp, "/tmp")); n > 120 {
					t.Errorf("line %d has %d columns: %s", i, n, line)
				}
			}
			p.first = p.served("web.test")
			p.runAll(mode.certs)
			p.alertsName()
			if err := p.cmd.Process.Signal(mode.end); err != nil {
				t.Fatal(err)
			}
			if err := p.ends(); err != nil {
				t.Errorf("the demo ended with %v", err)
			}
			p.leavesNothing(children)
		})
	}
}

// runAll runs the printed lines in order and checks what they do.
func (p *process) runAll(certs string) {
	t := p.t
	t.Helper()
	lines := commands(p.guide)
	for _, want := range expected {
		if want.mode != "" && want.mode != certs {
			continue
		}
		if len(lines) == 0 {
			t.Fatalf("no line with %s was printed", want.line)
		}
		line := lines[0]
		lines = lines[1:]
		if !strings.Contains(line, want.line) {
			t.Fatalf("the next line is not the one with %s: %s", want.line, line)
		}
		switch setting, exported := strings.CutPrefix(line, "export "); {
		case exported:
			p.exported = append(p.exported, setting)
		case strings.HasSuffix(line, " tail web.test"):
			p.follow(line, want.answer, func() {
				shell(t, fmt.Sprintf("curl -s --resolve web.test:%[1]s:127.0.0.1 http://web.test:%[1]s/followed", p.ports["http"]))
			})
		case strings.HasSuffix(line, " watch"):
			p.post("on")
			p.follow(line, want.answer, func() {})
			p.post("off")
		case !strings.HasPrefix(line, "curl "):
			p.ask(line, want.answer)
		default:
			p.run(line, want.answer)
			p.check(want.line)
		}
	}
	if len(lines) > 0 {
		t.Errorf("lines that nobody expects: %q", lines)
	}
}

// run runs one line. What only asks may have to ask again, as a user does who
// is faster than Marathon.
func (p *process) run(line, answer string) {
	p.t.Helper()
	if strings.Contains(line, "-X") {
		p.idle()
		if out := shell(p.t, line); !strings.Contains(out, answer) {
			p.t.Errorf("%s\nanswered without %q:\n%s", line, answer, out)
		}
		return
	}
	eventually(p.t, line, func() error {
		if out := shell(p.t, line); !strings.Contains(out, answer) {
			return fmt.Errorf("answered without %q:\n%s", answer, out)
		}
		return nil
	})
}

// idle waits until Marathon is done with all deployments.
func (p *process) idle() {
	p.t.Helper()
	eventually(p.t, "deployments", func() error {
		if text := p.get("marathon", "/v2/deployments"); strings.TrimSpace(text) != "[]" {
			return fmt.Errorf("%.200s", text)
		}
		return nil
	})
}

// check looks whether a line that changed something has done so.
func (p *process) check(line string) {
	p.t.Helper()
	p.idle()
	switch line {
	case `"instances":4`:
		eventually(p.t, "four endpoints", func() error {
			var app struct{ Ports []struct{ Endpoints []any } }
			if err := json.Unmarshal([]byte(p.get("admin", "/api/v1/apps/web")), &app); err != nil {
				return err
			}
			if n := len(app.Ports[0].Endpoints); n != 4 {
				return fmt.Errorf("there are %d", n)
			}
			return nil
		})
	case `"RELEASE":"2"`:
		if text := p.get("marathon", "/v2/apps/web"); strings.Count(text, `"RELEASE":"2"`) != 1 || strings.Count(text, "TASK_RUNNING") != 4 {
			p.t.Errorf("the new version: %s", text)
		}
	case "/_mlb_signal/usr1":
		eventually(p.t, "the renewed certificate", func() error {
			if p.served("web.test") == p.first {
				return fmt.Errorf("the first one is served still")
			}
			return nil
		})
	}
}

// alertsName fails the test if an alert rule names a metric that Relay lacks.
func (p *process) alertsName() {
	p.t.Helper()
	text, err := os.ReadFile("../../deploy/alerts.yaml")
	if err != nil {
		p.t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		p.t.Fatalf("alerts.yaml: %v", err)
	}
	metrics := p.get("admin", "/metrics")
	named := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			for _, metric := range regexp.MustCompile(`\brelay_\w+`).FindAllString(rule.Expr, -1) {
				named++
				if strings.HasSuffix(metric, "port_certificate_expiry_timestamp_seconds") || strings.HasSuffix(metric, "client_certificate_expiry_timestamp_seconds") {
					continue // of ports with TLS: see TestCertificatesOfThePorts
				}
				if slices.ContainsFunc([]string{"relay_file_", "relay_state_", "relay_authority_", "relay_revocation_list_", "relay_probe", "relay_app_", "relay_status_"}, func(of string) bool { return strings.HasPrefix(metric, of) }) {
					continue // of what the demo has not
				}
				if !regexp.MustCompile(`(?m)^` + metric + `[ {]`).MatchString(metrics) {
					p.t.Errorf("alert %s: Relay has no metric %s", rule.Alert, metric)
				}
			}
		}
	}
	if named == 0 {
		p.t.Error("alerts.yaml names no metric of Relay")
	}
}

// When the demo is killed, its processes go with it.
func TestKilled(t *testing.T) {
	t.Parallel()
	p := launch(t, nil)
	p.ready()
	children := p.children(2)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.ends()
	p.gone(children)
}

// When a part ends by itself, the demo says so and ends.
func TestPartEnds(t *testing.T) {
	t.Parallel()
	p := launch(t, nil, "--verbose")
	p.ready()
	children := p.children(2)
	for _, pid := range children {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "relay" {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.ends(); err == nil {
		t.Error("the demo ended as if nothing had happened")
	}
	if out := p.output(); !strings.Contains(out, "relay ended by itself (signal: killed)") || !strings.Contains(out, "\nrelay | ") {
		t.Errorf("the demo does not say what ended, or shows no log")
	}
	p.leavesNothing(children)
}

// When the terminal or the reader of the output goes away the demo ends, and
// tidies up.
func TestClosedOutput(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, w)
	_ = w.Close()
	lines := bufio.NewScanner(r)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "READY: ") {
	}
	if !strings.HasPrefix(lines.Text(), "READY: ") {
		t.Fatalf("the demo is not ready: %v", lines.Err())
	}
	children := p.children(2)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_ = p.ends()
	p.leavesNothing(children)
}

// A port that is taken is told of before anything starts.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, nil, "--marathon", port)
	if err := p.ends(); err == nil {
		t.Error("the demo started")
	}
	if out := p.output(); !strings.Contains(out, port+" is taken: the simulated Marathon") || !strings.Contains(out, `ARGS="--marathon PORT"`) || strings.Contains(out, "==") {
		t.Errorf("the demo says: %s", out)
	}
	p.leavesNothing(nil)
}

// The settings that the examples and the README name are settings of Relay.
func TestDocumentedSettings(t *testing.T) {
	t.Parallel()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	var help []byte
	for _, command := range []string{"serve", "check", "bootstrap"} {
		out, err := exec.Command(filepath.Join(dir, "relay"), command, "--help").CombinedOutput()
		if err != nil {
			t.Fatalf("relay %s --help: %v\n%s", command, err, out)
		}
		help = append(help, out...)
	}
	for _, file := range []string{"README.md", "deploy/relay.json", "deploy/relay.service", "deploy/relay-envoy@.service", "deploy/debian/README.Debian"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\bRELAY_[A-Z_]*[A-Z]`).FindAllString(string(text), -1)
		for _, command := range regexp.MustCompile(`relay (?:serve|bootstrap)(?:.*\\\n)*.*`).FindAllString(string(text), -1) {
			names = append(names, regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(command, -1)...)
		}
		if len(names) == 0 {
			t.Errorf("%s names no setting", file)
		}
		for _, name := range names {
			if !regexp.MustCompile(regexp.QuoteMeta(name) + `\b`).Match(help) {
				t.Errorf("%s names %s, which Relay does not have", file, name)
			}
		}
	}
	text, err := os.ReadFile("../../deploy/relay.json")
	if err != nil {
		t.Fatal(err)
	}
	marathon := marathontest.Start(t, marathontest.Options{})
	if err := marathon.Apply(string(text)); err != nil {
		t.Errorf("relay.json: %v", err)
	}
}
