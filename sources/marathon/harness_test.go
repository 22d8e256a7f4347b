package marathon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/logtest"
	"relay/sources"
	"relay/sources/marathon/marathontest"
)

// patience bounds every wait for something that must happen, also on a busy machine.
const patience = 40 * time.Second

// recorder is a Sink that remembers what it was told.
type recorder struct {
	mu      sync.Mutex
	apps    map[string]*sources.App
	syncs   int
	updates int
	early   bool // an update came before the first sync
	fewest  int  // apps at any time since the first sync
	seen    []string
	changed chan struct{} // closed and replaced at each call
}

func newRecorder() *recorder { return &recorder{fewest: -1, changed: make(chan struct{})} }

func (r *recorder) SyncApps(apps []*sources.App) {
	r.note(func() {
		r.syncs++
		r.apps = map[string]*sources.App{}
		for _, a := range apps {
			r.apps[a.ID] = a
			r.seen = append(r.seen, describe(a))
		}
	})
}

func (r *recorder) UpdateApps(set []*sources.App, removed []string) {
	r.note(func() {
		r.updates++
		if r.early = r.early || r.syncs == 0; r.early {
			return
		}
		for _, a := range set {
			r.apps[a.ID] = a
			r.seen = append(r.seen, describe(a))
		}
		for _, id := range removed {
			delete(r.apps, id)
		}
	})
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	if r.fewest < 0 || len(r.apps) < r.fewest {
		r.fewest = len(r.apps)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// describe shows an app as "id domains endpoints".
func describe(a *sources.App) string {
	var domains, endpoints []string
	for _, p := range a.Ports {
		domains = append(domains, p.Domains...)
		for _, e := range p.Endpoints {
			endpoints = append(endpoints, e.Task+"@"+e.Address.String()+"/"+e.Health.String())
		}
	}
	return fmt.Sprintf("%s %v %v", a.ID, domains, endpoints)
}

// state shows what the sink holds, one app a line.
func (r *recorder) state() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(r.apps)) {
		lines = append(lines, describe(r.apps[id]))
	}
	return strings.Join(lines, "\n")
}

// count returns a counter of the recorder.
func (r *recorder) count(counter *int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *counter
}

// saw tells whether the sink was ever given part.
func (r *recorder) saw(part string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(strings.Join(r.seen, " "), part)
}

// await waits until the state is as wanted.
func (r *recorder) await(t *testing.T, what string, ok func(state string) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		changed, synced := r.changed, r.syncs > 0
		r.mu.Unlock()
		if synced && ok(r.state()) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s: not so after %s; the state is\n%s", what, patience, r.state())
		}
	}
}

func contains(part string) func(string) bool {
	return func(state string) bool { return strings.Contains(state, part) }
}

func lacks(part string) func(string) bool {
	return func(state string) bool { return !strings.Contains(state, part) }
}

// poll waits for something that nothing announces.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %s", what, patience)
		}
	}
}

// fastConfig is good for tests that do not test its times.
func fastConfig(urls ...string) Config {
	return Config{URLs: urls, BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond, RereadDelay: time.Hour, ConfirmDelay: 50 * time.Millisecond}
}

// watch runs a Watcher, one connection after another, until the test ends.
func watch(t *testing.T, cfg Config) (*Watcher, *recorder, *logtest.Buffer) {
	t.Helper()
	sink, logged := newRecorder(), &logtest.Buffer{}
	w, err := New(cfg, sink, slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = serveOnce(ctx, w)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if sink.early {
			t.Error("the sink was updated before its first sync")
		}
	})
	return w, sink, logged
}

// serveOnce is a supervisor: a panic is an error.
func serveOnce(ctx context.Context, w *Watcher) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return w.Serve(ctx)
}

// reload forces a full read.
func reload(t *testing.T, w *Watcher) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := w.Reload(ctx); err != nil {
		t.Fatal(err)
	}
}

// load puts a simple app with one task into a simulated Marathon.
func load(t *testing.T, m *marathontest.Server, ids ...string) {
	t.Helper()
	for _, id := range ids {
		app := marathontest.App{Definition: definition(id, strings.Trim(id, "/")+".test"), Tasks: []marathontest.Task{
			{ID: strings.Trim(id, "/") + ".1", Host: "10.0.0.1", Ports: []int{31000}},
		}}
		if err := m.LoadApps(app); err != nil {
			t.Fatal(err)
		}
	}
}

func definition(id, domain string) string {
	return fmt.Sprintf(`{"id":%q,"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":%q},"networks":[{"mode":"host"}],"portDefinitions":[{"port":10000,"protocol":"tcp"}]}`, id, domain)
}

// status publishes a status update of an app.
func status(m *marathontest.Server, id string) {
	m.Publish("status_update_event", map[string]any{"appId": id, "taskId": "x", "taskStatus": "TASK_RUNNING"})
}

// idle waits until no deployment runs.
func idle(t *testing.T, m *marathontest.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := m.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
}

// request makes a request and returns the body of a good answer.
func request(t *testing.T, method, url, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s, %v", method, url, resp.StatusCode, data, err)
	}
	return data
}

// currentState is what Status is made of.
func (w *Watcher) currentState() state {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}
