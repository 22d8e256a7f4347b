package xds

import (
	"context"
	"runtime"
)

// admission lets few streams at a time do work of many resources. When a Relay
// starts, all Envoys of a fleet come at once, each with a list of all that it
// has, or for all there is; those that are connected already, or were let in
// first, stay current meanwhile.
type workSlots chan struct{}

// newAdmission lets in as many as there are processors: small work then waits
// for one turn of the scheduler at most, and not for all that came.
func newWorkSlots() workSlots { return make(workSlots, runtime.GOMAXPROCS(0)) }

// smallWork is the number of resources for which nobody has to wait.
const smallWork = 1000

// do calls work when it is its turn, unless ctx ends before. Work must not wait
// for an Envoy.
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
