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
		var answers []error
		ask := func() {
			answers = append(answers, flight.Wait(t.Context()))
		}
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
		if len(answers) != 1 || answers[0] != nil {
			t.Fatalf("after the first read: %v", answers)
		}
		<-flight.Wanted()
		_, finishSecond := flight.Begin()
		finishSecond(errRead)
		synctest.Wait()
		if len(answers) != 201 || answers[200] != errRead {
			t.Fatalf("%d answers after the second read", len(answers))
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
