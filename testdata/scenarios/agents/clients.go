package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"

	"relay/testdata/scenarios/scenario"
)

// users talk to agents, one each.
type users struct {
	run    *scenario.Run
	client *http.Client
	// url is where an agent takes messages.
	url func(id string) string
	// home is the instance where each agent was, and turns what it should remember.
	home  map[string]string
	turns map[string]int
}

func newUsers(r *scenario.Run, url func(id string) string) *users {
	return &users{run: r, client: r.Client(), url: url, home: make(map[string]string), turns: make(map[string]int)}
}

// moves says how many agents are in another instance than before, and counts them by instance.
type moves struct {
	moved    int
	from, to map[string]int
}

func compare(before, now map[string]string) moves {
	m := moves{from: make(map[string]int), to: make(map[string]int)}
	for id, was := range before {
		if is := now[id]; is != was {
			m.moved++
			m.from[was]++
			m.to[is]++
		}
	}
	return m
}

// talk has each agent get a message, and says which have moved to another instance. An agent that has
// not must remember all that it was told.
func (u *users) talk(ctx context.Context, agents int) (moves, error) {
	before := maps.Clone(u.home)
	answers, err := u.round(ctx, agents)
	for id, a := range answers {
		if u.home[id] != a.Task {
			u.turns[id] = 0
		}
		u.home[id] = a.Task
		if u.turns[id]++; a.Turns != u.turns[id] && err == nil {
			err = fmt.Errorf("%s in %s remembers %d messages, want %d", id, a.Task, a.Turns, u.turns[id])
		}
		u.turns[id] = a.Turns
	}
	return compare(before, u.home), err
}

// round asks all agents, a few at a time.
func (u *users) round(ctx context.Context, agents int) (map[string]answer, error) {
	var mu sync.Mutex
	var failure error
	answers := make(map[string]answer)
	ids := make(chan string)
	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			for id := range ids {
				a, err := u.ask(ctx, id)
				mu.Lock()
				if answers[id] = a; err != nil {
					failure = err
				}
				mu.Unlock()
			}
		})
	}
	for n := range agents {
		ids <- fmt.Sprintf("agent-%d", n)
	}
	close(ids)
	asking.Wait()
	return answers, failure
}

func (u *users) ask(ctx context.Context, id string) (answer, error) {
	got, err := u.run.Ask(ctx, u.client, http.MethodPost, u.url(id), "hello")
	var a answer
	if err == nil {
		err = json.Unmarshal([]byte(got.Body), &a)
	}
	if err == nil && got.Status != http.StatusOK {
		err = fmt.Errorf("%s answers %d", id, got.Status)
	}
	return a, err
}

// at counts the agents of each instance.
func (u *users) at() map[string]int {
	n := make(map[string]int)
	for _, task := range u.home {
		n[task]++
	}
	return n
}
