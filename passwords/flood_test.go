package passwords

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"relay/internal/questions"
)

// work counts what checks take.
type work struct {
	mu    sync.Mutex
	spent map[string]time.Duration
	most  int // at a time
	now   int
}

// job makes one that takes its cost by the clock.
func (w *work) job(s *Service, app, client, password string, cost time.Duration, matches bool) *job {
	address := netip.MustParseAddr(client)
	return &job{
		key: s.keyOf(question{app: app}, "joe", "h", password), place: place{app, questions.Client(address)}, cost: cost,
		matches: func() bool {
			w.mu.Lock()
			if w.spent == nil {
				w.spent = make(map[string]time.Duration)
			}
			w.spent[app] += cost
			w.now++
			w.most = max(w.most, w.now)
			w.mu.Unlock()
			time.Sleep(cost)
			w.mu.Lock()
			w.now--
			w.mu.Unlock()
			return matches
		},
	}
}

// of returns what the checks of an app took.
func (w *work) of(app string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spent[app]
}

// flood has one wrong password after the other come, each at its own time, until the end of a time. Clients are named by client.
func (w *work) flood(s *Service, app string, every, lasts, cost time.Duration, client func(i int) string) (outcomes map[outcome]int, done func()) {
	outcomes = make(map[outcome]int)
	var mu sync.Mutex
	var all sync.WaitGroup
	all.Go(func() {
		for i := range int(lasts / every) {
			j := w.job(s, app, client(i), fmt.Sprint("wrong ", i), cost, false)
			all.Go(func() {
				o := s.checkOnce(context.Background(), j)
				mu.Lock()
				defer mu.Unlock()
				outcomes[o]++
			})
			time.Sleep(every)
		}
	})
	return outcomes, all.Wait
}

// testService is one that checks one password at a time, as on two cores.
func testService() *Service {
	s := newService(&apps{})
	s.limits.AtOnce, s.limits.AtOncePerApp, s.limits.Wait = 1, 1, DefaultLimits().Wait
	s.turns = newTurns(s.limits)
	return s
}

// empty fails the test if something is left that nobody waits for.
func (s *Service) empty(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 0 || s.turns.waiting != 0 || len(s.turns.lines) > 0 || s.running != 0 {
		t.Errorf("left over: %d pending, %d waiting, %d lines, %d run", len(s.pending), s.turns.waiting, len(s.turns.lines), s.running)
	}
	if s.timer != nil {
		s.timer.Stop()
	}
}

// One address that guesses gets ten tries, and one every three seconds. Others are not kept waiting.
func TestOneClientGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := testService(), &work{}
		const cost = 50 * time.Millisecond
		outcomes, done := w.flood(s, "/a", time.Millisecond, time.Minute, cost, func(int) string { return "198.51.100.1" })
		time.Sleep(500 * time.Millisecond)
		start := time.Now()
		if o := s.checkOnce(t.Context(), w.job(s, "/a", "192.0.2.7", "secret", cost, true)); o != right {
			t.Errorf("somebody else: %s", o)
		}
		if took := time.Since(start); took > 3*cost {
			t.Errorf("somebody else waited for %s", took)
		}
		done()
		if n := outcomes[wrong]; n < 25 || n > 10+20+2 {
			t.Errorf("%d guesses in a minute: %v", n, outcomes)
		}
		if outcomes[guessing] < 58_000 {
			t.Errorf("outcomes: %v", outcomes)
		}
		time.Sleep(40 * time.Second)
		if o := s.checkOnce(t.Context(), w.job(s, "/a", "198.51.100.1", "secret 2", cost, true)); o != right {
			t.Errorf("the client itself, with the right one after a while: %s", o)
		}
		s.empty(t)
	})
}

// Many addresses that guess at one app take a fifth of a core, after some seconds. Users of other apps are not kept waiting, nor
// are those who had a right password from where they are.
func TestManyClientsGuess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := testService(), &work{}
		const cost, lasts = 200 * time.Millisecond, 2 * time.Minute
		if o := s.checkOnce(t.Context(), w.job(s, "/a", "192.0.2.7", "secret", cost, true)); o != right {
			t.Fatal(o)
		}
		_, done := w.flood(s, "/a", 2*time.Millisecond, lasts, cost, func(i int) string { return fmt.Sprintf("198.51.%d.%d", i/200%250, i%200) })
		for i := range 20 {
			time.Sleep(5 * time.Second)
			start := time.Now()
			if o := s.checkOnce(t.Context(), w.job(s, "/b", "203.0.113.1", fmt.Sprint("b ", i), cost, true)); o != right || time.Since(start) > 3*cost {
				t.Errorf("another app: %s after %s", o, time.Since(start))
			}
			start = time.Now()
			if o := s.checkOnce(t.Context(), w.job(s, "/a", "192.0.2.7", fmt.Sprint("a ", i), cost, true)); o != right || time.Since(start) > 3*time.Second {
				t.Errorf("a known client: %s after %s", o, time.Since(start))
			}
		}
		done()
		time.Sleep(10 * time.Second)
		if limit := 5*time.Second + lasts/5 + 2*time.Second; w.of("/a") > limit {
			t.Errorf("the app took %s of CPU in %s, want at most %s", w.of("/a"), lasts, limit)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.most > 1 {
			t.Errorf("%d checks at a time", w.most)
		}
		s.empty(t)
	})
}

