package page

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"relay/admin/api"
	"relay/admin/page/pagetest"
)

// sleepyData is wellData with apps that sleep and are sized by load, and requests that wait.
func sleepyData() *fakeData {
	now := time.Now()
	f := wellData()
	f.status.Scaling = wakesStatus(now)
	f.status.Counts.Asleep = 211
	f.story.Scaling = wokenScaling(now)
	for i, phase := range []string{api.PhaseWaking, api.PhaseAsleep, api.PhaseAsleep, api.PhaseFailed, api.PhaseOffline} {
		app := &f.apps[2+i]
		app.Ports[0].Endpoints, app.Stopped = nil, phase == api.PhaseOffline
		app.Scaling = &api.Scaling{Phase: phase, Since: now.Add(-time.Hour), Text: "the next request wakes it, with 2 instances"}
		f.domains[2+i].Status = api.DomainAsleep
	}
	return f
}

// wokenScaling is that of an app that was woken, and is sized by its load.
func wokenScaling(now time.Time) *api.Scaling {
	return &api.Scaling{
		Phase: api.PhaseAwake, Since: now.Add(-34 * time.Minute), Instances: 4,
		Reason: "a request for web.team-0.example.com from 203.0.113.0/24 woke it: team-0_web.0 took requests 2.4 s after it",
		Text:   "it does not sleep now: 31 requests or connections are in progress",
		Size:   "31 requests in progress over the last 60 s, 10 are meant for each instance: 4 instances",
		Queues: []api.Queue{{Port: 0, Concurrency: 10, InProgress: 31, Length: 100}},
		Events: []api.ScalingEvent{
			{Time: now.Add(-9 * time.Minute), Kind: "resized", Text: "from 2 to 4 instances: 31 requests in progress over the last 6 s, 10 are meant for each instance: 4 instances"},
			{Time: now.Add(-31 * time.Minute), Kind: "change failed", Text: "Marathon answered 409: the app is locked by a deployment; the next try is in 1.0 s"},
			{Time: now.Add(-34 * time.Minute), Kind: "woke up", Text: "a request for web.team-0.example.com from 203.0.113.0/24 woke it: team-0_web.0 took requests 2.4 s after it", Took: 2.4},
			{Time: now.Add(-34 * time.Minute), Kind: "is woken", Text: "a request for web.team-0.example.com from 203.0.113.0/24 came after 11 h of sleep"},
			{Time: now.Add(-11 * time.Hour), Kind: "fell asleep", Text: "nobody used it for 30 min; wakes to 2 instances"},
		},
	}
}

// wakesStatus is what is seen while requests wait.
func wakesStatus(now time.Time) *api.ScalingStatus {
	return &api.ScalingStatus{
		Apps: map[string]int{api.PhaseAwake: 914, api.PhaseAsleep: 204, api.PhaseWaking: 2, api.PhaseFailed: 1}, Decisions: 4711, Waiting: 17, Queued: 3,
		Wakes: []api.Wake{
			{App: "/team-0/search", Requests: 16, Since: now.Add(-14 * time.Second), Why: "An instance is starting."},
			{App: "/team-4/jobs", Requests: 1, Since: now.Add(-2 * time.Second), Why: "its turn to be woken: 20 apps are woken a second, and clients of 3 networks wait for some"},
			{App: "/team-4/mail", Why: "It was asked to start."},
		},
		MoreWakes: 2,
	}
}

// The first page has the apps that requests wait for only while there are any, and it changes with
// the phase of an app without being loaded again.
func TestShowsWhatWaits(t *testing.T) {
	data, stream := sleepyData(), &events{}
	url := serve(t, data, stream)
	for path, wants := range map[string][]string{
		"/":                {"Apps that requests wait for", "17 requests", "/team-0/search", "An instance is starting.", "Its turn to be woken", "2 more", "204 asleep", "211 asleep"},
		"/apps":            {`phase=asleep`, `<span class="badge dim">asleep</span>`, `<span class="badge warn">waking</span>`, `<span class="badge bad">failed</span>`, `<span class="badge dim">stopped</span>`},
		"/apps/team-0/web": {"A request for web.team-0.example.com from 203.0.113.0/24 woke it", "It does not sleep now", "31 requests in progress over the last 60 s", "2.4 s", "woke up"},
	} {
		text := get(t, url+path)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%s has no %q", path, want)
			}
		}
	}
	ctx := pagetest.Start(t)
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/"))
	pagetest.WaitFor(t, ctx, isLive)
	pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.same = true`))
	data.change(func(f *fakeData) { f.status.Scaling = &api.ScalingStatus{Decisions: 4712} })
	stream.send("status")
	pagetest.WaitFor(t, ctx, `window.same && !document.querySelector("#wakes")`)
	if strings.Contains(get(t, url+"/"), "requests wait for") {
		t.Error("nothing waits, and the page shows what does")
	}
	pagetest.Do(t, ctx, chromedp.Navigate(url+"/apps/team-0/web"))
	pagetest.WaitFor(t, ctx, isLive)
	pagetest.Run(t, ctx, chromedp.Evaluate[bool](`window.same = true`))
	data.change(func(f *fakeData) {
		f.story.Scaling = &api.Scaling{Phase: api.PhaseFallingAsleep, Text: "it is about to be scaled to 0"}
	})
	stream.send("status")
	pagetest.WaitFor(t, ctx, `window.same && document.querySelector("#h-scaling").parentNode.innerText.includes("falling asleep")`)
}
