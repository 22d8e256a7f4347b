// Package sourcetest tests what every sources.Source has to do, whatever it reads. The tests
// of a source call Run beside their own.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"relay/sources"
)

const (
	// patience bounds every wait for something that must happen.
	patience = time.Minute
	// quiet is how long a test looks whether something happens that must not.
	quiet = 300 * time.Millisecond
)

// World is a source and what it reads, such as a simulated Marathon. There are no apps at first.
type World struct {
	Source sources.Source
	// Set makes the apps with these ids, one segment each such as "/a", be all that there are. Those that were
	// there before stay as they are. The source gets to know of the change in the usual way.
	Set func(ids ...string)
	// Break lets every read fail until Repair is called.
	Break, Repair func()
}

// Run tests sources. Each test gets a World of its own from start, with a Source that tells sink.
func Run(t *testing.T, start func(t *testing.T, sink sources.Sink) World) {
	for name, test := range map[string]func(*run){
		"FirstAllIsTold":            (*run).firstAllIsTold,
		"NothingIsToldBeforeARead":  (*run).nothingIsToldBeforeARead,
		"ChangesAreFollowed":        (*run).changesAreFollowed,
		"AFailedReadChangesNothing": (*run).aFailedReadChangesNothing,
		"NoAppsAreTheTruth":         (*run).noAppsAreTheTruth,
		"ReloadReadsAfterTheCall":   (*run).reloadReadsAfterTheCall,
		"ReloadEndsWithItsContext":  (*run).reloadEndsWithItsContext,
		"ServeEndsAndBeginsAnew":    (*run).serveEndsAndBeginsAnew,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &run{t: t, sink: &recorder{t: t}}
			r.World = start(t, r.sink)
			test(r)
			r.stop()
			calls := r.sink.count()
			time.Sleep(quiet / 3)
			if r.sink.count() != calls {
				t.Error("the Sink was called after Serve had returned")
			}
			r.sink.check()
		})
	}
}

// run is one test.
type run struct {
	World
	t    *testing.T
	sink *recorder
	stop func()
}

// serve calls Serve, again whenever it returns, until stop is called.
func (r *run) serve() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		for {
			err := r.Source.Serve(ctx)
			if ctx.Err() != nil {
				ended <- err
				return
			}
			if err == nil {
				r.t.Error("Serve returned nil, and its context had not ended")
			}
			time.Sleep(time.Millisecond)
		}
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				r.t.Errorf("Serve returned %v, and its context had ended", err)
			}
		case <-time.After(patience):
			r.t.Error("Serve does not return, and its context has ended")
		}
	})
	r.t.Cleanup(r.stop)
}

// reload calls Reload.
func (r *run) reload() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Source.Reload(ctx); err != nil {
		r.t.Fatalf("Reload: %v", err)
	}
}

// await waits until the Sink has exactly these apps.
func (r *run) await(ids string) {
	r.t.Helper()
	r.eventually("apps "+ids, func() error {
		if now, synced := r.sink.now(); !synced || now != ids {
			return fmt.Errorf("the Sink has %q, synced: %t", now, synced)
		}
		return nil
	})
}

func (r *run) eventually(what string, check func() error) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %v; the status is %+v", what, err, r.Source.Status())
		}
	}
}

// fails waits until the Status says that the last read failed.
func (r *run) fails() {
	r.t.Helper()
	r.eventually("an error", func() error {
		if r.Source.Status().LastError == "" {
			return errors.New("the status has none")
		}
		return nil
	})
}
