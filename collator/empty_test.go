package collator

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/problem"
	"relay/sources"
)

// empty returns a copy of the app whose tasks are not in rotation: task and reason by turns.
func empty(app *sources.App, excluded ...string) *sources.App {
	return changed(app, func(p *sources.Port) {
		p.Endpoints = nil
		for i := 0; i < len(excluded); i += 2 {
			p.Excluded = append(p.Excluded, sources.Excluded{Task: excluded[i], Reason: excluded[i+1]})
		}
	})
}

func stopped(app *sources.App) *sources.App {
	app = empty(app)
	app.Stopped = true
	return app
}

// asleep is an app that Relay has scaled to 0.
func asleep(app *sources.App) *sources.App {
	app = stopped(app)
	app.Gated = true
	return app
}

// taskProblems returns the apps of which no task is in rotation, and why.
func taskProblems(c *Collator) (lines []string) {
	for _, p := range c.Problems() {
		if p.Kind == problem.Tasks {
			lines = append(lines, p.App+" "+p.Subject+": "+p.Reason)
		}
	}
	return lines
}

// A port without a task says what the source says of the last one that failed, without what looks
// like a credential.
func TestPortWithoutTaskSaysWhatFailed(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	web := empty(webApp("/web", "web.test"))
	web.Orchestration = &sources.Orchestration{Instances: 1, Failure: &sources.TaskFailure{
		Task: "web.1", State: "TASK_FAILED", Version: web.Version, Message: "cannot pull https://me:secret@registry.test/web " + strings.Repeat("x", 2000),
	}}
	syncApps(c, web)
	lines := taskProblems(c)
	if len(lines) != 1 || !strings.Contains(lines[0], "The last task that failed, web.1, ended with TASK_FAILED: cannot pull https://") ||
		strings.Contains(lines[0], "secret") || len(lines[0]) > 1500 {
		t.Errorf("problems: %q", lines)
	}
	other := *web
	other.Version = "2"
	updateApps(c, &other)
	if lines := taskProblems(c); len(lines) != 1 || strings.Contains(lines[0], "TASK_FAILED") {
		t.Errorf("problems of another definition: %q", lines)
	}
}

// emptyMetric returns relay_ports_without_task of the fleet, with the label stopped.
func emptyMetric(t *testing.T, c *Collator, stopped string) int {
	t.Helper()
	registry := prometheus.NewRegistry()
	c.registerEmpty(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if m.GetLabel()[0].GetValue() == "external" && m.GetLabel()[1].GetValue() == stopped {
				return int(m.GetGauge().GetValue())
			}
		}
	}
	t.Fatal("there is no metric")
	return 0
}

// Of an app port that a fleet serves without a task people are told: at once when Relay starts,
// else after a minute, as a deployment may leave an app without tasks for a moment.
func TestPortWithoutTask(t *testing.T) {
	t.Parallel()
	const none = "no task is in rotation: the app has none, or none with an address that Envoy can use"
	c, _ := newTest(t, Config{})
	now := testTime
	c.now = func() time.Time { return now }
	web, db := webApp("/web", "web.test"), serviceApp("/db", sources.TCP{Port: 5432})
	two := member("/blue", 1)
	for _, tt := range []struct {
		name string
		wait time.Duration
		apps []*sources.App
		want []string
		// told and stopped are the metrics.
		told, stopped int
	}{
		{"what Relay finds is told at once", 0, []*sources.App{empty(web), empty(db, "db.1", "is starting"), empty(webApp("/nobody"))},
			[]string{"/db port 0: no task is in rotation: db.1 is starting", "/web port 0: " + none}, 2, 0},
		{"other reasons", 0, []*sources.App{empty(web, "1", "is unreachable", "2", "is starting", "3", "is starting", "4", "is starting", "5", "is starting")},
			[]string{"/db port 0: no task is in rotation: db.1 is starting", "/web port 0: no task is in rotation: 1 is unreachable; 2 is starting; 3 is starting; and 2 more"}, 2, 0},
		{"tasks come", 0, []*sources.App{web, db}, nil, 0, 0},
		{"tasks go", 0, []*sources.App{empty(web), empty(db)}, nil, 0, 0},
		{"for less than a minute", 59 * time.Second, []*sources.App{db}, nil, 0, 0},
		{"for a minute", time.Second, nil, []string{"/web port 0: " + none}, 1, 0},
		{"the loop starts again", 0, nil, []string{"/web port 0: " + none}, 1, 0},
		{"no domain is asked for", 0, []*sources.App{empty(webApp("/web"))}, nil, 0, 0},
		{"a domain is asked for", 0, []*sources.App{empty(web)}, nil, 0, 0},
		{"for a minute again", time.Minute, nil, []string{"/web port 0: " + none}, 1, 0},
		{"people scale it to 0", 0, []*sources.App{stopped(web)}, nil, 0, 1},
		{"that stays", time.Hour, nil, nil, 0, 1},
		{"people start it", 0, []*sources.App{empty(web, "w", "is starting")}, nil, 0, 0},
		{"it does not come", time.Minute, nil, []string{"/web port 0: no task is in rotation: w is starting"}, 1, 0},
		{"it is deleted, and a deployment begins", 0, []*sources.App{{ID: "/web"}, empty(two, "b", "is starting"), stopped(member("/green", 2))}, nil, 0, 0},
		{"the deployment hangs", time.Minute, nil, []string{"deployment-group/web port 0: no task is in rotation: b is starting"}, 1, 0},
		{"one of its apps has a task", 0, []*sources.App{member("/green", 2, "10.0.0.1:1")}, nil, 0, 0},
	} {
		now = now.Add(tt.wait)
		switch {
		case tt.name == "the loop starts again":
			c.reindex()
			c.round()
		case c.AppsSynced():
			updateApps(c, tt.apps...)
		default:
			syncApps(c, tt.apps...)
		}
		if diff := cmp.Diff(tt.want, taskProblems(c)); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", tt.name, diff)
		}
		if told, stopped := emptyMetric(t, c, "false"), emptyMetric(t, c, "true"); told != tt.told || stopped != tt.stopped {
			t.Errorf("%s: the metric counts %d, and %d stopped, want %d and %d", tt.name, told, stopped, tt.told, tt.stopped)
		}
	}
	if n, waiting := len(c.empty.ports), c.empty.next(); n != 0 || !waiting.IsZero() || len(c.empty.waiting) != 0 {
		t.Errorf("%d ports are remembered, the next is told at %v", n, waiting)
	}
}

// The loop wakes up to tell of a port, though no source says anything.
func TestPortWithoutTaskWakesTheLoop(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{})
	syncApps(c, webApp("/web", "web.test"))
	updateApps(c, empty(webApp("/web", "web.test")))
	if at := earlier(c.nextSelection, c.empty.next()); !at.Equal(testTime.Add(emptyGrace)) {
		t.Errorf("the loop wakes up at %v", at)
	}
	for _, tt := range []struct{ a, b, want time.Time }{{time.Time{}, testTime, testTime}, {testTime, time.Time{}, testTime}, {testTime, testTime.Add(-1), testTime.Add(-1)}} {
		if got := earlier(tt.a, tt.b); !got.Equal(tt.want) {
			t.Errorf("earlier of %v and %v is %v", tt.a, tt.b, got)
		}
	}
}
