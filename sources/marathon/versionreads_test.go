package marathon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources"
	"relay/sources/marathon/marathontest"
)

// checkAdded is an app whose old tasks are of a version without a check, and whose new one
// fails the check.
func checkAdded(id string) marathontest.App {
	with := func(more string) string {
		return strings.Replace(definition(id, strings.Trim(id, "/")+".test"), "{", "{"+more, 1)
	}
	name := strings.Trim(id, "/")
	return marathontest.App{
		Definition: with(fmt.Sprintf(`"version":%q,"healthChecks":[{"protocol":"HTTP"}],`, newVersion)),
		Earlier:    []string{with(fmt.Sprintf(`"version":%q,`, oldVersion))},
		Tasks: []marathontest.Task{
			{ID: name + ".1", Host: "10.0.0.1", Ports: []int{31001}, Version: oldVersion, Health: []*marathontest.HealthResult{}},
			{ID: name + ".2", Host: "10.0.0.1", Ports: []int{31002}, Version: oldVersion, Health: []*marathontest.HealthResult{}},
			{ID: name + ".3", Host: "10.0.0.1", Ports: []int{31003}, Version: newVersion, Health: []*marathontest.HealthResult{{Alive: false}}},
		},
	}
}

const oldServe = "/a [a.test] [a.1@10.0.0.1:31001/healthy a.2@10.0.0.1:31002/healthy]"

// app returns what the sink holds of an app; without ports and notes if that is nothing.
func (r *recorder) app(id string) sources.App {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.apps[id]; a != nil {
		return *a
	}
	return sources.App{}
}

// notesOf are the texts of an app's notes.
func (r *recorder) notesOf(id string) string {
	var texts []string
	for _, n := range r.app(id).Notes {
		texts = append(texts, n.Text)
	}
	return strings.Join(texts, "\n")
}

// TestCheckIsAddedBeforeTheStart has old tasks in the first read, and then those of a
// Relay that followed the deployment, of a new leader and of a Relay that starts again.
func TestCheckIsAddedBeforeTheStart(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	if err := m.LoadApps(checkAdded("/a")); err != nil {
		t.Fatal(err)
	}
	load(t, m, "/other")
	w, sink, _ := watch(t, fastConfig(m.URL()))
	known := func(string) bool {
		return strings.Contains(sink.notesOf("/a"), "judged by its own version, of "+oldVersion)
	}
	sink.await(t, "synced", contains(oldServe))
	sink.await(t, "read", known)
	for range 3 {
		reload(t, w)
	}
	m.CutStreams()
	reload(t, w)
	if n := m.Requests(marathontest.KindVersion); n != 1 {
		t.Errorf("%d reads of versions", n)
	}
	if err := m.UpdateTask("a.1", func(task *marathontest.Task) { task.Health = []*marathontest.HealthResult{{Alive: false}} }); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "one fails", contains("[a.2@10.0.0.1:31002/healthy]"))
	if strings.Contains(sink.state(), "a.3@") || sink.saw("a.3@") {
		t.Errorf("the new task serves")
	}
}

// TestCheckIsAddedWhileRelayFollows costs no read of a version: its definition was read
// when it was the newest.
func TestCheckIsAddedWhileRelayFollows(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{ManualHealth: true, Phantom: marathontest.PhantomTasks()})
	_, sink, _ := watch(t, fastConfig(m.URL()))
	if err := m.Apply(`{"id":"/a","instances":2,"portDefinitions":[{"name":"http"}],"labels":{"HAPROXY_GROUP":"external"}}`); err != nil {
		t.Fatal(err)
	}
	idle(t, m)
	two := func(s string) bool { return strings.Count(s, "/healthy") == 2 }
	sink.await(t, "two", two)
	before := sink.state()
	for _, change := range []string{`"healthChecks":[{"protocol":"TCP"}]`, `"healthChecks":[{"protocol":"TCP"},{"protocol":"HTTP"}],"portDefinitions":[{"name":"admin"},{"name":"http"}]`} {
		request(t, http.MethodPut, m.URL()+"/v2/apps/a?force=true", "{"+change+"}")
		sink.await(t, "deployed", func(string) bool { return strings.Contains(sink.notesOf("/a"), "own version") })
	}
	sink.await(t, "two ports", func(string) bool {
		ports := sink.app("/a").Ports
		return len(ports) == 2 && len(ports[0].Endpoints) == 0
	})
	if s := sink.state(); s != before {
		t.Errorf("not the same tasks serve:\n%s\nbefore\n%s", s, before)
	}
	if n := m.Requests(marathontest.KindVersion); n != 0 {
		t.Errorf("%d reads of versions", n)
	}
}

