package admin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"relay/internal/coalesce"
	"relay/internal/panics"
)

// signalWait is how long a caller is kept waiting for a reload. marathon-acme
// gives up after 5 s and does not try again.
const signalWait = 4 * time.Second

var errStopping = errors.New("shutting down")

// reload runs one kind of reload, however many ask for it.
type reload struct {
	*coalesce.Runner
	name string
	run  func(context.Context) error
	// ctx ends with the server, not with the request that asked.
	ctx context.Context
	log *slog.Logger
}

func newReload(ctx context.Context, name string, run func(context.Context) error, log *slog.Logger) *reload {
	r := &reload{name: name, run: run, ctx: ctx, log: log}
	r.Runner = coalesce.NewRunner(r.once)
	return r
}

func (r *reload) once() error {
	if r.ctx.Err() != nil {
		return errStopping
	}
	start := time.Now()
	if err := panics.Catch(func() error { return r.run(r.ctx) }); err != nil {
		panics.Log(r.log, err, "reload", r.name)
		r.log.Warn("reload failed", "event", "reload_failed", "reload", r.name, "error", redact(err.Error()), "took", time.Since(start))
		return err
	}
	r.log.Info("reload applied", "event", "reload_applied", "reload", r.name, "took", time.Since(start))
	return nil
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
	runs := make([]*coalesce.Run, len(h))
	for i, r := range h {
		runs[i] = r.Ask()
	}
	wait, cancel := context.WithTimeout(req.Context(), signalWait)
	defer cancel()
	var errs []error
	done := 0
	for _, run := range runs {
		if ended(run, wait, stopping) {
			done++
			errs = append(errs, run.Err())
		}
	}
	err := errors.Join(errs...)
	switch {
	case req.Context().Err() != nil:
	case stopping.Err() != nil:
		http.Error(w, errStopping.Error(), http.StatusServiceUnavailable)
	case err != nil:
		http.Error(w, redact(err.Error()), http.StatusInternalServerError)
	case done < len(runs):
		w.WriteHeader(http.StatusAccepted)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// ended waits for the end of a run, or of one of the contexts, and reports
// whether the run has ended.
func ended(run *coalesce.Run, wait, stopping context.Context) bool {
	select {
	case <-run.Done():
		return true
	case <-wait.Done():
	case <-stopping.Done():
	}
	select {
	case <-run.Done():
		return true
	default:
		return false
	}
}
