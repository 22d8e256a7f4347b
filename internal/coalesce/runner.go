package coalesce

import (
	"context"
	"sync"

	"relay/internal/panics"
)

// Runner does its work on a goroutine of its own, which runs as long as somebody
// asks for it.
type Runner struct {
	work     func() error
	requests *Requests

	mu    sync.Mutex
	ended chan struct{} // nil unless the goroutine runs; closed when it ends
}

// NewRunner returns a Runner of work. If work panics, those who asked are answered
// by an error, see panics.Is.
func NewRunner(work func() error) *Runner {
	return &Runner{work: work, requests: NewRequests()}
}

// Ask asks for a run that begins after the call.
func (r *Runner) Ask() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := r.requests.Ask()
	if r.ended == nil {
		r.ended = make(chan struct{})
		go r.serve()
	}
	return run
}

// serve runs until nobody has asked again.
func (r *Runner) serve() {
	for {
		run := r.begin()
		if run == nil {
			return
		}
		run.End(panics.Catch(r.work))
	}
}

// begin returns nil, and notes the end, if nobody asks.
func (r *Runner) begin() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := r.requests.Begin()
	if run.Asked() {
		return run
	}
	close(r.ended)
	r.ended = nil
	return nil
}

// Wait returns when nothing runs any more, or when the context ends.
func (r *Runner) Wait(ctx context.Context) {
	r.mu.Lock()
	ended := r.ended
	r.mu.Unlock()
	if ended == nil {
		return
	}
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