// TestVersionsThatCannotBeRead has a Marathon that no longer has a version, one that
// fails, hangs, or answers something else.
func TestVersionsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault marathontest.Fault
		again bool // it is tried again
	}{
		"forgotten":        {fault: marathontest.Fault{Status: 404, Body: `{"message":"App '/a' does not exist in version x"}`}},
		"a proxy":          {fault: marathontest.Fault{Status: 404, Body: `not found`}, again: true},
		"forbidden":        {fault: marathontest.Fault{Status: 403, Body: `{"message":"no"}`}, again: true},
		"broken":           {fault: marathontest.Fault{Status: 500}, again: true},
		"cut short":        {fault: marathontest.Fault{Truncate: 20}, again: true},
		"hangs":            {fault: marathontest.Fault{Hang: true}},
		"another app":      {fault: marathontest.Fault{Body: fmt.Sprintf(`{"id":"/b","version":%q}`, oldVersion)}, again: true},
		"another version":  {fault: marathontest.Fault{Body: fmt.Sprintf(`{"id":"/a","version":%q}`, newVersion)}, again: true},
		"a strange shape":  {fault: marathontest.Fault{Body: fmt.Sprintf(`{"id":"/a","version":%q,"healthChecks":7}`, oldVersion)}, again: true},
		"no object at all": {fault: marathontest.Fault{Body: `[]`}, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := marathontest.Start(t, marathontest.Options{})
			if err := m.LoadApps(checkAdded("/a")); err != nil {
				t.Fatal(err)
			}
			heal := m.Inject(marathontest.KindVersion, tt.fault)
			w, sink, logged := watch(t, fastConfig(m.URL()))
			sink.await(t, "synced", contains(oldServe))
			if tt.again {
				poll(t, "tried again", func() bool { return m.Requests(marathontest.KindVersion) > 2 })
			} else {
				poll(t, "tried", func() bool { return m.Requests(marathontest.KindVersion) > 0 })
			}
			load(t, m, "/new") // a change does not wait
			status(m, "/new")
			sink.await(t, "changes go on", contains("/new "))
			began := time.Now()
			reload(t, w)
			if s := sink.state(); !strings.Contains(s, oldServe) {
				t.Errorf("the state is\n%s", s)
			}
			if tt.again && !strings.Contains(logged.String(), "an older version of an app could not be read") {
				t.Error("nothing was logged")
			}
			for tt.fault.Hang && time.Since(began) < 20*versionPause {
				reload(t, w)
			}
			if n := m.Requests(marathontest.KindVersion); n > 1 && tt.fault.Hang {
				t.Errorf("%d reads of one version at a time", n)
			}
			heal()
			if name == "forgotten" {
				sink.await(t, "told", func(string) bool { return strings.Contains(sink.notesOf("/a"), "no longer has") })
				reload(t, w)
				if n := m.Requests(marathontest.KindVersion); n != 1 {
					t.Errorf("read %d times", n)
				}
				return
			}
			sink.await(t, "read", func(string) bool { return strings.Contains(sink.notesOf("/a"), "own version") })
		})
	}
}

// TestAppIsDeletedWhileItsVersionIsRead leaves nothing behind.
func TestAppIsDeletedWhileItsVersionIsRead(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	if err := m.LoadApps(checkAdded("/a"), checkAdded("/b")); err != nil {
		t.Fatal(err)
	}
	load(t, m, "/other")
	hold := m.Inject(marathontest.KindVersion, marathontest.Fault{Hang: true})
	_, sink, _ := watch(t, fastConfig(m.URL()))
	poll(t, "being read", func() bool { return m.Requests(marathontest.KindVersion) == 2 })
	if err := m.LoadApps(checkAdded("/late")); err != nil {
		t.Fatal(err)
	}
	status(m, "/late")
	sink.await(t, "one more", contains("/late "))
	m.RemoveApp("/a")
	m.RemoveApp("/late")
	status(m, "/a")
	status(m, "/late")
	sink.await(t, "removed", func(s string) bool { return !strings.Contains(s, "/a ") && !strings.Contains(s, "/late ") })
	hold()
	sink.await(t, "the other is read", func(string) bool { return strings.Contains(sink.notesOf("/b"), "own version") })
	if n := m.Requests(marathontest.VersionOf("/late", oldVersion)); n != 0 {
		t.Errorf("the version of an app that is gone was read")
	}
	load(t, m, "/a")
	status(m, "/a")
	sink.await(t, "created again", contains("/a [a.test] [a.1@10.0.0.1:31000/healthy]"))
	if notes := sink.notesOf("/a"); notes != "" {
		t.Errorf("the new app has the notes %q", notes)
	}
}

