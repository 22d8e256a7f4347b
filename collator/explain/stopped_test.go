package explain

import (
	"strings"
	"testing"

	"relay/collator"
	"relay/collator/collatortest"
	"relay/sources"
)

// Of an app without a task people read whether that is meant.
func TestExplainAppWithoutTask(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, collator.Config{})
	without := func(id string) *sources.App {
		return collatortest.Changed(collatortest.App(id, "shop.test"), func(p *sources.Port) { p.Endpoints = nil })
	}
	stopped := without("/stopped")
	stopped.Stopped = true
	syncApps(t, c, without("/down"), stopped)
	for subject, want := range map[string][2]bool{"/down": {true, false}, "/stopped": {false, true}, "shop.test": {true, true}} {
		e := Explain(c, subject)
		var text strings.Builder
		e.WriteText(&text)
		problem, says := strings.Contains(text.String(), "port 0: no task is in rotation: the app has none"), strings.Contains(text.String(), "instances    0: it was scaled to 0")
		if got := [2]bool{problem, says}; got != want {
			t.Errorf("%s: a problem and scaled to 0 are %v, want %v:\n%s", subject, got, want, text.String())
		}
		for _, app := range e.Apps {
			if app.Stopped != (app.ID == "/stopped") {
				t.Errorf("%s: stopped is %v", app.ID, app.Stopped)
			}
		}
	}
	for _, view := range c.Apps() {
		if view.Stopped != (view.ID == "/stopped") {
			t.Errorf("in the JSON of apps %s is stopped: %v", view.ID, view.Stopped)
		}
	}
}
