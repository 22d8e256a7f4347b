package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

func (r *run) firstAllIsTold() {
	r.Set("/a", "/b-c")
	if s := r.Source.Status(); s.Kind == "" || s.Connected || !s.LastSync.IsZero() || s.Apps != 0 {
		r.t.Errorf("the status before the first read is %+v", s)
	}
	r.serve()
	r.await("/a /b-c")
	if all := r.sink.since(0); all[0] != "/a /b-c" {
		r.t.Errorf("the Sink was told %q first", all[0])
	}
	r.eventually("status", func() error {
		if s := r.Source.Status(); s.Name == "" || !s.Connected || !s.NotFollowedSince.IsZero() || s.LastSync.IsZero() || s.LastError != "" || s.Apps != 2 {
			return errors.New("it does not say that the apps are known")
		}
		return nil
	})
}

func (r *run) nothingIsToldBeforeARead() {
	r.Set("/a", "/b")
	r.Break()
	r.serve()
	r.fails()
	time.Sleep(quiet)
	if n := r.sink.count(); n > 0 {
		r.t.Errorf("the Sink was called %d times, and nothing could be read", n)
	}
	if s := r.Source.Status(); s.Connected || !s.LastSync.IsZero() {
		r.t.Errorf("the status is %+v, and nothing could be read", s)
	}
	r.Repair()
	r.await("/a /b")
	if all := r.sink.since(0); all[0] != "/a /b" {
		r.t.Errorf("the Sink was told %q first", all[0])
	}
}

func (r *run) changesAreFollowed() {
	r.Set("/a", "/b")
	r.serve()
	r.await("/a /b")
	r.Set("/a", "/b", "/c")
	r.await("/a /b /c")
	r.Set("/a", "/c")
	r.await("/a /c")
	r.reload() // it catches up with all that is under way
	calls := r.sink.count()
	r.reload()
	r.reload()
	time.Sleep(quiet)
	if n := r.sink.count() - calls; n > 0 {
		r.t.Errorf("the Sink was called %d times, and nothing had changed", n)
	}
}

func (r *run) aFailedReadChangesNothing() {
	r.Set("/a", "/b")
	r.serve()
	r.await("/a /b")
	calls := r.sink.count()
	r.Break()
	ctx, cancel := context.WithTimeout(context.Background(), quiet)
	defer cancel()
	if err := r.Source.Reload(ctx); err == nil {
		r.t.Error("Reload returned nil, and nothing could be read")
	}
	r.fails()
	if s := r.Source.Status(); s.LastSync.IsZero() || s.Apps != 2 {
		r.t.Errorf("after a read that failed the status is %+v", s)
	}
	if n := r.sink.count() - calls; n > 0 {
		r.t.Errorf("the Sink was called %d times, and nothing could be read", n)
	}
	r.Repair()
	r.Set("/a", "/b", "/c")
	r.await("/a /b /c")
	r.keeps(calls, "/a /b", "/a /b /c")
}

// keeps fails the test if after a call but the first n there were other apps than these.
func (r *run) keeps(n int, allowed ...string) {
	r.t.Helper()
	for _, ids := range r.sink.since(n) {
		if !slices.Contains(allowed, ids) {
			r.t.Errorf("meanwhile the Sink had the apps %q", ids)
		}
	}
}

func (r *run) noAppsAreTheTruth() {
	r.Set("/a", "/b")
	r.serve()
	r.await("/a /b")
	r.Set()
	r.await("")
	r.eventually("status", func() error {
		if s := r.Source.Status(); s.LastError != "" || s.Apps != 0 {
			return errors.New("it does not say that there are no apps")
		}
		return nil
	})
}

// Two call Reload at a time, and each finds that the change before its call was told.
func (r *run) reloadReadsAfterTheCall() {
	r.Set("/a")
	r.serve()
	r.await("/a")
	for i := range 10 {
		ids := []string{"/a", fmt.Sprintf("/b%d", i)}
		r.Set(ids...)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				if err := r.Source.Reload(ctx); err != nil {
					r.t.Errorf("Reload: %v", err)
				}
				if now, _ := r.sink.now(); now != ids[0]+" "+ids[1] {
					r.t.Errorf("after Reload the Sink has the apps %q, want %q", now, ids)
				}
			})
		}
		both.Wait()
	}
}

func (r *run) reloadEndsWithItsContext() {
	r.Set("/a")
	r.serve()
	r.await("/a")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Source.Reload(ctx); !errors.Is(err, context.Canceled) {
		r.t.Errorf("Reload returned %v, and its context had ended", err)
	}
}

func (r *run) serveEndsAndBeginsAnew() {
	r.Set("/a", "/b")
	r.serve()
	r.await("/a /b")
	r.stop()
	if s := r.Source.Status(); s.Apps != 2 || s.LastSync.IsZero() {
		r.t.Errorf("after Serve the status is %+v", s)
	}
	calls := r.sink.count()
	r.Set("/b", "/c")
	r.serve()
	r.await("/b /c")
	r.keeps(calls, "/a /b", "/b /c")
}
