package coalesce_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"relay/internal/coalesce"
	"relay/internal/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errRead = errors.New("unreadable")

func TestAnsweredByARunThatBeganAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := coalesce.NewRequests()
		answers := make(chan error, 201)
		ask := func() { answers <- requests.Ask().Wait(t.Context()) }
		go ask()
		synctest.Wait()
		<-requests.Wanted()
		first := requests.Begin()
		if !first.Asked() {
			t.Fatal("nobody asked for the first run")
		}

		// Those who ask while it runs share the next one.
		for range 200 {
			go ask()
		}
		synctest.Wait()
		first.End(nil)
		synctest.Wait()
		if err := <-answers; err != nil || len(answers) != 0 {
			t.Fatalf("the first run answered %d more, and %v", len(answers), err)
		}
		<-requests.Wanted()
		requests.Begin().End(errRead)
		synctest.Wait()
		if err := <-answers; err != errRead || len(answers) != 199 {
			t.Fatalf("the second run answered %d more, and %v", len(answers), err)
		}
		wantNotWanted(t, requests)
	})
}

func wantNotWanted(t *testing.T, requests *coalesce.Requests) {
	t.Helper()
	select {
	case <-requests.Wanted():
		t.Error("another run is wanted")
	default:
	}
}

// Of those who wait together only the one goes whose context ends.
func TestContextEndsForTheAskerOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := coalesce.NewRequests()
		other := make(chan error, 1)
		go func() { other <- requests.Ask().Wait(t.Context()) }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := requests.Ask().Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		requests.Begin().End(errRead)
		if err := <-other; err != errRead {
			t.Errorf("the other got %v", err)
		}
	})
}

func TestRunForAnotherReasonAnswersToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := coalesce.NewRequests()
		run := requests.Begin()
		if run.Asked() {
			t.Fatal("somebody asked")
		}
		run.End(nil)
		done := make(chan error, 1)
		go func() { done <- requests.Ask().Wait(t.Context()) }()
		synctest.Wait()
		requests.Begin().End(errRead)
		if err := <-done; err != errRead {
			t.Errorf("got %v", err)
		}
		wantNotWanted(t, requests)
	})
}

// A run that was put back is answered by the next one, with those who asked since.
func TestPutBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := coalesce.NewRequests()
		answers := make(chan error, 4)
		ask := func() {
			run := requests.Ask()
			go func() { answers <- run.Wait(t.Context()) }()
		}
		for range 2 {
			ask()
			run := requests.Begin()
			ask()
			requests.PutBack(run)
		}
		requests.PutBack(requests.Begin())
		synctest.Wait()
		if len(answers) != 0 {
			t.Fatal("somebody was answered without a run")
		}
		requests.Begin().End(errRead)
		for range 4 {
			if err := <-answers; err != errRead {
				t.Errorf("got %v", err)
			}
		}
		requests.PutBack(requests.Begin())
		if requests.Begin().Asked() {
			t.Error("a run that nobody asked for is asked for once it was put back")
		}
	})
}

func TestWorkPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := coalesce.NewRequests()
		asked := requests.Ask()
		err := panics.Catch(func() error {
			requests.Do(func(*coalesce.Run) error { panic("bug") })
			return nil
		})
		if !panics.Is(err) || asked.Wait(t.Context()) == nil {
			t.Errorf("Do returned %v, the asker got %v", err, asked.Err())
		}
		runner := coalesce.NewRunner(func() error { panic("bug") })
		for range 2 { // it must work on
			if err := runner.Ask().Wait(t.Context()); !panics.Is(err) {
				t.Errorf("the runner answered %v", err)
			}
		}
	})
}

// TestRunner: one run at a time, and each is answered by one that began after the
// question and was asked for. Nothing is left when nobody asks.
func TestRunner(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, runs atomic.Int32
		var began time.Time
		random := rand.New(rand.NewPCG(1, 2))
		runner := coalesce.NewRunner(func() error {
			if running.Add(1) > 1 {
				t.Error("two runs at once")
			}
			runs.Add(1)
			began = time.Now()
			time.Sleep(time.Second)
			running.Add(-1)
			return nil
		})
		var all sync.WaitGroup
		for range 300 {
			time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
			all.Go(func() {
				asked := time.Now()
				if err := runner.Ask().Wait(t.Context()); err != nil {
					t.Error(err)
				}
				if wait := time.Since(asked); wait < time.Second || wait > 2*time.Second {
					t.Errorf("answered after %v: not by the next run", wait)
				}
			})
		}
		all.Wait()
		if got := runs.Load(); got > 10 {
			t.Errorf("%d runs in 8 s", got)
		}
		runner.Wait(t.Context())
		if idle := time.Since(began); idle != time.Second {
			t.Errorf("the last run ended after %v", idle)
		}
		runner.Wait(t.Context()) // at once: nothing runs
		runner.Ask()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		runner.Wait(ctx)
		if running.Load() != 1 {
			t.Error("Wait went on when its context had ended")
		}
		runner.Wait(t.Context())
	})
}
