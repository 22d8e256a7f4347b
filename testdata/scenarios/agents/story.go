// Package agents is programs that act for people: each has an address, by path or by host, and its
// memory in one instance. They call others, who are slow, and others call them.
package agents

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

//go:embed apps.json
var apps []byte

const (
	agentApp = "/agents/agent"
	deskApp  = "/agents/desk"
	partner  = "/agents/partner"
	// agents is how many there are of each kind.
	agents = 250
	// few may move though they need not: two of a hundred.
	few = agents / 50
)

// New returns the scenario.
func New() *scenario.Scenario {
	s := &system{figures: scenario.NewFigures()}
	o := &office{system: s}
	return &scenario.Scenario{
		Name: "agents", Title: "agents that each have an address, and their memory in one instance",
		Figures: s.figures, Apps: apps, Certificates: [][]string{{"agents.test", "*.agents.test"}, {"partner.test"}},
		Programs: map[string]marathontest.Program{agentApp: s.agent, deskApp: s.agent, partner: s.partner},
		Prepare:  o.prepare, Live: o.live, Story: o.story,
		Events: []scenario.Event{
			{Text: "an instance more: a quarter of the agents move to it", Do: func(r *scenario.Run) error { return r.Scale(agentApp, 4) }},
			{Text: "an instance dies: its agents move to the one that replaces it", Do: func(r *scenario.Run) error { return r.Crash(r.Tasks(agentApp)[0]) }},
			{Text: "an instance less: its agents move", Do: func(r *scenario.Run) error { return r.Scale(agentApp, 3) }},
		},
	}
}

// office is all who talk to agents.
type office struct {
	system         *system
	byPath, byHost *users
}

func (o *office) prepare(r *scenario.Run) {
	o.system.out = r.Client()
	o.byPath = newUsers(r, func(id string) string { return "https://agents.test/agents/" + id + "/messages?from=somebody" })
	o.byHost = newUsers(r, func(id string) string { return "https://" + id + ".agents.test/messages" })
}

func (o *office) live(r *scenario.Run) {
	for _, u := range []*users{o.byPath, o.byHost} {
		r.Go(func(ctx context.Context) {
			for scenario.Pause(ctx, time.Second) {
				m, err := u.talk(ctx, agents)
				if m.moved > 0 || err != nil && ctx.Err() == nil {
					r.Say("-- %d of %d agents have moved; %v", m.moved, agents, err)
				}
			}
		})
	}
}

func (o *office) story(r *scenario.Run) {
	r.Step("250 agents by path and 250 by host: each message comes to the instance that remembers the others")
	for _, u := range []*users{o.byPath, o.byHost} {
		o.stay(r, u)
		o.stay(r, u)
		for task, n := range u.at() {
			r.Check(n > agents/5 && n < agents/2, "%d of %d agents are in %s, of three instances", n, agents, task)
		}
	}

	r.Step("agents ask somebody slow: no answer is cut off, and they talk on meanwhile")
	r.Must(o.callOut(r))

	r.Step("an instance more: a quarter of the agents move to it, all others stay")
	before := r.Tasks(agentApp)
	r.Must(r.Scale(agentApp, 4))
	fresh := o.moved(r)
	astray := fresh.moved
	for task, n := range fresh.to {
		if !slices.Contains(before, task) {
			astray -= n
		}
	}
	r.Check(fresh.moved <= agents*3/10 && astray <= few, "%d of %d moved, %d of them not to the new instance", fresh.moved, agents, astray)

	r.Step("an instance less: its agents move, all others stay")
	had := o.byPath.at()
	r.Must(r.Scale(agentApp, 3))
	gone := o.moved(r)
	own := 0
	for task := range gone.from {
		if !slices.Contains(r.Tasks(agentApp), task) {
			own = had[task]
		}
	}
	r.Check(own > 0 && gone.moved-own <= 2*few, "%d moved, the instance had %d", gone.moved, own)

	r.Step("an instance is replaced: its agents move to the one that takes its place, all others stay")
	task := r.Tasks(agentApp)[0]
	had = o.byPath.at()
	r.Must(r.Replace(agentApp, task))
	replaced := o.moved(r)
	r.Check(replaced.moved-had[task] <= few, "%d moved, the instance had %d", replaced.moved, had[task])
	r.Say("   %d of %d moved to a fourth instance, %d when it went that had %d, %d when one was replaced that had %d",
		fresh.moved, agents, gone.moved, own, replaced.moved, had[task])

	r.Step("webhooks come in while an instance takes no connections: another one has them, none reaches two")
	o.system.ears.Close(r.Tasks(agentApp)[0])
	r.Must(o.callIn(r))
	twice := o.system.arrivals.Twice()
	r.Check(twice == "", "webhook %s reached instances more than once", twice)
}

// stay has all agents get a message, and fails the story if any has moved or forgotten.
func (o *office) stay(r *scenario.Run, u *users) {
	m, err := u.talk(r.Context(), agents)
	r.Must(err)
	r.Check(m.moved == 0, "%d agents have moved", m.moved)
}

// moved waits until each instance that runs has agents, and all stay. It says which are not where they
// were.
func (o *office) moved(r *scenario.Run) moves {
	before := maps.Clone(o.byPath.home)
	r.Eventually("agents at each instance, which stay", func() error {
		m, err := o.byPath.talk(r.Context(), agents)
		if err != nil {
			return err
		}
		at, tasks := o.byPath.at(), r.Tasks(agentApp)
		for _, task := range tasks {
			if m.moved > 0 || at[task] == 0 || len(at) != len(tasks) {
				return fmt.Errorf("%d have moved just now; there are %v at %v", m.moved, at, tasks)
			}
		}
		return nil
	})
	o.stay(r, o.byHost)
	return compare(before, o.byPath.home)
}

// callOut has ten agents call the partner, who thinks for three seconds, while all talk.
func (o *office) callOut(r *scenario.Run) error {
	var calling sync.WaitGroup
	failures := make([]error, 10)
	start := time.Now()
	for n := range failures {
		calling.Go(func() {
			got, err := ask(r, o.byPath.client, fmt.Sprintf("https://agents.test/agents/agent-%d/calls?for=3s", n))
			if err == nil && got != http.StatusOK {
				err = fmt.Errorf("a call ended with %d after %s", got, time.Since(start))
			}
			failures[n] = err
		})
	}
	o.stay(r, o.byPath)
	calling.Wait()
	return errors.Join(failures...)
}

// callIn sends a webhook to each agent.
func (o *office) callIn(r *scenario.Run) error {
	for n := range agents {
		attempt := fmt.Sprintf("webhook-%d", n)
		got, err := ask(r, o.byPath.client, fmt.Sprintf("https://agents.test/agents/agent-%d/webhook", n), scenario.AttemptHeader, attempt)
		if err == nil && got != http.StatusOK {
			err = fmt.Errorf("%s: %d", attempt, got)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func ask(r *scenario.Run, client *http.Client, url string, headers ...string) (status int, err error) {
	got, err := r.Ask(r.Context(), client, http.MethodPost, url, "", headers...)
	return got.Status, err
}
