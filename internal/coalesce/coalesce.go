// Package coalesce lets many ask for the same work, such as to read a source
// again, of which one run is made at a time. Who asks while it runs is answered by
// the next run, which all share who asked meanwhile: nobody is answered by a run
// that began before the question.
//
// That is why golang.org/x/sync/singleflight does not do: who asks there during a
// call is given the result of that call, which may have read what is old by now.
package coalesce

import (
	"context"
	"errors"
	"sync"
)

// errPanic answers those whose run panicked.
var errPanic = errors.New("cut short by a panic")

// Requests are the questions to one worker, which has a loop of its own. A Runner
// is for work that needs none.
type Requests struct {
	wanted chan struct{}

	mu      sync.Mutex
	pending *Run // of those who asked since the last Begin; nil if nobody did
}

// Run is one run of the work, for all who wait for it.
type Run struct {
	done  chan struct{}
	err   error
	asked bool
	// earlier are runs that were put back: the end of this one answers them too.
	earlier []*Run
}

// NewRequests returns Requests that nobody has made.
func NewRequests() *Requests { return &Requests{wanted: make(chan struct{}, 1)} }

// Ask asks for a run that begins after the call.
func (r *Requests) Ask() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		r.pending = newRun()
		r.pending.asked = true
		select {
		case r.wanted <- struct{}{}:
		default:
			// The worker has not looked yet; once is enough.
		}
	}
	return r.pending
}

// Wanted tells the worker that somebody asks. It may be late: the run that
// answers may have been made for another reason already.
func (r *Requests) Wanted() <-chan struct{} { return r.wanted }

// Begin is called by the worker just before each run, whether anybody asked or
// not. Each run needs its End, or PutBack, also when the work panics.
func (r *Requests) Begin() *Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	run := r.pending
	r.pending = nil
	select {
	case <-r.wanted:
	default:
	}
	if run == nil {
		return newRun()
	}
	return run
}

// PutBack has those who asked for a run answered by the next one, whenever the
// worker begins it.
func (r *Requests) PutBack(run *Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !run.asked:
	case r.pending == nil:
		r.pending = run
	default:
		r.pending.earlier = append(r.pending.earlier, run)
	}
}

// Do begins a run, calls work and answers with its error. If it panics, those who
// asked are answered by an error, and the panic goes on.
func (r *Requests) Do(work func(*Run) error) {
	run := r.Begin()
	err := errPanic
	defer func() { run.End(err) }()
	err = work(run)
}

func newRun() *Run { return &Run{done: make(chan struct{})} }

// Asked reports whether anybody asked for the run. It is for the worker, after
// Begin.
func (r *Run) Asked() bool { return r.asked }

// End answers all who asked.
func (r *Run) End(err error) {
	r.err = err
	close(r.done)
	for _, earlier := range r.earlier {
		earlier.End(err)
	}
}

// Done is closed when the run has ended.
func (r *Run) Done() <-chan struct{} { return r.done }

// Err is the error of a run that has ended.
func (r *Run) Err() error { return r.err }

// Wait returns the error of the run when it has ended, or that of the context if
// it ends first, which concerns nobody else who waits.
func (r *Run) Wait(ctx context.Context) error {
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
