package marathon

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources"
)

const releases = "../../testdata/marathon/releases"

// supportedReleases are those that docs/compatibility.md names. Each has answers in releases.
var supportedReleases = []string{"1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11"}

// TestReleases reads the same apps as each release shows them: the same is routed.
func TestReleases(t *testing.T) {
	t.Parallel()
	golden := filepath.Join(releases, "apps.golden.json")
	for _, release := range supportedReleases {
		t.Run(release, func(t *testing.T) {
			m := httptest.NewServer(answersOf(t, release))
			t.Cleanup(m.Close) // after the watcher has ended
			cfg := fastConfig(m.URL)
			cfg.Pods = true
			_, sink, _ := watch(t, cfg)
			sink.await(t, "all apps", func(state string) bool { return strings.Count(state, "\n") == 4 })
			got := sink.shown(t)
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("routed is not what the other releases give (-want +got):\n%s", diff)
			}
		})
	}
}

// answersOf answers as a Marathon of the release.
func answersOf(t *testing.T, release string) http.Handler {
	t.Helper()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(releases, release, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	apps, one, pods, events := read("apps.json"), read("app.json"), read("pods.json"), read("events.txt")
	answer := func(data []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(data)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/apps", answer(apps))
	mux.HandleFunc("GET /v2/pods/::status", answer(pods))
	mux.HandleFunc("GET /v2/apps/{id...}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("id") == "shop/web" {
			answer(one)(w, r)
			return
		}
		answer(appOf(t, apps, "/"+r.PathValue("id")))(w, r)
	})
	mux.HandleFunc("GET /v2/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream;charset=utf-8")
		_, _ = w.Write(events)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	return mux
}

// appOf takes the answer for one app out of that for all.
func appOf(t *testing.T, all []byte, id string) []byte {
	var list struct {
		Apps []json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(all, &list); err != nil {
		t.Error(err)
	}
	for _, app := range list.Apps {
		if bytes.Contains(app, []byte(`"id": "`+id+`"`)) {
			return slices.Concat([]byte(`{"app":`), app, []byte(`}`))
		}
	}
	t.Errorf("%s was asked for", id)
	return nil
}

// shown is what the sink holds, without what only some releases tell: the zone of a task,
// and how often it was started (1.8).
func (r *recorder) shown(t *testing.T) []byte {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []sources.App
	for _, id := range slices.Sorted(maps.Keys(r.apps)) {
		app := *r.apps[id]
		app.Ports = slices.Clone(app.Ports)
		for i := range app.Ports {
			p := &app.Ports[i]
			p.Endpoints, p.Excluded = slices.Clone(p.Endpoints), slices.Clone(p.Excluded)
			for j := range p.Endpoints {
				e := &p.Endpoints[j]
				e.Task, e.Region, e.Zone = strings.TrimSuffix(e.Task, "._app.1"), "", ""
				e.Task = strings.TrimSuffix(e.Task, "._app")
			}
			for j := range p.Excluded {
				e := &p.Excluded[j]
				e.Task = strings.TrimSuffix(strings.TrimSuffix(e.Task, "._app.1"), "._app")
			}
		}
		list = append(list, app)
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// TestEventsOfReleases reads the events of each release: the same apps are to be read again.
func TestEventsOfReleases(t *testing.T) {
	t.Parallel()
	for _, release := range supportedReleases {
		stream, err := os.ReadFile(filepath.Join(releases, release, "events.txt"))
		if err != nil {
			t.Fatal(err)
		}
		messages, err := readMessages(bytes.NewReader(stream), 1<<20)
		if err == nil || len(messages) != 7 {
			t.Fatalf("%s: %d messages, %v", release, len(messages), err)
		}
		var apps []string
		ended := 0
		for _, m := range messages {
			c, err := parseEvent(m, true)
			if err != nil {
				t.Errorf("%s: %v", release, err)
			}
			apps = append(apps, c.apps...)
			if c.ended {
				ended++
			}
			if c.full && c.eventType != "event_stream_attached" {
				t.Errorf("%s: %s has everything read again", release, c.eventType)
			}
		}
		want := []string{"/user", "/host", "/shop/web", "/shop/web", "/shop/web", "/idle"}
		if !slices.Equal(apps, want) || ended != 1 {
			t.Errorf("%s: apps %q, want %q; %d deployments ended", release, apps, want, ended)
		}
	}
}
