package marathon

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

const (
	oldVersion  = "2024-05-01T10:00:00.000Z"
	newVersion  = "2024-05-01T11:30:00.000Z"
	nextVersion = "2024-05-01T11:59:59.000Z"
	oneCheck    = `"healthChecks":[{"protocol":"HTTP"}]`
	twoChecks   = `"healthChecks":[{"protocol":"HTTP"},{"protocol":"HTTP","path":"/b"}]`
	onePort     = `"portDefinitions":[{"name":"http"}]`
)

func parseApp(t *testing.T, in string, args ...any) *appJSON {
	t.Helper()
	var app appJSON
	if err := json.Unmarshal(fmt.Appendf(nil, in, args...), &app); err != nil {
		t.Fatal(err)
	}
	return &app
}

// defined returns the definition that an app of this text has.
func defined(t *testing.T, version, fields string) *appDefinition {
	t.Helper()
	a := parseApp(t, `{"id":"/a","version":%q,%s}`, version, fields)
	declared, _ := declarations(a, modeOf(a))
	return definitionOf(a, modeOf(a), declared)
}

// shownTask is a task that has run for an hour unless fields, which come last, say otherwise.
func shownTask(id, version, fields string) string {
	return fmt.Sprintf(`{"id":%q,"version":%q,"state":"TASK_RUNNING","host":"10.0.0.1","ports":[31000],"startedAt":"2024-05-01T11:00:00.000Z"%s}`, id, version, fields)
}

const (
	alive1 = `,"healthCheckResults":[{"alive":true}]`
	alive2 = `,"healthCheckResults":[{"alive":true},{"alive":true}]`
	dead1  = `,"healthCheckResults":[{"alive":false}]`
	failed = `,"healthCheckResults":[{"alive":true},{"alive":false}]`
)

// served shows which tasks are in rotation on a port, and where.
func served(p sources.Port) string {
	var list []string
	for _, e := range p.Endpoints {
		list = append(list, fmt.Sprintf("%s:%d", e.Task, e.Address.Port()))
	}
	return strings.Join(list, " ")
}

