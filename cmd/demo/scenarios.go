package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"relay/testdata/scenarios"
	"relay/testdata/scenarios/scenario"
)

// storiesAtOnce is how many stories are told at the same time: most of the time they wait.
const storiesAtOnce = 3

// runScenarios runs a scenario until the context ends, or tells stories.
func (o *options) runScenarios(ctx context.Context, out io.Writer) error {
	var chosen []*scenario.Scenario
	var names []string
	for _, construct := range scenarios.All {
		s := construct()
		names = append(names, s.Name)
		if o.Scenario == "" || o.Scenario == s.Name {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("no scenario %q: there are %s", o.Scenario, strings.Join(names, ", "))
	}
	settings := scenario.Settings{RelayBinary: o.Relay, EnvoyBinary: o.Envoy, Out: &inTurn{out: out}, Verbose: o.Verbose}
	if !o.Stories {
		if len(chosen[0].Keys) > 0 {
			keys, restore := keysOf(os.Stdin)
			defer restore()
			settings.Keys = keys
		}
		return scenario.Demo(ctx, chosen[0], settings)
	}
	places := make(chan struct{}, storiesAtOnce)
	failures := make([]error, len(chosen))
	var telling sync.WaitGroup
	for i, s := range chosen {
		telling.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			failures[i] = scenario.Tell(ctx, s, settings)
		})
	}
	telling.Wait()
	return errors.Join(failures...)
}

// inTurn lets several write.
type inTurn struct {
	mu  sync.Mutex
	out io.Writer
}

// Write writes a whole line.
func (w *inTurn) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(line)
}
