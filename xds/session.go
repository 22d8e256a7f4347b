package xds

import (
	"sync"
	"sync/atomic"
	"time"
)

// session is the protocol state of one stream: what goes in are requests,
// what comes out are responses. It does no I/O.
type session struct {
	store *Store
	envoy *kind
	// interest holds a bit for each subscribed type, readable without a lock.
	interest atomic.Uint32
	// wake has one slot: any number of changes wake the sender once.
	wake chan struct{}

	// parked tells that something was asked for of a type that was not open.
	parked atomic.Bool

	// mu guards what follows, inside the store's lock.
	mu      sync.Mutex
	watches [numTypes]watch
	nonce   uint64
	// reached is the last change that was followed until here.
	reached uint64
	// began is when the first request came that was not kept for later; see awaited.
	began time.Time
	// resumed tells that Envoy came with resources, and old that it was served before: it
	// did, or it asks for what only listeners name before it was sent one.
	resumed, old bool
	// running is set once endpointsOfStart has done its work.
	running bool
	// newer is what Envoy has that this Relay never had, which is outdated since then.
	newer    string
	outdated time.Time
	// recovered are what the Envoy has acknowledged after it had lacked it, for the log.
	recovered []string
	// salt tells what this stream varies from what others do.
	salt string
}

func newSession(s *Store, envoy *kind) *session {
	session := &session{store: s, envoy: envoy, salt: newSalt(), wake: make(chan struct{}, 1)}
	for t := range session.watches {
		session.watches[t] = newWatch(Type(t), envoy)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	envoy.bit = s.versionBit(envoy.version)
	s.sessions[session] = struct{}{}
	return session
}

func (s *session) close() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	delete(s.store.sessions, s)
	s.forgetRejections()
	for t := range s.watches {
		d := s.watches[t].doubt()
		s.store.share(s.envoy.node, Type(t), d)
		s.store.doubts.keep(s.envoy.node, Type(t), d)
	}
	s.store.sample.leave(s, false, time.Now())
}

// takeRecovered returns what the Envoy does not lack any more, once.
func (s *session) takeRecovered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.recovered
	s.recovered = nil
	return names
}

// locked calls f with the session locked.
func (s *session) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *session) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// legacyWildcard are the types of which a first request without names asks for
// all. For the others it asks for nothing.
var legacyWildcard = [numTypes]bool{Cluster: true, Listener: true, Scope: true}

// outcome is what is left to do of a request without the locks with which it was
// handled.
type outcome struct {
	rejection *Rejection
	culprit   *culprit
	// settled are resources that the Envoy has no rejection of any more.
	settled []uint32
}

// culprit is a resource that was rejected alone.
type culprit struct {
	id      uint32
	version version
	since   uint64
}

// request takes in one request for a type. It returns the rejection when the
// request is one. Requests for a type that is not open yet are kept.
func (s *session) request(t Type, req *request, now time.Time) *Rejection {
	var out outcome
	for done := false; !done; {
		s.unpark(now)
		out, done = s.take(t, req, s.resolve(t, req), now)
	}
	if len(out.settled) > 0 {
		s.settle(t, out.settled)
	}
	if out.culprit != nil {
		s.rejectAlone(t, *out.culprit, out.rejection)
	}
	return out.rejection
}

// take handles a request under the store's lock, as far as that goes without
// touching what concerns other Envoys. It does nothing when ids were given to other
// names since they were resolved.
func (s *session) take(t Type, req *request, sub subscription, now time.Time) (out outcome, done bool) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.reclaims != sub.reclaims {
		return outcome{}, false
	}
	if !s.store.tables[t].open {
		s.watches[t].ask(sub)
		s.parked.Store(true)
		return outcome{}, true
	}
	if s.watches[t].early != nil { // the type was opened a moment ago
		return outcome{}, false
	}
	return s.handle(t, req, sub, now), true
}

// unpark handles what was asked for before its type was opened.
func (s *session) unpark(now time.Time) {
	if !s.parked.Load() {
		return
	}
	var names [numTypes][]uint32
	opened := func(f func(t Type, early *subscription)) {
		s.store.readLocked(func() {
			s.locked(func() {
				for t := range s.watches {
					if early := s.watches[t].early; early != nil && s.store.tables[t].open {
						f(Type(t), early)
					}
				}
			})
		})
	}
	opened(func(t Type, early *subscription) { names[t] = early.subscribe })
	for t := range names {
		s.store.asked(Type(t), names[t]) // as what answers for them was not known before
	}
	var settled [numTypes][]uint32
	opened(func(t Type, early *subscription) {
		s.watches[t].early = nil
		settled[t] = s.start(t, *early, now)
	})
	s.locked(func() {
		parked := false
		for t := range s.watches {
			parked = parked || s.watches[t].early != nil
		}
		s.parked.Store(parked)
	})
	for t, ids := range settled {
		if len(ids) > 0 {
			s.settle(Type(t), ids)
		}
	}
}

func (s *session) handle(t Type, req *request, sub subscription, now time.Time) (out outcome) {
	w, table := &s.watches[t], &s.store.tables[t]
	if !w.subscribed {
		out.settled = s.start(t, sub, now)
		return out
	}
	for _, id := range sub.unsubscribe {
		if !w.wildcard && w.rejects(table, id) {
			out.settled = append(out.settled, id)
		}
	}
	w.update(table, sub)
	s.answered(t, req, now, &out)
	return out
}