// TestOldTasksAreJudgedByTheirVersion has tasks of two versions, o of the older and n of
// the newer, and what is known of the older.
func TestOldTasksAreJudgedByTheirVersion(t *testing.T) {
	t.Parallel()
	o, n := func(fields string) string { return shownTask("o", oldVersion, fields) }, func(fields string) string { return shownTask("n", newVersion, fields) }
	gone := &appDefinition{version: oldVersion, missing: true}
	gone.since, _ = parseTime(oldVersion)
	gone.until = gone.since
	was := func(r checkResult) history { return history{"o": {result: r, rotation: r == healthy}} }
	tests := []struct {
		name, fields string
		known        *appDefinition
		prior        history
		first        bool
		tasks        []string
		want         string // in rotation
		asked        bool   // the old version is to be read
	}{
		{name: "check added, at first", fields: oneCheck, first: true, tasks: []string{o(""), n(dead1)}, want: "o", asked: true},
		{name: "check added, later", fields: oneCheck, tasks: []string{o(""), n(dead1)}, want: "o", asked: true},
		{name: "check added, known", fields: oneCheck, known: defined(t, oldVersion, onePort), tasks: []string{o(""), n("")}, want: "o"},
		{name: "check added, version gone", fields: oneCheck, known: gone, tasks: []string{o(""), n("")}, want: "o"},
		{name: "second check added", fields: twoChecks, first: true, tasks: []string{o(alive1), n(failed)}, want: "o", asked: true},
		{name: "second check added, known", fields: twoChecks, known: defined(t, oldVersion, oneCheck+","+onePort), tasks: []string{o(alive1), n(alive1)}, want: "o"},
		{name: "second check added, recovered", fields: twoChecks, known: defined(t, oldVersion, oneCheck+","+onePort), prior: was(unhealthy), tasks: []string{o(alive1), n(alive2)}, want: "n o"},
		{name: "second check added, recovered, unknown", fields: twoChecks, prior: was(unhealthy), tasks: []string{o(alive1)}, want: "o", asked: true},
		{name: "an old one fails", fields: oneCheck, tasks: []string{o(dead1), n(alive1)}, want: "n"},
		{name: "an old one fails, check removed", fields: `"x":0`, tasks: []string{o(dead1), n("")}, want: "n"},
		{name: "an old one fails, check removed, known", fields: `"x":0`, known: defined(t, oldVersion, oneCheck+","+onePort), tasks: []string{o(dead1), n("")}, want: "n"},
		{name: "check removed, unknown", fields: `"x":0`, tasks: []string{o(""), n("")}, want: "n o", asked: true},
		{name: "check removed, never succeeded", fields: `"x":0`, known: defined(t, oldVersion, oneCheck+","+onePort), tasks: []string{o(""), n("")}, want: "n"},
		{name: "check changed", fields: oneCheck, tasks: []string{o(alive1), n(dead1)}, want: "o"},
		{name: "failed before, no result now", fields: oneCheck, prior: was(unhealthy), tasks: []string{o(""), n(alive1)}, want: "n", asked: true},
		{name: "succeeded before, no result now", fields: oneCheck, known: defined(t, oldVersion, twoChecks+","+onePort), prior: was(healthy), tasks: []string{o(""), n(alive1)}, want: "n o"},
		{name: "null results", fields: oneCheck, tasks: []string{o(`,"healthCheckResults":[null,{"alive":null}]`)}, want: "o", asked: true},
		{name: "starting", fields: oneCheck, tasks: []string{o(`,"state":"TASK_STARTING"`)}, want: ""},
		{name: "scaled only", fields: oneCheck + `,"versionInfo":{"lastConfigChangeAt":"2024-05-01T10:00:00Z"}`, tasks: []string{o(""), n(alive1)}, want: "n"},
		{name: "changed, then scaled", fields: oneCheck + `,"versionInfo":{"lastConfigChangeAt":"2024-05-01T11:00:00Z"}`, tasks: []string{o(""), n("")}, want: "o", asked: true},
		{name: "no version told", fields: oneCheck, tasks: []string{shownTask("o", "", ""), n(alive1)}, want: "n"},
		{name: "a version that is no time", fields: oneCheck, tasks: []string{shownTask("o", "1", ""), n(alive1)}, want: "n"},
	}
	for _, tt := range tests {
		a := parseApp(t, `{"id":"/a","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,%s,"tasks":[%s]}`, newVersion, onePort, tt.fields, strings.Join(tt.tasks, ","))
		m := testMapping()
		m.firstSync = tt.first
		if tt.known != nil {
			m.versions = []*appDefinition{tt.known}
		}
		out := convertApp(a, tt.prior, m)
		if got := strings.ReplaceAll(served(out.app.Ports[0]), ":31000", ""); got != tt.want {
			t.Errorf("%s: %q serve, want %q", tt.name, got, tt.want)
		}
		if got := slices.Equal(out.asked, []string{oldVersion}); got != tt.asked || len(out.asked) > 1 {
			t.Errorf("%s: asked for %q, want %v", tt.name, out.asked, tt.asked)
		}
		a.Labels = nil
		if out := convertApp(a, tt.prior, m); len(out.asked) > 0 {
			t.Errorf("%s: asked for %q though no fleet serves the app", tt.name, out.asked)
		}
	}
}

// TestNewLeaderWithoutResults has a Relay that starts when a new leader has no results yet.
// What it admits then goes on when the versions are known.
func TestNewLeaderWithoutResults(t *testing.T) {
	t.Parallel()
	young := strings.ReplaceAll(shownTask("young", oldVersion, ""), "11:00:00", "11:59:00")
	a := parseApp(t, `{"id":"/a","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,%s,"tasks":[%s,%s,%s]}`, newVersion, onePort, oneCheck,
		shownTask("o", oldVersion, ""), young, shownTask("n", newVersion, ""))
	m := testMapping()
	m.firstSync = true
	first := convertApp(a, nil, m)
	if got := served(first.app.Ports[0]); got != "n:31000 o:31000 young:31000" {
		t.Errorf("at first %s serve", got)
	}
	m.firstSync, m.versions = false, []*appDefinition{defined(t, oldVersion, oneCheck+","+onePort)}
	second := convertApp(a, first.history, m)
	if got := served(second.app.Ports[0]); got != "n:31000 o:31000" {
		t.Errorf("when the version is known %s serve: the young one was never checked", got)
	}
	third := convertApp(a, second.history, m)
	if got := served(third.app.Ports[0]); got != "n:31000 o:31000" {
		t.Errorf("then %s serve", got)
	}
	// A later read of a task that was not there at first is not so lenient.
	if got := served(convertApp(a, history{"n": second.history["n"]}, m).app.Ports[0]); got != "n:31000" {
		t.Errorf("of tasks that were not there at first, %s serve", got)
	}
}

