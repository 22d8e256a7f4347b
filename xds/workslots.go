package xds

import (
	"context"
	"runtime"
)

// workSlots let few streams at a time do work about many resources. When a Relay starts, all
// Envoys of a fleet come at once, and each has a list of all resources, or asks for all.
// Those that are connected already stay current meanwhile.
type workSlots chan struct{}

// newWorkSlots returns as many slots as there are processors. Small work then waits for one time
// slice of the scheduler at most, and not for all that came.
func newWorkSlots() workSlots { return make(workSlots, runtime.GOMAXPROCS(0)) }

// smallWork is the number of resources for which nobody has to wait.
const smallWork = 1000

// do calls work when there is a slot, unless ctx ends before. Work must not wait for an Envoy.
func (s workSlots) do(ctx context.Context, resources int, work func()) error {
	if resources > smallWork {
		select {
		case s <- struct{}{}:
			defer func() { <-s }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	work()
	return nil
}
