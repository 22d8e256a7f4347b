package reading_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"relay/certs/internal/reading"
)

var errRead = errors.New("unreadable")

func TestFlightAnswersByAReadThatStartedAfterwards(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flight := reading.NewFlight()
		answers := make(chan error, 201)
		ask := func() { answers <- flight.Wait(t.Context()) }
		go ask()
		synctest.Wait()
		<-flight.Wanted()
		waited, finishFirst := flight.Begin()
		if !waited {
			t.Fatal("nobody waits for the first read")
		}

		// Those who ask while it runs share the next one.
		for range 200 {
			go ask()
		}
		synctest.Wait()
		finishFirst(nil)
		synctest.Wait()
		if err := <-answers; err != nil || len(answers) != 0 {
			t.Fatalf("the first read answered %d more, and %v", len(answers), err)
		}
		<-flight.Wanted()
		_, finishSecond := flight.Begin()
		finishSecond(errRead)
		synctest.Wait()
		if err := <-answers; err != errRead || len(answers) != 199 {
			t.Fatalf("the second read answered %d more, and %v", len(answers), err)
		}
		select {
		case <-flight.Wanted():
			t.Error("a third read is wanted")
		default:
		}
	})
}

func TestFlightWithoutAReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		flight := reading.NewFlight()
		if err := flight.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFlightReadForAnotherReasonAnswersToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		flight := reading.NewFlight()
		if waited, finish := flight.Begin(); waited {
			t.Fatal("somebody waits")
		} else {
			finish(nil)
		}
		done := make(chan error, 1)
		go func() { done <- flight.Wait(t.Context()) }()
		synctest.Wait()
		_, finish := flight.Begin()
		finish(errRead)
		if err := <-done; err != errRead {
			t.Errorf("got %v", err)
		}
		select {
		case <-flight.Wanted():
			t.Error("a read is wanted that was made already")
		default:
		}
	})
}