// TestTaskIsNewerThanTheDefinition has a task of a deployment whose definition cannot be
// read yet.
func TestTaskIsNewerThanTheDefinition(t *testing.T) {
	t.Parallel()
	a := parseApp(t, `{"id":"/a","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,"tasks":[%s,%s]}`, newVersion, onePort,
		shownTask("n", newVersion, ""), shownTask("x", nextVersion, ""))
	m := testMapping()
	out := convertApp(a, nil, m)
	if got := served(out.app.Ports[0]); got != "n:31000" || !out.waiting || !slices.Equal(out.asked, []string{nextVersion}) {
		t.Errorf("%s serve, waiting %v, asked for %q", got, out.waiting, out.asked)
	}
	m.versions = []*appDefinition{defined(t, nextVersion, onePort)}
	if got := served(convertApp(a, out.history, m).app.Ports[0]); got != "n:31000 x:31000" {
		t.Errorf("when it is known %s serve", got)
	}
	m.versions[0] = defined(t, nextVersion, oneCheck+","+onePort)
	if got := served(convertApp(a, out.history, m).app.Ports[0]); got != "n:31000" {
		t.Errorf("with a check %s serve", got)
	}
	// A Marathon that was restored from a backup has such tasks for ever.
	m.versions, m.firstSync = nil, true
	if got := served(convertApp(a, nil, m).app.Ports[0]); got != "n:31000 x:31000" {
		t.Errorf("in the first read %s serve", got)
	}
}

// TestReadinessOfOldTasks deploys a readiness check: Marathon checks new tasks only.
func TestReadinessOfOldTasks(t *testing.T) {
	t.Parallel()
	young := func(id, version string) string {
		return strings.ReplaceAll(shownTask(id, version, ""), "11:00:00", "11:59:58")
	}
	tests := []struct {
		name  string
		known *appDefinition
		prior history
		want  string
	}{
		{"not known", nil, nil, "o:31000"},
		{"without one before", defined(t, oldVersion, onePort), history{"o": {result: healthy}}, "o:31000"},
		{"ready before", defined(t, oldVersion, onePort+`,"readinessChecks":[{}]`), history{"o": {result: healthy, rotation: true}}, "o:31000"},
		{"not ready before", defined(t, oldVersion, onePort+`,"readinessChecks":[{}]`), history{"o": {result: healthy}}, ""},
		{"not seen before", defined(t, oldVersion, onePort+`,"readinessChecks":[{}]`), nil, "o:31000"},
		{"a new one was ready before", nil, history{"n": {result: healthy, rotation: true}}, "n:31000 o:31000"},
	}
	for _, tt := range tests {
		a := parseApp(t, `{"id":"/a","version":%q,%s,"readinessChecks":[{}],"deployments":[{}],"tasks":[%s,%s]}`, newVersion, onePort, young("o", oldVersion), young("n", newVersion))
		m := testMapping()
		if tt.known != nil {
			m.versions = []*appDefinition{tt.known}
		}
		if got := served(convertApp(a, tt.prior, m).app.Ports[0]); got != tt.want {
			t.Errorf("%s: %q serve, want %q", tt.name, got, tt.want)
		}
	}
}

