package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"relay/internal/logtest"
	"relay/internal/problem"
	"relay/sources/marathon/marathontest"
)

// appMistake is one thing that people get wrong in an app, and what they read of it.
type appMistake struct {
	id, fields, labels string // of the definition, as JSON members
	// check is in what relay check says, and problem in the reason of a problem that relay
	// serve shows; empty if there is none.
	check, problem string
	severity       problem.Severity
	// asked is explained, and explain in the answer.
	asked, explain string
	// log is in the log of relay serve.
	log string
}

const (
	onePort = `"portDefinitions":[{"port":0}]`
	inFleet = `"HAPROXY_GROUP":"external"`
)

var appMistakes = []appMistake{
	{id: "/no-group", labels: `"HAPROXY_0_VHOST":"nogroup.test"`, check: "wrong  app /no-group: port 0: wants nogroup.test and is in no group",
		problem: "set HAPROXY_GROUP", severity: problem.Ignored, asked: "nogroup.test", explain: "not for /no-group: port 0: it is in no group", log: "an app is in no fleet"},
	{id: "/capital", labels: `"HAPROXY_GROUP":"External","HAPROXY_0_VHOST":"capital.test"`, check: `"External" is no fleet of this Relay: did you mean external? The fleets are external`,
		problem: "did you mean external", severity: problem.Failing, asked: "capital.test", explain: "its group External is no fleet here (fleets: external)"},
	{id: "/intern", labels: `"HAPROXY_GROUP":"intern","HAPROXY_0_VHOST":"intern.test"`, check: "note   app /intern: port 0: wants intern.test, and its group intern is no fleet here (fleets: external)",
		problem: "its group intern is no fleet here", severity: problem.Advice, asked: "intern.test", explain: "its group intern is no fleet here (fleets: external)"},
	{id: "/refused", labels: inFleet + `,"HAPROXY_0_VHOST":"shop..test"`, check: "HAPROXY_0_VHOST: \"shop..test\": has an empty label",
		problem: "has an empty label", severity: problem.Failing, asked: "shop..test", explain: "not for /refused: HAPROXY_0_VHOST: it is refused", log: "has an empty label"},
	{id: "/star", labels: inFleet + `,"HAPROXY_0_VHOST":"a.*.test"`, check: "does not stand for the whole first label",
		problem: "does not stand for the whole first label", severity: problem.Failing, asked: "a.*.test", explain: "not for /star", log: "whole first label"},
	{id: "/url-path", labels: inFleet + `,"HAPROXY_0_VHOST":"https://urlpath.test/path"`, check: "a domain has no path: write urlpath.test, and the path as HAPROXY_n_PATH (in a YAML file: paths), in place of \"https://urlpath.test/path\"",
		problem: "a domain has no path", severity: problem.Failing, asked: "https://urlpath.test/path", explain: "a domain has no path: write urlpath.test", log: "a domain has no path"},
	{id: "/url", labels: inFleet + `,"HAPROXY_0_VHOST":"https://url.test/"`, check: `"https://url.test/" is taken as url.test: write the domain alone`,
		problem: "is taken as url.test", severity: problem.Advice, asked: "https://url.test/x", explain: "serves       /* for port 0 of /url", log: "is taken as url.test"},
	{id: "/port-in-domain", labels: inFleet + `,"HAPROXY_0_VHOST":"port.test:8080"`, check: "is taken as port.test: write the domain alone",
		problem: "is taken as port.test", severity: problem.Advice, asked: "port.test", explain: "for port 0 of /port-in-domain"},
	{id: "/upper", labels: inFleet + `,"HAPROXY_0_VHOST":"UPPER.Test, bücher.test"`, asked: "Bücher.Test", explain: "xn--bcher-kva.test in fleet external"},
	{id: "/no-ports", fields: `"portDefinitions":[],"requirePorts":false`, labels: inFleet + `,"HAPROXY_0_VHOST":"noports.test"`, check: "app /no-ports: has routing labels but declares no port",
		problem: "declares no port", severity: problem.Failing, asked: "noports.test", explain: "not for /no-ports: HAPROXY_0_VHOST: the app declares no port"},
	{id: "/second-port", labels: inFleet + `,"HAPROXY_1_VHOST":"second.test"`, check: "names port 1, but the app declares 1 port, counted from 0: write 0 in place of 1, or declare one more port",
		problem: "write 0 in place of 1", severity: problem.Failing, asked: "second.test", explain: "not for /second-port: HAPROXY_1_VHOST: it names port 1", log: "names port 1"},
	{id: "/no-index", labels: inFleet + `,"HAPROXY_VHOST":"noindex.test"`, check: "HAPROXY_VHOST: is not a known label: did you mean HAPROXY_0_VHOST?",
		problem: "did you mean HAPROXY_0_VHOST?", severity: problem.Ignored, asked: "noindex.test", explain: "not for /no-index: HAPROXY_VHOST", log: "did you mean HAPROXY_0_VHOST?"},
	{id: "/open", labels: inFleet + `,"HAPROXY_0_VHOST":"open.test","HAPROXY_0_AUHT":"Shop:joe:{SHA}x"`, check: "HAPROXY_0_AUHT: is not a known label: did you mean HAPROXY_0_AUTH? As it is, it keeps nobody out",
		problem: "it keeps nobody out", severity: problem.Failing, asked: "open.test", explain: "it keeps nobody out", log: "it keeps nobody out"},
	{id: "/taken-out-by-typo", labels: inFleet + `,"HAPROXY_0_VHOST":"flase.test","HAPROXY_0_ENABLED":"flase"`, check: `HAPROXY_0_ENABLED: "flase" is taken as false, which takes the port out`,
		problem: "which takes the port out", severity: problem.Failing, asked: "flase.test", explain: "HAPROXY_0_ENABLED takes the port out"},
	{id: "/high-port", labels: inFleet + `,"HAPROXY_0_MODE":"tcp","HAPROXY_0_PORT":"70000"`, check: `"70000" is not a port: the service is not opened`,
		problem: "the service is not opened", severity: problem.Failing, asked: "/high-port", explain: "the service is not opened"},
	{id: "/taken-out", labels: inFleet + `,"HAPROXY_0_VHOST":"out.test","HAPROXY_0_ENABLED":"false"`, asked: "out.test", explain: "not for /taken-out: HAPROXY_0_VHOST: HAPROXY_0_ENABLED takes the port out"},
	{id: "/path-first", labels: inFleet + `,"HAPROXY_0_VHOST":"paths.test","HAPROXY_0_PATH":"/api"`, asked: "paths.test", explain: "serves       /api* for port 0 of /path-first"},
	{id: "/path-never", labels: inFleet + `,"HAPROXY_0_VHOST":"paths.test","HAPROXY_0_PATH":"/api/v2"`, check: "app /path-never: paths.test: port 0 does not get the path /api/v2: port 0 of /path-first has /api",
		problem: "does not get the path /api/v2", severity: problem.Failing, asked: "paths.test", explain: "does not get the path /api/v2"},
	{id: "/clash-a", labels: inFleet + `,"HAPROXY_0_VHOST":"clash.test"`, asked: "clash.test", explain: "lowest app id"},
	{id: "/clash-b", labels: inFleet + `,"HAPROXY_0_VHOST":"clash.test"`, check: "app /clash-b: clash.test: port 0 does not get the domain: port 0 of /clash-a has it",
		problem: "does not get the domain", severity: problem.Failing, asked: "/clash-b", explain: "loses"},
	{id: "/tcp-mode", labels: inFleet + `,"HAPROXY_0_MODE":"tcp","HAPROXY_0_PORT":"5000","HAPROXY_0_VHOST":"tcpmode.test"`, check: "HAPROXY_0_VHOST: has no effect in tcp mode",
		problem: "has no effect in tcp mode", severity: problem.Ignored, asked: "tcpmode.test", explain: "it is in tcp mode"},
	{id: "/tcp-twice", labels: inFleet + `,"HAPROXY_0_MODE":"tcp","HAPROXY_0_PORT":"5000"`, check: "app /tcp-twice: TCP port 5000: port 0 does not get it: port 0 of /tcp-mode has it",
		problem: "has it (the lowest app id wins", severity: problem.Failing, asked: "tcp/5000", explain: "port 0 of /tcp-mode has it"},
	{id: "/tcp-http", labels: inFleet + `,"HAPROXY_0_MODE":"tcp","HAPROXY_0_PORT":"80"`, check: "asks for TCP port 80, which belongs to Envoy or Relay: it is not opened",
		problem: "choose another by HAPROXY_n_PORT", severity: problem.Failing, asked: "tcp/80", explain: "asks for TCP port 80"},
	{id: "/password", labels: inFleet + `,"HAPROXY_0_VHOST":"password.test","HAPROXY_0_AUTH":"Shop:joe:$5$x$y"`, check: "HAPROXY_0_AUTH: has a password hash that is malformed",
		problem: "every request is answered 403", severity: problem.Failing, asked: "password.test", explain: "every request gets 403"},
	{id: "/redirect", labels: inFleet + `,"HAPROXY_0_VHOST":"redirect.test","HAPROXY_0_REDIRECT_TO_HTTPS":"true"`, check: "asks for a redirect to https, but the fleet has no https listener",
		problem: "plain http is served", severity: problem.Ignored, asked: "redirect.test", explain: "the fleet has no https listener"},
	{id: "/stopped", fields: onePort + `,"instances":0`, labels: inFleet + `,"HAPROXY_0_VHOST":"stopped.test"`, asked: "stopped.test", explain: "it was scaled to 0"},
	{id: "/sick", fields: onePort + `,"healthChecks":[{"protocol":"HTTP","portIndex":0}]`, labels: inFleet + `,"HAPROXY_0_VHOST":"sick.test"`,
		check: "app /sick: port 0: no task is in rotation: sick.1 fails a health check since 2026-01-02T03:04:05Z", problem: "fails a health check since", severity: problem.Failing,
		asked: "sick.test", explain: "left out: task sick.1: fails a health check since 2026-01-02T03:04:05Z"},
	{id: "/silent", labels: `"OWNER":"them"`, asked: "/silent", explain: "in no group"},
}

