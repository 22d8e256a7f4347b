// Package heroku is a platform of many apps that hardly anybody uses: they sleep, and wake when somebody
// comes. One is found by a crowd.
package heroku

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

//go:embed apps.json
var definitions []byte

const (
	// hobbies is how many apps there are of which nobody knows, and crawled how many a crawler visits.
	hobbies, crawled = 100, 30
	crowd            = 24
	found            = "/apps/found"
)

// apps has the first definition so many times.
func apps() []byte {
	var list []json.RawMessage
	if err := json.Unmarshal(definitions, &list); err != nil {
		panic(err) // the file is part of the program
	}
	template, all := list[0], list[1:]
	for n := range hobbies {
		all = append(all, bytes.ReplaceAll(template, []byte("${N}"), fmt.Append(nil, n)))
	}
	text, _ := json.Marshal(all) // it was JSON before
	return text
}

// New returns the scenario.
func New() *scenario.Scenario {
	s := &system{figures: scenario.NewFigures()}
	return &scenario.Scenario{
		Name: "heroku", Title: "a platform of apps that sleep until somebody comes, and one that a crowd finds",
		Figures: s.figures, Apps: apps(), Flags: []string{"--scaling"},
		Certificates: [][]string{{"*.apps.test"}},
		Programs:     map[string]marathontest.Program{"/apps/*": s.web},
		Live:         live, Story: story,
		Events: []scenario.Event{
			{Text: "a crawler visits 30 apps that sleep", Do: crawl},
			{Text: "a crowd finds an app, for a minute", Do: func(r *scenario.Run) error {
				v := newVisitors(r, "found", 0)
				v.come(crowd)
				scenario.Pause(r.Context(), time.Minute)
				return v.leave()
			}},
		},
	}
}

// live has somebody come to some app now and then.
func live(r *scenario.Run) {
	newVisitors(r, "steady", 50*time.Millisecond).come(1)
	client := r.Client()
	r.Go(func(ctx context.Context) {
		for scenario.Pause(ctx, 2*time.Second) {
			_ = visit(ctx, r, client, fmt.Sprintf("hobby-%d", rand.IntN(hobbies))) // what fails is in the figures
		}
	})
}

func story(r *scenario.Run) {
	r.Step("100 apps sleep: none has an instance. One that runs is used all the time")
	r.Check(awake(r) == 0, "%d run", awake(r))
	steady := newVisitors(r, "steady", 20*time.Millisecond)
	steady.come(1)

	r.Step("somebody comes to one: it wakes, and answers")
	start := time.Now()
	r.Must(visit(r.Context(), r, r.Client(), "hobby-99"))
	r.Say("   woken and answered in %s, with 300 ms of boot", time.Since(start).Round(time.Millisecond))
	r.Check(awake(r) == 1, "%d apps run", awake(r))

	r.Step("a crawler visits 30 more at once: each wakes, and answers")
	r.Must(crawl(r))
	r.Check(awake(r) >= crawled, "%d apps run", awake(r))

	r.Step("a crowd of 24 finds an app of one instance, which takes 4 at a time: all wait, and there are more instances")
	visitors := newVisitors(r, "found", 0)
	visitors.come(crowd)
	defer func() { _ = visitors.leave() }()
	r.Eventually("40 visits", func() error { return visitors.atLeast(40) })
	before := median(visitors.times())
	r.Eventually("six instances", func() error {
		if n := len(r.Tasks(found)); n < crowd/4 {
			return fmt.Errorf("%d run", n)
		}
		return nil
	})
	visitors.times()
	r.Eventually("all who waited to be through", func() error { return visitors.atLeast(2 * crowd) })
	visitors.times()
	r.Eventually("100 visits", func() error { return visitors.atLeast(100) })
	after := median(visitors.times())
	r.Say("   a visit took %s by the median before, %s after", before.Round(time.Millisecond), after.Round(time.Millisecond))
	r.Check(after < before*3/4, "a visit took %s by the median before, %s after", before, after)
	r.Must(visitors.leave())

	r.Step("nobody comes any more: the apps fall asleep again")
	r.Eventually("all to sleep", func() error {
		if n := awake(r); n > 0 {
			return fmt.Errorf("%d run", n)
		}
		return nil
	})
	r.Must(steady.leave())
	times := steady.times()
	slices.Sort(times)
	r.Say("   the app that runs was asked %d times meanwhile: p50 %s, p99 %s", len(times),
		scenario.Quantile(times, 0.5).Round(time.Millisecond/10), scenario.Quantile(times, 0.99).Round(time.Millisecond/10))
}

// crawl visits apps at once, and joins what went wrong.
func crawl(r *scenario.Run) error {
	client := r.Client()
	defer client.CloseIdleConnections()
	var visiting sync.WaitGroup
	failures := make(chan error, crawled)
	for n := range crawled {
		visiting.Go(func() { failures <- visit(r.Context(), r, client, fmt.Sprintf("hobby-%d", n)) })
	}
	visiting.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

// awake is how many of the apps of which nobody knows have an instance.
func awake(r *scenario.Run) (n int) {
	for i := range hobbies {
		if len(r.Marathon.Tasks(fmt.Sprintf("/apps/hobby-%d", i))) > 0 {
			n++
		}
	}
	return n
}

func median(took []time.Duration) time.Duration {
	slices.Sort(took)
	return scenario.Quantile(took, 0.5)
}