// TestManyAppsWithOldVersions starts a Relay with many apps in deployment, at a Marathon that
// cannot say what their versions were. It asks a few at a time, and less and less often.
func TestManyAppsWithOldVersions(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	const apps = 300
	var all []marathontest.App
	for i := range apps {
		all = append(all, checkAdded(fmt.Sprintf("/app%d", i)))
	}
	if err := m.LoadApps(all...); err != nil {
		t.Fatal(err)
	}
	heal := m.Inject(marathontest.KindVersion, marathontest.Fault{Status: 503})
	began := time.Now()
	w, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", func(s string) bool { return strings.Count(s, "/healthy") == 2*apps })
	load(t, m, "/new")
	status(m, "/new")
	sink.await(t, "a change", contains("/new "))
	poll(t, "several tries", func() bool { return m.Requests(marathontest.KindVersion) > 5 })
	reload(t, w)
	tries, took := m.Requests(marathontest.KindVersion), time.Since(began)
	if most := int(took/versionPause) + 5; tries > most {
		t.Errorf("%d reads of versions in %s", tries, took)
	}
	heal()
	m.Inject(marathontest.KindVersion, marathontest.Fault{Delay: 50 * time.Millisecond})
	poll(t, "some are read", func() bool { return m.Requests(marathontest.KindVersion) > tries+20 })
	if n := m.MostInFlight(marathontest.KindVersion); n > maxVersionReads {
		t.Errorf("%d reads of versions at a time", n)
	}
	t.Logf("%d tries in %s while they failed", tries, took.Round(time.Millisecond))
}

// TestVersionsArePaced has a Marathon that answers no version: between two reads there is the pause at least, also
// after one that failed.
func TestVersionsArePaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var apps []string
		for i := range 20 {
			apps = append(apps, fmt.Sprintf(`{"id":"/a%d","version":%q,"labels":{"HAPROXY_GROUP":"external"},%s,%s,"tasks":[%s]}`, i, newVersion, onePort, oneCheck, shownTask("o", oldVersion, "")))
		}
		s := &scripted{list: `{"apps":[` + strings.Join(apps, ",") + `]}`, events: beating}
		w := newScripted(t, s, "http://m1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := w.Serve(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		var reads []time.Time
		for i, r := range s.requests {
			if strings.Contains(r, "/versions/") {
				reads = append(reads, s.times[i])
			}
		}
		for i := 1; i < len(reads); i++ {
			if gap := reads[i].Sub(reads[i-1]); gap < versionPause {
				t.Errorf("a read %s after the last", gap)
			}
		}
		if len(reads) < 5 {
			t.Errorf("%d reads", len(reads))
		}
		time.Sleep(time.Minute) // the writer of the stream notices
	})
}

// TestVersionsOfMarathon holds the simulation to what Marathon answers.
func TestVersionsOfMarathon(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Phantom: marathontest.PhantomTasks(), KillGrace: time.Millisecond})
	if err := m.Apply(`{"id":"/a","portDefinitions":[{"name":"http"}]}`); err != nil {
		t.Fatal(err)
	}
	idle(t, m)
	first := m.Tasks("/a")[0].Version
	if err := m.Apply(`{"id":"/a","portDefinitions":[{"name":"web"}]}`); err != nil {
		t.Fatal(err)
	}
	idle(t, m)
	var list struct{ Versions []string }
	if err := json.Unmarshal(request(t, http.MethodGet, m.URL()+"/v2/apps/a/versions", ""), &list); err != nil || len(list.Versions) != 2 || list.Versions[1] != first {
		t.Fatalf("versions %q, %v; the first is %s", list.Versions, err, first)
	}
	if body := string(request(t, http.MethodGet, m.URL()+"/v2/apps//a/versions/"+first, "")); !strings.Contains(body, `"http"`) || !strings.HasPrefix(body, `{"`) || strings.Contains(body, `"tasks"`) {
		t.Errorf("the first version is %s", body)
	}
	m.ForgetVersions("/a")
	if err := json.Unmarshal(request(t, http.MethodGet, m.URL()+"/v2/apps/a/versions", ""), &list); err != nil || len(list.Versions) != 1 {
		t.Errorf("versions %q, %v", list.Versions, err)
	}
}