// start handles the first request for a type. It returns what others of the Envoy's
// version rejected, and it tells that it has.
func (s *session) start(t Type, sub subscription, now time.Time) (settled []uint32) {
	w, clusters := &s.watches[t], &s.watches[Cluster]
	s.notice(t, sub)
	current := w.start(&s.store.tables[t], sub, s.store.revision)
	if toldCounts[t] {
		settled = s.store.tables[t].acknowledge(current, s.store.revision, s.envoy)
	}
	w.dispel(&s.store.tables[t], s.store.doubts.take(s.envoy.node, t).aged(&s.store.tables[t]))
	s.interest.Or(1 << t)
	if s.began.IsZero() {
		s.began = now
	}
	if skipsKnown[t] && s.watches[Listener].sentAt.IsZero() {
		s.old = true
	}
	if f := s.watches[Listener].flight; t == Scope && f != nil && len(sub.initial) > 0 {
		f.scopesBefore = true
	}
	if len(sub.initial) == 0 {
		return settled
	}
	s.resumed, s.old = true, true
	switch {
	case t != Endpoint:
	case !clusters.subscribed && clusters.early == nil:
		// Envoy does not ask for clusters while some are warming, which wait for
		// their endpoints anew: those that it has are not enough.
		s.again(w.held)
	case clusters.flight != nil:
		// So do those that were sent since.
		s.endpointsAgain(clusters.flight.set)
	}
	return settled
}

// awaits reports whether a nonce is that of the response in flight.
func (s *session) awaits(t Type, nonce string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.watches[t].flight
	return f != nil && f.nonce == nonce
}

// answered handles the part of a request that acknowledges or rejects the
// response in flight. A nonce of an older response says nothing.
func (s *session) answered(t Type, req *request, now time.Time, out *outcome) {
	w, table := &s.watches[t], &s.store.tables[t]
	f := w.flight
	if f == nil || req.GetResponseNonce() != f.nonce {
		return
	}
	w.flight = nil
	if req.GetErrorDetail() == nil {
		w.acked, w.ackedAt = f.revision, now
		settled := w.accept(table, f)
		out.settled = append(out.settled, settled...)
		for _, id := range f.mended {
			s.recovered = append(s.recovered, table.entries[id].name)
		}
		switch t {
		case Secret:
			s.retryFor(f, now)
		case Listener:
			s.scopesAgain(f)
		}
		return
	}
	w.rejections++
	out.rejection = &Rejection{
		Type: t, Revision: f.revision, Time: now,
		Message: quotable(req.GetErrorDetail().GetMessage()), Names: table.names(f.set),
	}
	if id, alone := w.reject(f); alone {
		out.culprit = &culprit{id: id, version: f.version, since: f.setSince}
		return // and noted by rejectAlone
	}
	w.lastRejection = out.rejection
}

// plan returns the responses that may be sent now, and until when what must
// wait does so at most (zero if nothing waits).
//
// Make before break: a scope or listener is sent once every cluster set before
// its revision was answered (Envoy answers when the cluster is warm); the hosts
// filter, once the scopes were; a scope is removed after those that led to it
// changed, and a cluster after the scopes that named it did.
func (s *session) plan(now time.Time) (out []*response, retryAt time.Time) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.watches {
		w := &s.watches[t]
		w.now = now
		if w.subscribed {
			w.collect(&s.store.tables[t], s.store.revision)
			w.retryLacks()
		}
	}
	s.endpointsOfStart(now)
	for again := true; again; {
		again = false
		for _, t := range sendOrder {
			if r := s.next(t, now); r != nil {
				out = append(out, r)
			}
			// What waits for something does so no longer when that is not sent.
			again = again || s.watches[t].dropped
			s.watches[t].dropped = false
		}
	}
	s.converged(now)
	return out, s.deadline(now)
}

// converged tells when this Envoy has acknowledged the change that is followed.
func (s *session) converged(now time.Time) {
	revision := s.store.sample.revision.Load()
	if revision == 0 || revision <= s.reached {
		return
	}
	for t := range s.watches {
		if s.watches[t].subscribed && s.settled(Type(t), removals, now) < revision {
			return
		}
	}
	s.reached = revision
	s.store.sample.leave(s, true, now)
}

// unanswered returns since when Envoy owes an answer; zero if it owes none.
func (s *session) unanswered() (since time.Time) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.watches {
		if f := s.watches[t].flight; f != nil && (since.IsZero() || f.sentAt.Before(since)) {
			since = f.sentAt
		}
	}
	return since
}

// names returns how many names of a type are subscribed to.
func (s *session) names(t Type) int {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.watches[t]
	if w.early != nil {
		return len(w.early.subscribe)
	}
	return int(w.names.GetCardinality())
}

// due returns about how many resources the next responses will have.
func (s *session) due() int {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := uint64(0)
	for t := range s.watches {
		if w := &s.watches[t]; w.subscribed && w.flight == nil {
			n += w.set.GetCardinality()
		}
	}
	return int(n)
}
