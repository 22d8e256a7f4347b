package xds

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
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

	// mu guards what follows, inside the store's lock.
	mu      sync.Mutex
	watches [numTypes]watch
	parked  [numTypes][]*request
	nonce   uint64
	// reached is the last change that was followed until here.
	reached uint64
	// expected is set when Envoy came with clusters: it has listeners, scopes and
	// a filter too, and is about to say so. Until then, or until this time,
	// nothing that they may name is removed.
	expected time.Time
}

func newSession(s *Store, envoy *kind) *session {
	session := &session{store: s, envoy: envoy, wake: make(chan struct{}, 1)}
	for t := range session.watches {
		session.watches[t] = newWatch(envoy)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[session] = struct{}{}
	return session
}

func (s *session) close() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	delete(s.store.sessions, s)
	s.store.sample.leave(s, false, time.Now())
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

// request takes in one request for a type. It returns the rejection when the
// request is one. Requests for a type that is not open yet are kept.
func (s *session) request(t Type, req *request, now time.Time) *Rejection {
	var (
		rejection *Rejection
		culprit   *held
	)
	for done := false; !done; {
		rejection, culprit, done = s.take(t, req, s.resolve(t, req), now)
	}
	if culprit != nil {
		rejection.Culprit = s.store.condemn(t, culprit.id, culprit.version, rejection, s.envoy)
		s.reconsider(t, culprit.id)
	}
	return rejection
}

// reconsider gives an Envoy that has nothing in place of what it rejected the
// last good version.
func (s *session) reconsider(t Type, id uint32) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := &s.watches[t]; w.wants(id) && !w.held.Contains(id) {
		w.due(&s.store.tables[t], id)
	}
}

// take handles a request under the store's lock, with which nobody can be
// condemned: the culprit, if one was found, is returned. It does nothing when
// ids were given to other names since they were resolved.
func (s *session) take(t Type, req *request, sub subscription, now time.Time) (rejection *Rejection, culprit *held, done bool) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store.reclaims != sub.reclaims {
		return nil, nil, false
	}
	if !s.store.tables[t].open {
		s.parked[t] = append(s.parked[t], req)
		return nil, nil, true
	}
	rejection, culprit = s.handle(t, req, sub, now)
	return rejection, culprit, true
}

// unpark handles the requests that were kept until their type was opened.
func (s *session) unpark(now time.Time) {
	for t := range s.parked {
		s.mu.Lock()
		kept := s.parked[t]
		s.parked[t] = nil
		s.mu.Unlock()
		for _, req := range kept {
			s.request(Type(t), req, now)
		}
	}
}

// resolve replaces the names of a request by ids.
func (s *session) resolve(t Type, req *request) subscription {
	const all = "*"
	sub := subscription{emptyMeansAll: legacyWildcard[t], reclaims: s.store.tidy(t)}
	names := func(list []string, found *bool) []uint32 {
		*found = slices.Contains(list, all)
		if *found {
			list = slices.DeleteFunc(slices.Clone(list), func(name string) bool { return name == all })
		}
		return s.store.intern(t, list)
	}
	sub.subscribe = names(req.subscribe, &sub.subscribeAll)
	s.store.asked(t, sub.subscribe)
	sub.unsubscribe = names(req.unsubscribe, &sub.unsubscribeAll)
	if len(req.initial) > 0 {
		list := make([]string, len(req.initial))
		for i, r := range req.initial {
			list[i] = r.name
		}
		sub.initial = make([]held, len(list))
		for i, id := range s.store.intern(t, list) {
			sub.initial[i] = held{id, parseVersion(req.initial[i].version)}
		}
	}
	return sub
}

func (s *session) handle(t Type, req *request, sub subscription, now time.Time) (*Rejection, *held) {
	w, table := &s.watches[t], &s.store.tables[t]
	if !w.subscribed {
		w.start(table, sub, s.store.revision)
		s.interest.Or(1 << t)
		if t == Cluster && len(sub.initial) > 0 {
			s.expected = now.Add(ackLimit)
		}
		if f := s.watches[Cluster].flight; t == Endpoint && f != nil && len(sub.initial) > 0 {
			// Envoy came with these endpoints, but the clusters that were sent
			// meanwhile wait for them anew.
			s.endpointsAgain(f.set)
		}
		return nil, nil
	}
	w.update(table, sub)
	return s.answered(t, req, now)
}

// awaits reports whether a nonce is that of the response in flight.
func (s *session) awaits(t Type, nonce string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.watches[t].flight
	return f != nil && f.nonce == nonce
}

// maxMessage bounds what is kept of an Envoy's words, in characters.
const maxMessage = 16 << 10

// answered handles the part of a request that acknowledges or rejects the
// response in flight. A nonce of an older response says nothing.
func (s *session) answered(t Type, req *request, now time.Time) (*Rejection, *held) {
	w, table := &s.watches[t], &s.store.tables[t]
	f := w.flight
	if f == nil || req.GetResponseNonce() != f.nonce {
		return nil, nil
	}
	w.flight = nil
	if req.GetErrorDetail() == nil {
		w.acked, w.ackedAt = f.revision, now
		table.prove(f.set, f.revision, s.envoy)
		return nil, nil
	}
	w.rejections++
	w.rejected = &Rejection{
		Type: t, Revision: f.revision, Time: now,
		Message: fmt.Sprintf("%.*s", maxMessage, req.GetErrorDetail().GetMessage()), Names: table.names(f.set),
	}
	id, alone := w.reject(f)
	if !alone {
		return w.rejected, nil
	}
	return w.rejected, &held{id: id, version: f.version}
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
		if s.watches[t].subscribed {
			s.watches[t].collect(&s.store.tables[t], s.store.revision)
		}
	}
	for _, t := range sendOrder {
		if r := s.next(t, now); r != nil {
			out = append(out, r)
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
		if s.watches[t].subscribed && s.settled(Type(t), true, now) < revision {
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
	return int(s.watches[t].names.GetCardinality())
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

// next makes the next response of a type, or none if there is nothing to send
// or one is in flight.
func (s *session) next(t Type, now time.Time) *response {
	w, table := &s.watches[t], &s.store.tables[t]
	if !w.subscribed || w.flight != nil {
		return nil
	}
	if w.set.IsEmpty() && w.gone.IsEmpty() && len(w.retry) == 0 && !w.answer {
		return nil
	}
	var b batch
	for len(w.retry) > 0 && b.empty() {
		b, w.retry = w.refresh(table, w.retry[0]), w.retry[1:]
	}
	if b.empty() {
		setLimit, goneLimit := s.limits(t, now)
		b = w.take(table, setLimit, goneLimit, s.store.revision)
	}
	if b.empty() && (!w.answer || !w.set.IsEmpty() || !w.gone.IsEmpty()) {
		return nil
	}
	w.answer = false
	s.nonce++
	w.flight = &flight{batch: b, nonce: strconv.FormatUint(s.nonce, 10), revision: s.store.revision, sentAt: now}
	w.flight.fresh = roaring.AndNot(b.set, w.held)
	if b.set.GetCardinality() == 1 {
		_, w.flight.version = table.content(b.set.Minimum(), s.envoy)
	}
	w.sent, w.sentAt = s.store.revision, now
	if t == Cluster {
		s.endpointsAgain(roaring.And(b.set, w.held))
	}
	w.held.Or(b.set)
	w.held.AndNot(b.gone)
	return newResponse(t, table, b, w.flight.nonce, s.envoy)
}

func (b batch) empty() bool {
	return (b.set == nil || b.set.IsEmpty()) && (b.gone == nil || b.gone.IsEmpty())
}
