package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"relay/internal/panics"
)

// signalWait is how long a caller is kept waiting for a reload. marathon-acme
// gives up after 5 s and does not try again.
const signalWait = 4 * time.Second

var errStopping = errors.New("shutting down")

// reload runs one kind of reload: one at a time, however many ask for it. Who
// asks while one runs is answered by the next, as the running one may have
// read what is old by now.
type reload struct {
	name string
	run  func(context.Context) error
	// ctx ends with the server, not with the request that asked.
	ctx context.Context
	log *slog.Logger

	mu      sync.Mutex
	pending *outcome
	ended   chan struct{} // nil unless work runs; closed when it returns
}

// outcome is the result of one run: err may be read once done is closed.
type outcome struct {
	done chan struct{}
	err  error
}

// request asks for a run that starts from now on.
func (r *reload) request() *outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		r.pending = &outcome{done: make(chan struct{})}
	}
	if r.ended == nil {
		r.ended = make(chan struct{})
		go r.work()
	}
	return r.pending
}

// work runs until nobody has asked again.
func (r *reload) work() {
	for {
		o := r.next()
		if o == nil {
			return
		}
		o.err = r.once()
		close(o.done)
	}
}

func (r *reload) next() *outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.pending
	r.pending = nil
	if o == nil {
		close(r.ended)
		r.ended = nil
	}
	return o
}

func (r *reload) once() error {
	if r.ctx.Err() != nil {
		return errStopping
	}
	start := time.Now()
	if err := panics.Catch(func() error { return r.run(r.ctx) }); err != nil {
		panics.Log(r.log, err, "reload", r.name)
		r.log.Warn("reload failed", "reload", r.name, "error", redact(err.Error()), "took", time.Since(start))
		return err
	}
	r.log.Info("reload applied", "reload", r.name, "took", time.Since(start))
	return nil
}

// wait returns when nothing runs any more, or when ctx ends.
func (r *reload) wait(ctx context.Context) {
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

// hook has reloads run, each on its own: one whose source is away keeps no other
// from running, be it asked for by this hook or by another.
type hook []*reload

// ServeHTTP answers 204 when all reloads are applied, 500 with the reasons when
// one has failed, 202 when one still runs after signalWait, and 503 while
// shutting down. A caller that goes away stops nothing.
func (h hook) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	stopping := h[0].ctx
	if stopping.Err() != nil {
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
		return
	}
	outcomes := make([]*outcome, len(h))
	for i, r := range h {
		outcomes[i] = r.request()
	}
	wait, cancel := context.WithTimeout(req.Context(), signalWait)
	defer cancel()
	var errs []error
	done := 0
	for _, o := range outcomes {
		if o.ended(wait, stopping) {
			done++
			errs = append(errs, o.err)
		}
	}
	err := errors.Join(errs...)
	switch {
	case req.Context().Err() != nil:
	case stopping.Err() != nil:
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, redact(err.Error()), http.StatusInternalServerError)
	case done < len(outcomes):
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// ended waits for the end of a run, or of one of the contexts, and reports
// whether the run has ended.
func (o *outcome) ended(wait, stopping context.Context) bool {
	select {
	case <-o.done:
		return true
	case <-wait.Done():
	case <-stopping.Done():
	}
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}