// Somebody who has many apps with hashes that take long keeps those waiting, and no others.
func TestManyAppsWithSlowHashes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := testService(), &work{}
		var all sync.WaitGroup
		for i := range 150 {
			all.Go(func() {
				w.flood(s, fmt.Sprintf("/evil/%d", i), 500*time.Millisecond, 20*time.Second, time.Second, func(n int) string { return fmt.Sprintf("198.51.%d.%d", i%250, n) })
			})
		}
		var slow atomic.Int64
		for i := range 40 {
			time.Sleep(400 * time.Millisecond)
			all.Go(func() {
				start := time.Now()
				o := s.checkOnce(t.Context(), w.job(s, fmt.Sprintf("/good/%d", i), "203.0.113.1", "secret", 5*time.Millisecond, true))
				if o != right || time.Since(start) > 1100*time.Millisecond {
					slow.Add(1)
					t.Errorf("/good/%d: %s after %s", i, o, time.Since(start))
				}
			})
		}
		all.Wait()
		time.Sleep(time.Minute)
		s.empty(t)
	})
}

// Who sends the same password at the same time waits for one check.
func TestSamePasswordAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := testService(), &work{}
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				if o := s.checkOnce(t.Context(), w.job(s, "/a", fmt.Sprintf("10.0.%d.1", i%250), "secret", time.Second, true)); o != right {
					t.Error(o)
				}
			})
		}
		all.Wait()
		if w.of("/a") != time.Second {
			t.Errorf("it was checked for %s", w.of("/a"))
		}
		s.empty(t)
	})
}

// Who leaves, or waits for too long, is forgotten.
func TestLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := testService(), &work{}
		go s.checkOnce(context.Background(), w.job(s, "/a", "10.0.0.1", "slow", 10*time.Second, false))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		outcomes := make(chan outcome, 2)
		go func() { outcomes <- s.checkOnce(ctx, w.job(s, "/a", "10.0.0.2", "x", time.Second, true)) }()
		synctest.Wait()
		cancel()
		if o := <-outcomes; o != left {
			t.Error(o)
		}
		start := time.Now()
		if o := s.checkOnce(t.Context(), w.job(s, "/a", "10.0.0.2", "y", time.Second, true)); o != busy || time.Since(start) != s.limits.Wait {
			t.Errorf("%s after %s", o, time.Since(start))
		}
		if w.of("/a") != 10*time.Second {
			t.Errorf("what nobody waits for was checked: %s", w.of("/a"))
		}
		time.Sleep(10 * time.Second)
		s.empty(t)
	})
}

// What is known has limits, whatever comes.
func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, w := testService(), &work{}
		s.limits.Kept = 100
		s.right, s.wrong, s.known = newRecent[key](100, time.Hour), newRecent[key](100, time.Minute), newRecent[place](100, time.Hour)
		first := w.job(s, "/a", "10.0.0.1", "secret", time.Microsecond, true)
		s.checkOnce(t.Context(), first)
		for i := range 1000 {
			s.checkOnce(t.Context(), w.job(s, fmt.Sprint("/", i%10), fmt.Sprintf("10.%d.%d.1", i/250, i%250), fmt.Sprint(i), time.Microsecond, false))
		}
		if n := len(s.wrong.of); n > 100 || s.wrong.order.Len() != n {
			t.Errorf("%d wrong ones are kept", n)
		}
		if o := s.checkOnce(t.Context(), w.job(s, "/a", "10.0.0.1", "secret", time.Microsecond, true)); o != kept {
			t.Errorf("wrong ones took the place of a right one: %s", o)
		}
		if o := s.checkOnce(t.Context(), w.job(s, "/9", "10.9.9.9", "999", time.Microsecond, false)); o != wrong || w.of("/9") != 100*time.Microsecond {
			t.Errorf("a wrong one is not kept: %s, %s", o, w.of("/9"))
		}
		time.Sleep(2 * time.Minute)
		if s.wrong.has(w.job(s, "/9", "10.9.9.9", "999", 0, false).key, time.Now()) {
			t.Error("a wrong one is kept for ever")
		}
		d := newDebts[int](1, 1)
		for i := range 2 * maxDebts {
			d.add(i, 1, time.Now())
		}
		if len(d.of) > maxDebts {
			t.Errorf("%d debtors", len(d.of))
		}
		time.Sleep(10 * time.Second)
		d.add(-1, 1, time.Now())
		if len(d.of) != 1 {
			t.Errorf("%d debtors owe nothing", len(d.of))
		}
		s.empty(t)
	})
}

// A check that panics lets in nobody.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := testService()
	j := (&work{}).job(s, "/a", "10.0.0.1", "x", 0, true)
	j.matches = func() bool { panic("no") }
	if o := s.checkOnce(t.Context(), j); o != wrong {
		t.Error(o)
	}
	s.empty(t)
}
