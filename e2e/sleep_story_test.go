package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
)

// explains waits until the API, relay explain and relay app, and the app's page all have a text.
func (w *world) explains(what, text string) {
	w.t.Helper()
	w.eventually(what, func() error {
		if s := w.scaling("/sleepy"); s == nil || !tells(s.Text, text) && !slices.ContainsFunc(s.Events, func(e api.ScalingEvent) bool { return tells(e.Text, text) }) {
			return &unsaid{"the API", text, ""}
		}
		for _, args := range [][]string{{"explain", "sleepy.test"}, {"app", "/sleepy"}} {
			if _, out, _ := command(w.t, append([]string{args[0], "--admin", w.admin.url}, args[1:]...)...); !tells(out, text) {
				return &unsaid{"relay " + args[0], text, out}
			}
		}
		if _, page := w.admin.get("/apps/sleepy"); !tells(page, text) {
			return &unsaid{"the page", text, page}
		}
		return nil
	})
}

// tells reports whether people are told something, as a sentence or as a part of one.
func tells(shown, text string) bool {
	return strings.Contains(strings.ToLower(strings.Join(strings.Fields(shown), " ")), strings.ToLower(text))
}

// unsaid says that something does not have a text.
type unsaid struct{ what, text, has string }

func (l *unsaid) Error() string { return l.what + " does not say " + l.text + ":\n" + l.has }

// People see why an app is awake, when it will sleep, why it sleeps, what woke it and how long that took.
func TestPeopleSeeWhyAppsSleepAndWake(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.deploy(w.dozer("/sleepy", "sleepy.test", "RELAY_IDLE_AFTER", "20s"))
	w.startOften()
	conn := w.clients.echo("ws://sleepy.test/ws")
	w.explains("what keeps it awake", "1 requests or connections are in progress")
	_ = conn.CloseNow()
	w.explains("when it will sleep", "s ago, and it sleeps after 20 s")
	w.explains("why it sleeps", "nobody used it for 2")
	w.phase("/sleepy", api.PhaseAsleep)
	w.explains("what it wakes to", "it wakes with 2 instances")
	w.marathon.SetBoot("/sleepy", 700*time.Millisecond)
	a := <-w.ask(http.MethodGet, nil)
	a.is(t, "a request", http.StatusOK, "")
	w.explains("what woke it", "a request for sleepy.test from 127.0.0.0/24")
	w.explains("how long that took", "took requests ")
	i := slices.IndexFunc(w.scaling("/sleepy").Events, func(e api.ScalingEvent) bool { return e.Took > 0 })
	if i < 0 {
		t.Fatalf("no event says how long the wake took: %+v", w.scaling("/sleepy").Events)
	}
	if e := w.scaling("/sleepy").Events[i]; e.Took < 0.7 || e.Took > 20 {
		t.Errorf("the wake took %+v", e)
	}
}