// definition is the app with one task.
func (a appMistake) definition() marathontest.App {
	fields := a.fields
	if fields == "" {
		fields = onePort
	}
	if !strings.Contains(fields, "instances") {
		fields += `,"instances":1`
	}
	app := marathontest.App{Definition: fmt.Sprintf(`{"id":%q,%s,"labels":{%s}}`, a.id, fields, a.labels)}
	if !strings.Contains(fields, `"instances":0`) {
		task := marathontest.Task{ID: strings.TrimPrefix(a.id, "/") + ".1", Host: "10.0.0.1", Ports: []int{31000}, State: "TASK_RUNNING", StartedAt: "2026-01-01T00:00:00.000Z", Version: "2026-01-01T00:00:00.000Z"}
		if strings.Contains(fields, "healthChecks") {
			task.Health = []*marathontest.HealthResult{{LastSuccess: "2026-01-02T03:04:05.000Z"}}
		}
		app.Tasks = []marathontest.Task{task}
	}
	return app
}

const appMistakesSummary = "1 domain has no task, 1 domain is closed (403), 6 domains are left out, 3 apps are in no fleet, 1 domain is of an app that is scaled to 0"

// Each mistake in an app is told where people look: by relay check, and of a Relay that runs in
// its log, by relay explain, on the status page and in its JSON.
func TestMistakesOfApps(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	var apps []marathontest.App
	for _, a := range appMistakes {
		apps = append(apps, a.definition())
	}
	if err := m.LoadApps(apps...); err != nil {
		t.Fatal(err)
	}
	_, checked, errs := command(t, "check", "--marathon", m.URL())
	if lines := strings.Split(strings.TrimSpace(checked), "\n"); lines[len(lines)-1] != appMistakesSummary {
		t.Errorf("relay check ends with %q and %q, want %q", lines[len(lines)-1], errs, appMistakesSummary)
	}
	for _, a := range appMistakes {
		if !strings.Contains(checked, a.check) {
			t.Errorf("%s: relay check does not say %q", a.id, a.check)
		}
	}
	if t.Failed() {
		t.Log(checked)
	}
	log, admin := serveInBackground(t, "--marathon", m.URL())
	var answer struct {
		Summary  string
		Groups   []problem.Group
		Problems []problem.Problem
	}
	if err := json.Unmarshal([]byte(fetch(t, admin+"/api/v1/problems")), &answer); err != nil {
		t.Fatal(err)
	}
	page := fetch(t, admin+"/")
	problems := fetch(t, admin+"/problems")
	if answer.Summary != appMistakesSummary || !strings.Contains(page, ">"+appMistakesSummary+"</p>") || !strings.Contains(log.String(), appMistakesSummary) {
		t.Errorf("the summary is %q, want %q, on the page and in the log too", answer.Summary, appMistakesSummary)
	}
	for _, a := range appMistakes {
		a.served(t, answer.Problems, problems, admin)
		if !strings.Contains(log.String(), a.log) {
			t.Errorf("%s: the log does not say %q", a.id, a.log)
		}
	}
	wantCounts(t, fetch(t, admin+"/metrics"), answer.Problems)
}

