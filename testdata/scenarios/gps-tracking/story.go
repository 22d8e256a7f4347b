// Package gpstracking is the tracking of vehicles for public safety: browsers show where each is, by
// WebSockets and GraphQL subscriptions that stay open for weeks, and ask for the past by HTTP.
package gpstracking

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

//go:embed apps.json
var apps []byte

const (
	positions = "/tracking/positions"
	graphql   = "/tracking/graphql"
	history   = "/tracking/history"

	vehicles, browsers, subscribers = 4, 60, 40
)

// New returns the scenario.
func New() *scenario.Scenario {
	s := &system{figures: scenario.NewFigures()}
	f := &fleet{system: s}
	return &scenario.Scenario{
		Name: "gps-tracking", Title: "vehicles that report where they are, and browsers that show it for weeks",
		Figures: s.figures, Apps: apps, Certificates: [][]string{{"gps.test"}},
		Programs: map[string]marathontest.Program{positions: s.positionsServer, graphql: s.graphqlServer, history: s.historyServer},
		Live:     f.start, Story: f.story,
		Events: []scenario.Event{
			{Text: "positions are deployed anew", Do: func(r *scenario.Run) error { return r.Release(positions) }},
			{Text: "Relay is stopped, and another one started", Do: (*scenario.Run).RestartRelay},
			{Text: "an instance of GraphQL dies", Do: func(r *scenario.Run) error { return r.Crash(r.Tasks(graphql)[0]) }},
		},
	}
}

// fleet is all clients.
type fleet struct {
	system      *system
	vehicles    []*vehicle
	browsers    []*socket
	seen        []*atomic.Int32 // by each browser
	subscribers []*socket
}

func (f *fleet) start(r *scenario.Run) {
	client := r.Client()
	for i := range vehicles {
		v := &vehicle{name: fmt.Sprintf("unit-%d", i)}
		f.vehicles = append(f.vehicles, v)
		r.Go(func(ctx context.Context) { v.drive(ctx, r, client) })
	}
	for range browsers {
		b, seen := browser(r, client)
		f.browsers, f.seen = append(f.browsers, b), append(f.seen, seen)
		r.Go(func(ctx context.Context) { b.stay(ctx, r) })
	}
	for i := range subscribers {
		s := subscriber(r, client, f.vehicles[i%vehicles].name)
		f.subscribers = append(f.subscribers, s)
		r.Go(func(ctx context.Context) { s.stay(ctx, r) })
	}
}

func (f *fleet) story(r *scenario.Run) {
	r.Step("60 browsers and 40 GraphQL subscriptions see where 4 vehicles are")
	f.start(r)
	f.allFollow(r)

	r.Step("the history is scaled and deployed anew: no socket of the others notices")
	before := f.ends()
	for _, n := range []int{4, 1, 3} {
		r.Must(r.Scale(history, n))
		r.Must(r.Release(history))
	}
	f.allFollow(r)
	r.Check(f.ends() == before, "before %+v, then %+v", before, f.ends())

	r.Step("Relay is upgraded: no socket notices")
	r.Must(r.RestartRelay())
	f.allFollow(r)
	r.Check(f.ends() == before, "before %+v, then %+v", before, f.ends())

	r.Step("positions are deployed anew: its browsers are told to come again, and nobody else is")
	r.Must(r.Release(positions))
	f.allFollow(r)
	after := f.ends()
	r.Check(after.told >= browsers && after.cut == 0, "of %d browsers %d were told, %d cut off", browsers, after.told, after.cut)
	r.Check(after.ofSubscribers == 0, "%d subscriptions ended", after.ofSubscribers)

	r.Step("an instance dies: its browsers, and only those, are back on the others")
	task := r.Tasks(positions)[0]
	had := f.system.figures.Open(positions)[task]
	r.Must(r.Crash(task))
	f.allFollow(r)
	r.Eventually("its browsers to notice", func() error {
		if now := f.ends(); now.cut != had || now.told != after.told || now.ofSubscribers != 0 {
			return fmt.Errorf("the instance had %d; before %+v, now %+v", had, after, now)
		}
		return nil
	})

	r.Step("vehicles park: each browser has seen each position once, in order, and the history has them")
	for _, v := range f.vehicles {
		v.parked.Store(true)
	}
	f.nothingMissed(r)
}

// ends counts how sockets ended so far.
type ends struct{ told, cut, ofSubscribers int }

func (f *fleet) ends() (e ends) {
	for _, b := range f.browsers {
		b.note(func() { e.told, e.cut = e.told+b.told, e.cut+b.cut })
	}
	for _, s := range f.subscribers {
		s.note(func() { e.ofSubscribers += s.told + s.cut })
	}
	return e
}

// allFollow waits until all are connected and get positions, from now on.
func (f *fleet) allFollow(r *scenario.Run) {
	all := append(f.browsers[:browsers:browsers], f.subscribers...)
	for _, s := range all {
		s.note(func() { s.messages = 0 })
	}
	r.Eventually("all sockets", func() error {
		for i, s := range all {
			var err error
			s.note(func() {
				if err = s.wrong; err == nil && (!s.connected || s.messages < 2) {
					err = fmt.Errorf("client %d of %d: connected %v, %d messages", i, len(all), s.connected, s.messages)
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *fleet) nothingMissed(r *scenario.Run) {
	client := r.Client()
	r.Eventually("all browsers to have all", func() error {
		have := int32(f.system.positions.Len())
		for i, b := range f.browsers {
			var wrong error
			b.note(func() { wrong = b.wrong })
			if wrong != nil || f.seen[i].Load() != have {
				return fmt.Errorf("browser %d has %d positions of %d: %w", i, f.seen[i].Load(), have, wrong)
			}
		}
		answer, err := r.Ask(r.Context(), client, http.MethodGet, "https://gps.test/history?after=0", "")
		if err != nil {
			return err
		}
		var past []position
		if err := json.Unmarshal([]byte(answer.Body), &past); err != nil || len(past) != int(have) {
			return fmt.Errorf("the history has %d positions of %d: %w", len(past), have, err)
		}
		return nil
	})
	failed := 0
	for _, v := range f.vehicles {
		failed += int(v.failed.Load())
	}
	r.Say("   %d positions, %d reports failed and were not sent again", f.system.positions.Len(), failed)
	r.Check(failed <= vehicles, "%d reports failed: more than those in progress when an instance died", failed)
}
