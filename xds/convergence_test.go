package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// told are the changes that a store says all Envoys have.
func told(store *Store) (next func() string) {
	var all []Converged
	store.OnConverged(func(c Converged) { all = append(all, c) })
	return func() string {
		time.Sleep(2 * maxConvergencePause)
		synctest.Wait()
		var words []string
		for _, c := range all {
			text := fmt.Sprintf("%d by %d in %s", c.Revision, c.Envoys, c.Took)
			for _, r := range c.Rejected {
				text += fmt.Sprintf(" but %s %q by %v: %s", r.Type, r.Name, r.Nodes, r.Message)
			}
			words = append(words, text)
		}
		all = nil
		slices.Sort(words)
		return strings.Join(words, "; ")
	}
}

// convergenceTest runs a test with a clock that goes on when all wait.
func convergenceTest(t *testing.T, test func(t *testing.T, store *Store, connect func(node string) *script)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := NewStore()
		store.Open()
		test(t, store, func(node string) *script {
			clock := time.Now()
			return &script{t: t, session: newSession(store, &envoyNode{id: node, version: "1.40.0"}), clock: &clock}
		})
	})
}

// acknowledge takes what is due of a type, and acknowledges it after a time.
func (s *script) acknowledge(typ Type, after time.Duration, names ...string) {
	s.t.Helper()
	*s.clock = time.Now()
	r := s.expect(typ, names)
	time.Sleep(after)
	*s.clock = time.Now()
	s.ack(r)
	s.quiet()
}

// Each change is followed, until the last Envoy that it concerns has acknowledged it.
func TestConvergence(t *testing.T) {
	convergenceTest(t, func(t *testing.T, store *Store, connect func(string) *script) {
		next := told(store)
		one, two, other := connect("one"), connect("two"), connect("other")
		one.subscribe(Endpoint, "a", "b")
		two.subscribe(Endpoint, "a")
		other.subscribe(Scope, "x")
		for _, s := range []*script{one, two, other} { // it is told that there are none
			for _, r := range []Type{Endpoint, Scope} {
				if s.session.types[r].subscribed {
					s.plan()
					for _, w := range s.waiting {
						s.ack(w)
					}
					s.waiting = nil
				}
			}
			s.quiet()
		}
		setIn(t, store, Endpoint, "1", "a") // 1
		setIn(t, store, Endpoint, "1", "b") // 2
		if got := next(); got != "" {
			t.Errorf("converged before an ACK: %s", got)
		}
		if got := fmt.Sprint(store.Waiting([]uint64{1, 2, 3}, 10)); got != "map[1:[one two] 2:[one two]]" {
			t.Errorf("waiting: %s", got)
		}
		if got := fmt.Sprint(store.Waiting([]uint64{1}, 1)); got != "map[1:[one]]" {
			t.Errorf("the first of those that wait: %s", got)
		}
		late := connect("late")
		late.subscribe(Endpoint, "a")
		start := time.Now()
		one.acknowledge(Endpoint, time.Second, "a", "b")
		if got := next(); got != "" {
			t.Errorf("converged before the last ACK: %s", got)
		}
		if got := fmt.Sprint(store.Waiting([]uint64{1, 2}, 10)); got != "map[1:[two] 2:[two]]" {
			t.Errorf("waiting: %s", got)
		}
		two.acknowledge(Endpoint, 2*time.Second, "a")
		took := time.Since(start) + 2*maxConvergencePause // those of next, before
		if got, want := next(), fmt.Sprintf("1 by 2 in %s; 2 by 2 in %s", took, took); got != want {
			t.Errorf("converged: %s, want %s", got, want)
		}
		if got := store.Waiting([]uint64{1, 2}, 10); len(got) > 0 {
			t.Errorf("waiting: %v", got)
		}

		late.acknowledge(Endpoint, 0, "a")
		setIn(t, store, Endpoint, "2", "a") // 3
		one.acknowledge(Endpoint, 0, "a")
		late.acknowledge(Endpoint, 0, "a")
		if got := next(); got != "" {
			t.Errorf("converged while an Envoy waits: %s", got)
		}
		two.session.close()
		if got := next(); !strings.HasPrefix(got, "3 by 2 in ") {
			t.Errorf("after the Envoy that waits has gone: %q", got)
		}
		setIn(t, store, Secret, "1", "s") // 4: nobody asked for any
		if got := next(); !strings.HasPrefix(got, "4 by 0 in ") {
			t.Errorf("a change for nobody: %q", got)
		}
	})
}

// An Envoy that does not answer for long has not acknowledged.
func TestNoConvergenceByTime(t *testing.T) {
	convergenceTest(t, func(t *testing.T, store *Store, connect func(string) *script) {
		next := told(store)
		setIn(t, store, Endpoint, "1", "a")
		one := connect("one")
		one.subscribe(Endpoint, "a")
		one.acknowledge(Endpoint, 0, "a")
		if got := next(); !strings.HasPrefix(got, "1 by 0") {
			t.Errorf("the change before: %s", got)
		}
		setIn(t, store, Endpoint, "2", "a")
		*one.clock = time.Now()
		r := one.expect(Endpoint, []string{"a"})
		time.Sleep(2 * ackLimit)
		*one.clock = time.Now()
		one.quiet()
		if got := next(); got != "" {
			t.Errorf("converged without an ACK: %s", got)
		}
		*one.clock = time.Now()
		one.ack(r)
		one.quiet()
		if got := next(); !strings.HasPrefix(got, "2 by 1 in 30") {
			t.Errorf("converged: %s", got)
		}
	})
}

// An Envoy that rejects a resource of a change is named, with its reason.
func TestConvergenceTellsOfRejections(t *testing.T) {
	convergenceTest(t, func(t *testing.T, store *Store, connect func(string) *script) {
		store.ClustersOnDemand = true
		next := told(store)
		good, bad := connect("good"), connect("bad")
		for _, s := range []*script{good, bad} {
			s.subscribe(Listener)
			s.plan()
			for _, w := range s.waiting {
				s.ack(w)
			}
			s.waiting = nil
			s.quiet()
		}
		setIn(t, store, Listener, "1", "http", "tcp")
		good.acknowledge(Listener, 0, "http", "tcp")
		*bad.clock = time.Now()
		bad.nack(bad.expect(Listener, []string{"http", "tcp"}), "cannot bind")
		if got := next(); got != "" {
			t.Errorf("converged while the culprit is looked for: %s", got)
		}
		bad.nack(bad.expect(Listener, []string{"http"}), "cannot bind")
		bad.ack(bad.expect(Listener, []string{"tcp"}))
		bad.quiet()
		if got := next(); !strings.HasPrefix(got, "1 by 2 in ") || !strings.HasSuffix(got, ` but listeners "http" by [bad]: cannot bind`) {
			t.Errorf("converged: %s", got)
		}
	})
}

// An Envoy that never answers costs a queue that ends.
func TestFollowedChangesAreBounded(t *testing.T) {
	convergenceTest(t, func(t *testing.T, store *Store, connect func(string) *script) {
		next := told(store)
		one := connect("one")
		one.subscribe(Endpoint, "a")
		one.plan()
		for i := range maxFollowed + 5 {
			setIn(t, store, Endpoint, fmt.Sprint(i), "a")
		}
		_ = next()
		if n, waiting := store.convergence.following.Load(), store.Waiting([]uint64{1, 6}, 10); n != maxFollowed || len(waiting) != 1 {
			t.Errorf("%d are followed; waiting %v", n, waiting)
		}
	})
}
