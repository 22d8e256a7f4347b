package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
)

var errNotYet = errors.New("not yet")

// instances is how many Marathon is to run of an app, and ready how many of them run.
func (w *scaleWorld) instances(app string) (wanted, ready int) {
	w.b.Helper()
	var definition struct{ Instances int }
	if err := json.Unmarshal(w.marathon.AppJSON(app), &definition); err != nil {
		w.b.Fatal(err)
	}
	for _, task := range w.marathon.Tasks(app) {
		if task.State == "TASK_RUNNING" {
			ready++
		}
	}
	return definition.Instances, ready
}

// busyClients are clients that have so many requests in progress as they are told.
type busyClients struct {
	w      *scaleWorld
	host   string
	wanted atomic.Int64
	failed atomic.Int64
	first  atomic.Value
	all    sync.WaitGroup
}

// start has requests come until ctx ends. Each takes two seconds: some end in each report.
func (c *busyClients) start(ctx context.Context) {
	for i := range int64(700) {
		c.all.Go(func() {
			for ctx.Err() == nil {
				if i >= c.wanted.Load() {
					pause := time.NewTimer(10 * time.Millisecond)
					select {
					case <-ctx.Done():
					case <-pause.C:
					}
					continue
				}
				if r := c.w.send(ctx, c.host, "/slow?ms=2000"); ctx.Err() == nil && (r.err != nil || r.status != 200) {
					c.failed.Add(1)
					c.first.CompareAndSwap(nil, r)
				}
			}
		})
	}
}

// sizedWorld has an app that is sized by its load, with so many requests in progress.
func sizedWorld(b *testing.B, instances int, load int64) (w *scaleWorld, c *busyClients, stop func()) {
	b.Helper()
	w = newScaleWorld(b, marathontest.Options{KillGrace: time.Second}, 300*time.Millisecond)
	w.apply(scaled("/sized", "sized.test", instances, "RELAY_SCALE", "1..100", "RELAY_SCALE_TARGET", "10").Definition)
	w.await("sized.test")
	c = &busyClients{w: w, host: "sized.test"}
	c.wanted.Store(load)
	ctx, cancel := context.WithCancel(b.Context())
	c.start(ctx)
	return w, c, func() { cancel(); c.all.Wait() }
}

// benchmarkStep has 500 requests in progress after 10: until Marathon is to run 50 instances, and until they
// run.
func benchmarkStep(b *testing.B) {
	w, c, stop := sizedWorld(b, 1, 10)
	defer stop()
	time.Sleep(70 * time.Second) // a whole window
	if wanted, _ := w.instances("/sized"); wanted != 1 && wanted != 2 {
		b.Errorf("%d instances for 10 requests in progress", wanted)
	}
	began := time.Now()
	c.wanted.Store(500)
	var decided, ran time.Duration
	eventually(b, "the right size", func() error {
		wanted, ready := w.instances("/sized")
		if decided == 0 && wanted >= 50 {
			decided = time.Since(began)
		}
		if ready < 50 {
			return errNotYet
		}
		ran = time.Since(began)
		return nil
	})
	boot := w.lastBoot("/sized").took()
	time.Sleep(30 * time.Second)
	wanted, _ := w.instances("/sized")
	stop()
	b.Logf("50 instances are wanted after %v and run after %v, a task takes %v to start; %d in the end; %d requests failed, such as %+v",
		decided.Round(time.Millisecond), ran.Round(time.Millisecond), boot.Round(time.Millisecond), wanted, c.failed.Load(), c.first.Load())
	b.ReportMetric(decided.Seconds(), "decided-s")
	b.ReportMetric(float64(wanted), "instances")
	atMost(b, float64(c.failed.Load()), 0, "failed")
	atMost(b, (ran - boot).Seconds(), 10, "s-beyond-boot")
}

// benchmarkSteady has a load that goes up and down by a fifth for ten minutes.
func benchmarkSteady(b *testing.B) {
	const mean = 100
	w, c, stop := sizedWorld(b, 10, mean)
	defer stop()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	last, _ := w.instances("/sized")
	var changes []int
	turns := 0
	ticks(ctx, 500*time.Millisecond, func(int) {
		c.wanted.Store(mean*4/5 + rand.Int64N(mean*2/5+1))
		if wanted, _ := w.instances("/sized"); wanted != last {
			if n := len(changes); n > 0 && (changes[n-1] > 0) != (wanted > last) {
				turns++
			}
			changes = append(changes, wanted-last)
			last = wanted
		}
	})
	stop()
	b.Logf("changes of the number of instances: %v, in the end %d; %d requests failed, such as %+v", changes, last, c.failed.Load(), c.first.Load())
	b.ReportMetric(float64(len(changes)), "changes")
	atMost(b, float64(turns), 0, "turns")
	atMost(b, float64(c.failed.Load()), 0, "failed")
}