// TestPortsOfOldTasks changes the ports of an app. Its old tasks have the ports of their
// own version.
func TestPortsOfOldTasks(t *testing.T) {
	t.Parallel()
	ports := func(names ...string) string {
		var list []string
		for _, n := range names {
			list = append(list, fmt.Sprintf(`{"name":%q}`, n))
		}
		return `"portDefinitions":[` + strings.Join(list, ",") + `]`
	}
	mappings := func(mode, list string) string {
		return fmt.Sprintf(`"networks":[{"mode":%q,"name":"dcos"}],"container":{"portMappings":[%s]}`, mode, list)
	}
	const network = `,"ipAddresses":[{"ipAddress":"9.0.0.1"}]`
	tests := []struct {
		name, newest, old string
		hostPorts         string
		known             []string // on each port of the newest definition, when the version is known
		unknown           []string // and while it is not
		asked             bool
	}{
		{"inserted in front", ports("admin", "http"), ports("http"), "1", []string{"", "o:1"}, []string{"o:1", ""}, true},
		{"appended", ports("http", "admin"), ports("http"), "1", []string{"o:1", ""}, []string{"o:1", ""}, true},
		{"swapped", ports("a", "b"), ports("b", "a"), "1,2", []string{"o:2", "o:1"}, []string{"o:1", "o:2"}, true},
		{"renamed", ports("web"), ports("http"), "1", []string{"o:1"}, []string{"o:1"}, false},
		{"named", ports("web"), ports(""), "1", []string{"o:1"}, []string{"o:1"}, false},
		{"no names, one more", ports("", ""), ports(""), "1", []string{"o:1", ""}, []string{"o:1", ""}, true},
		{"removed in front", ports("http"), ports("admin", "http"), "1,2", []string{"o:2"}, []string{"o:1"}, true},
		{"all renamed, one more", ports("a", "b"), ports("c"), "1", []string{"", ""}, []string{"o:1", ""}, true},
		{"to a bridge", mappings("container/bridge", `{"name":"http","containerPort":80,"hostPort":0}`), ports("http"), "1", []string{"o:1"}, []string{"o:1"}, false},
		{"from a bridge, without names", mappings("container/bridge", `{"containerPort":90},{"containerPort":80}`), mappings("container/bridge", `{"containerPort":80}`), "1",
			[]string{"", "o:1"}, []string{"o:1", ""}, true},
		{"another container port", mappings("container", `{"containerPort":90}`), mappings("container", `{"containerPort":80}`), "", []string{"o:80"}, []string{"o:90"}, true},
		{"to a network", mappings("container", `{"containerPort":90}`), ports("http"), "1", []string{"o:1"}, []string{"o:90"}, true},
		{"from a network", ports("http"), mappings("container", `{"containerPort":80}`), "", []string{"o:80"}, []string{""}, true},
		{"host ports on a network", mappings("container", `{"containerPort":0,"hostPort":0,"name":"a"},{"containerPort":0,"hostPort":0,"name":"b"}`),
			mappings("container", `{"containerPort":70,"name":"x"},{"containerPort":0,"hostPort":0,"name":"b"}`), "5", []string{"o:70", "o:5"}, []string{"o:5", ""}, true},
	}
	for _, tt := range tests {
		a := parseApp(t, `{"id":"/a","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,%s,"tasks":[%s]}`, newVersion, oneCheck, tt.newest,
			strings.Replace(shownTask("o", oldVersion, alive1+network), "[31000]", "["+tt.hostPorts+"]", 1))
		on := func(out mapped) (list []string) {
			for _, p := range out.app.Ports {
				list = append(list, served(p))
			}
			return list
		}
		m := testMapping()
		out := convertApp(a, nil, m)
		if got := on(out); !slices.Equal(got, tt.unknown) || (len(out.asked) > 0) != tt.asked {
			t.Errorf("%s, not known: %q, asked for %q, want %q and %v", tt.name, got, out.asked, tt.unknown, tt.asked)
		}
		m.versions = []*appDefinition{defined(t, oldVersion, oneCheck+","+tt.old)}
		if got := on(convertApp(a, nil, m)); !slices.Equal(got, tt.known) {
			t.Errorf("%s, known: %q, want %q", tt.name, got, tt.known)
		}
	}
}

// TestOldTaskFailedOnce has no result any more of a task that failed while its version was
// not known.
func TestOldTaskFailedOnce(t *testing.T) {
	t.Parallel()
	var prior history
	for _, results := range []string{dead1, "", ""} {
		a := parseApp(t, `{"id":"/a","version":%q,%s,%s,"tasks":[%s]}`, newVersion, onePort, oneCheck, shownTask("o", oldVersion, results))
		out := convertApp(a, prior, testMapping())
		if got := served(out.app.Ports[0]); got != "" {
			t.Errorf("%q serves", got)
		}
		prior = out.history
	}
}

