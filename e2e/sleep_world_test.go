package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/sources/marathon/marathontest"
)

// dozing is a world in which an app sleeps after a second without use, and Envoys report each second.
func dozing(t *testing.T, labels ...string) *world {
	t.Helper()
	w := newScalingWorld(t)
	w.marathon.deploy(w.dozer("/sleepy", "sleepy.test", labels...))
	return w
}

// dozer is the definition of an app with two instances that sleeps after a second.
func (w *world) dozer(id, domain string, labels ...string) string {
	all := map[string]string{"RELAY_IDLE_AFTER": "1s", "OWNER": "shop"}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	return sleepyApp(id, domain, 2, all)
}

// startOften starts Relay and an Envoy that reports each second.
func (w *world) startOften() {
	w.t.Helper()
	w.start()
	w.reportOften()
}

func (w *world) reportOften() { w.relay.running.Loads().Pace("external", time.Second) }

// awakeFor fails the test if an app does not stay awake for so long, by what Envoys report: it must be
// in use all the time, for the reason that Relay has to give.
func (w *world) awakeFor(id string, d time.Duration, reason string) {
	w.t.Helper()
	writes := w.writes(id)
	until := time.Now().Add(d)
	seen := false
	w.eventually(id+" is used for so long", func() error {
		s := w.scaling(id)
		if s == nil {
			return fmt.Errorf("it has no scaling")
		}
		if s.Phase != api.PhaseAwake && s.Phase != api.PhaseFallingAsleep {
			w.t.Fatalf("%s is %+v", id, s)
		}
		seen = seen || slices.ContainsFunc(strings.Split(reason, "|"), func(one string) bool { return strings.Contains(s.Text, one) })
		if time.Now().Before(until) || !seen {
			return fmt.Errorf("it is %s: %s", s.Phase, s.Text)
		}
		return nil
	})
	if n := w.writes(id) - writes; n != 0 {
		w.t.Fatalf("%s is in use, and Relay wrote %d times", id, n)
	}
}

// written is what Marathon has of an app.
type written struct {
	Instances int
	Labels    map[string]string
}

func (w *world) written(id string) (app written) {
	w.t.Helper()
	if err := json.Unmarshal(w.marathon.AppJSON(id), &app); err != nil {
		w.t.Fatal(err)
	}
	return app
}

// has fails the test unless Marathon has so many instances of an app, the label RELAY_ASLEEP so ("" is
// none), and the label of others.
func (w *world) has(id string, instances int, asleep string) {
	w.t.Helper()
	app := w.written(id)
	if app.Instances != instances || app.Labels["RELAY_ASLEEP"] != asleep || app.Labels["OWNER"] == "" {
		w.t.Errorf("Marathon has %s with %+v, want %d instances and RELAY_ASLEEP=%q", id, app, instances, asleep)
	}
}

// people change an app as they do with Marathon's API, whatever is deployed.
func (w *world) people(method, id, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.marathon.URL()+"/v2/apps"+id+"?force=true", bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	w.byPeople++
	if _ = resp.Body.Close(); resp.StatusCode > 299 {
		w.t.Fatalf("people change %s: %s", id, resp.Status)
	}
}

// writes counts what was written of an app; people's changes are among it.
func (w *world) writes(id string) int { return w.marathon.Requests(marathontest.WriteOf(id)) }

// count is how many lines of the log have an event.
func (r *runningRelay) count(event string) int {
	return strings.Count(r.log.String(), " event="+event+" ")
}

func writeOf(id string) marathontest.Kind { return marathontest.WriteOf(id) }

// before is a fault that calls something once, before Marathon looks at a request.
func before(f func()) marathontest.Fault { return marathontest.Fault{Before: f, Times: 1} }

// noProblemOf waits until no problem is of a subject.
func (a *adminClient) noProblemOf(subject string) {
	a.t.Helper()
	eventually(a.t, "no problem of "+subject, func() error {
		for _, p := range a.problems() {
			if strings.Contains(p.Subject, subject) {
				return fmt.Errorf("%+v", p)
			}
		}
		return nil
	})
}

// versions counts the versions of an app, as Marathon has them.
func (w *world) versions(id string) int {
	w.t.Helper()
	resp, err := http.Get(w.marathon.URL() + "/v2/apps" + id + "/versions")
	if err != nil {
		w.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Versions []string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		w.t.Fatal(err)
	}
	return len(answer.Versions)
}