// served compares what a running Relay shows with what is wanted.
func (a appMistake) served(t *testing.T, problems []problem.Problem, page, admin string) {
	t.Helper()
	found := false
	for _, p := range problems {
		found = found || p.Kind == problem.App && p.Subject == a.id && strings.Contains(p.Reason, a.problem) && p.Severity == a.severity && p.Action != ""
		if p.Subject == a.id && a.problem == "" {
			t.Errorf("%s: a problem that is none: %+v", a.id, p)
		}
	}
	if a.problem != "" && (!found || !strings.Contains(page, `href="/apps`+a.id+`"`) && a.severity != problem.Advice) {
		t.Errorf("%s: no problem with %q and severity %s, on the page too", a.id, a.problem, a.severity)
	}
	if status, out, errs := command(t, "explain", "--admin", admin, a.asked); status != 0 || !strings.Contains(out, a.explain) {
		t.Errorf("%s: relay explain %s does not say %q:\n%s%s", a.id, a.asked, a.explain, out, errs)
	}
}

// wantCounts compares relay_problems with the problems that are shown.
func wantCounts(t *testing.T, metrics string, problems []problem.Problem) {
	t.Helper()
	failing, total, sum := 0, 0, 0
	for _, p := range problems {
		if total++; p.Severity == problem.Failing {
			failing++
		}
	}
	for _, kind := range problem.Kinds() {
		var n int
		if _, line, ok := strings.Cut(metrics, fmt.Sprintf("relay_problems{kind=%q} ", kind)); !ok {
			t.Errorf("no relay_problems of %s", kind)
		} else if _, err := fmt.Sscan(line, &n); err != nil {
			t.Error(err)
		}
		sum += n
	}
	if sum != total || !strings.Contains(metrics, fmt.Sprintf("relay_problems_failing %d\n", failing)) {
		t.Errorf("%d problems are counted, %d are shown, of which %d cost requests", sum, total, failing)
	}
}

var adminInLog = regexp.MustCompile(`msg=serving .*admin=(\S+)`)

// serveInBackground runs relay serve until the test ends, and returns its log and the admin
// endpoint once it is ready.
func serveInBackground(t *testing.T, args ...string) (log *logtest.Buffer, admin string) {
	t.Helper()
	log = new(logtest.Buffer)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"serve", "--xds", "127.0.0.1:0", "--admin", "127.0.0.1:0"}, args...), io.Discard, log)
	}()
	t.Cleanup(func() {
		cancel()
		if status := <-done; status != 0 {
			t.Errorf("relay serve ends with %d:\n%s", status, log)
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if found := adminInLog.FindStringSubmatch(log.String()); found != nil && strings.Contains(log.String(), "certificates published") {
			return log, found[1]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("relay serve does not come up:\n%s", log)
	return nil, ""
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	defer http.DefaultClient.CloseIdleConnections()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return body.String()
}
