package scaling

import (
	"fmt"
	"slices"
	"time"

	"relay/sources"
)

// ask has a request go to an instance, after its turn in the queue of its Relay if the app has one.
func (q *simRequest) ask() {
	e := q.envoy
	if e.app == nil {
		q.end(false, "no such app")
		return
	}
	endpoints := slices.Clone(e.app.Ports[0].Endpoints)
	fresh := slices.DeleteFunc(slices.Clone(endpoints), func(e sources.Endpoint) bool { return e.Health == sources.Draining })
	if len(fresh) > 0 {
		endpoints = fresh
	}
	q.s.rng.Shuffle(len(endpoints), func(i, j int) { endpoints[i], endpoints[j] = endpoints[j], endpoints[i] })
	if q.s.concurrency > 0 && !e.partitioned.Load() {
		endpoints = slices.DeleteFunc(fresh, func(e sources.Endpoint) bool { return q.s.inProgress(e.Task) >= q.s.concurrency })
		if len(endpoints) == 0 {
			q.queued()
			return
		}
	}
	q.wait(nil)
	for _, endpoint := range endpoints {
		if t := q.s.marathon.task(endpoint.Task); t != nil {
			q.task, e.any, q.s.used = t, true, time.Now()
			q.s.after(q.lasts, func() {
				if !q.over {
					q.s.used = time.Now()
					q.end(true, "")
				}
			})
			return
		}
	}
	if len(endpoints) > 0 { // a try that fails is reported; that there is no instance to try is not
		q.s.used, e.any = time.Now(), true
	}
	q.end(false, fmt.Sprintf("no instance (gated %v)", e.app.Gated))
}

// queued has a request wait for an instance that is free, for half a minute.
func (q *simRequest) queued() {
	if q.queue == nil {
		q.s.note("%s waits in the queue", q)
		q.enqueued = time.Now()
	}
	q.s.used = time.Now()
	q.wait(q.envoy.relay.Load())
	if time.Since(q.enqueued) > 30*time.Second {
		q.s.note("%s is told that all are busy", q)
		q.s.busy++
		q.end(true, "")
	}
}

// wait has a request be in the queue of a Relay, or in none.
func (q *simRequest) wait(r *simRelay) {
	if q.queue != nil {
		q.queue.waiting.Add(-1)
	}
	if q.queue = r; r != nil {
		r.waiting.Add(1)
	}
}

// inProgress is how many requests are at a task.
func (s *sim) inProgress(task string) (n int) {
	for _, q := range s.requests {
		if q.task != nil && q.task.id == task && !q.over {
			n++
		}
	}
	return n
}

func (m *simMarathon) task(id string) *simTask {
	for _, t := range m.tasks {
		if t.id == id {
			return t
		}
	}
	return nil
}