// TestManyVersions bounds what one app may have.
func TestManyVersions(t *testing.T) {
	t.Parallel()
	var tasks []string
	for i := range 300 {
		tasks = append(tasks, shownTask(fmt.Sprintf("t%03d", i), testNow.Add(-time.Duration(i+60)*time.Minute).Format(time.RFC3339), ""))
	}
	a := parseApp(t, `{"id":"/a","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,%s,"tasks":[%s]}`, newVersion, onePort, oneCheck, strings.Join(tasks, ","))
	out := convertApp(a, nil, testMapping())
	if len(out.asked) != maxVersions || len(out.older) != maxVersions || out.asked[0] != "2024-05-01T11:00:00Z" {
		t.Errorf("asked for %d, remembers %d; the first is %q", len(out.asked), len(out.older), out.asked[0])
	}
	if n := len(out.app.Ports[0].Endpoints); n != 300 {
		t.Errorf("%d tasks serve", n)
	}
	// Those that are known are not asked for, and forgotten with their tasks.
	var h knownApp
	h.rememberVersions(nil, out)
	for _, v := range out.asked {
		h = *h.withVersion(defined(t, v, onePort))
	}
	if len(h.versions) != maxVersions+1 || h.asks(out.asked[0]) {
		t.Errorf("%d are known", len(h.versions))
	}
	m := testMapping()
	m.versions = h.versions
	a.Tasks = a.Tasks[:3]
	var next knownApp
	next.rememberVersions(&h, convertApp(a, nil, m))
	if len(next.versions) != 4 || len(next.asked) != 0 {
		t.Errorf("%d are known with three tasks, %d asked for", len(next.versions), len(next.asked))
	}
}

// TestStagedTaskKeepsItsVersion has a deployment replaced by another before its task ran: the
// task's definition stays known, so that it need not be read when the task runs.
func TestStagedTaskKeepsItsVersion(t *testing.T) {
	t.Parallel()
	staged := strings.Replace(shownTask("o", oldVersion, ""), "TASK_RUNNING", "TASK_STAGING", 1)
	a := parseApp(t, `{"id":"/a","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,%s,"tasks":[%s]}`, newVersion, onePort, oneCheck, staged)
	known := defined(t, oldVersion, oneCheck+","+onePort)
	m := testMapping()
	m.versions = []*appDefinition{known}
	var h knownApp
	h.rememberVersions(&knownApp{versions: m.versions}, convertApp(a, nil, m))
	if !slices.Contains(h.versions, known) {
		t.Errorf("the version of a staged task is forgotten")
	}
	if out := convertApp(a, nil, testMapping()); len(out.older) != 0 || len(out.asked) != 0 {
		t.Errorf("a version that only a staged task has is to be read: %v, %q", out.older, out.asked)
	}
}

func TestNotesOnOldTasks(t *testing.T) {
	t.Parallel()
	a := parseApp(t, `{"id":"/a","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,%s,"tasks":[%s,%s,%s,%s]}`, newVersion, onePort, oneCheck,
		shownTask("a", oldVersion, ""), shownTask("b", oldVersion, dead1), shownTask("c", newVersion, alive1), shownTask("a", oldVersion, ""))
	m := testMapping()
	for want, known := range map[string]*appDefinition{
		"a is of the version of 2024-05-01T10:00:00.000Z, whose definition is still to be read: it serves as long as no health check fails": nil,
		"a is judged by its own version, of 2024-05-01T10:00:00.000Z\nb is judged by its own version, of 2024-05-01T10:00:00.000Z":          defined(t, oldVersion, onePort),
	} {
		m.versions = nil
		if known != nil {
			m.versions = []*appDefinition{known}
		}
		var notes []string
		for _, n := range convertApp(a, nil, m).app.Notes {
			notes = append(notes, n.Task+" "+n.Text)
		}
		if got := strings.Join(notes, "\n"); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}
