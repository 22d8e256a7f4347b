// Package reading holds what every certificate store does around its reads:
// reads asked for by several people at once, the last good certificate of each
// entry, and the outcome for the admin page and the metrics.
package reading

import (
	"context"
	"sync"
)

// Flight lets many callers ask one reader for a fresh read. While one read is
// running, all who ask share the next one, so that a caller is only ever
// answered by a read that started after the question.
//
// The zero value is not usable, see NewFlight.
type Flight struct {
	wanted chan struct{}

	mu      sync.Mutex
	pending *round
}

// round is one read that somebody waits for.
type round struct {
	done chan struct{}
	err  error
}

// NewFlight returns a Flight that nobody waits on.
func NewFlight() *Flight { return &Flight{wanted: make(chan struct{}, 1)} }

// Wait asks for a read and returns its result, or the context's error.
func (f *Flight) Wait(ctx context.Context) error {
	f.mu.Lock()
	r := f.pending
	if r == nil {
		r = &round{done: make(chan struct{})}
		f.pending = r
		select {
		case f.wanted <- struct{}{}:
		default:
			// The reader has not looked yet; once is enough.
		}
	}
	f.mu.Unlock()

	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Wanted tells the reader that somebody waits. It may be late: the read that
// answers may have been made for another reason already, see Begin.
func (f *Flight) Wanted() <-chan struct{} { return f.wanted }

// Begin is called by the reader just before each read. It returns whether
// somebody waits for this read, and a function that answers them all; every
// Begin needs its finish, also when the read panics.
func (f *Flight) Begin() (waited bool, finish func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.pending
	f.pending = nil
	select {
	case <-f.wanted:
	default:
	}
	if r == nil {
		return false, func(error) {}
	}
	return true, func(err error) {
		r.err = err
		close(r.done)
	}
}
