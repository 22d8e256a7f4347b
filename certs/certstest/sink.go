package certstest

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/certs"
	"relay/internal/problem"
)

// Sync is one call of a Sink.
type Sync struct {
	Source       string
	Certificates []*certs.Certificate
	Problems     []problem.Problem
	// Authorities are those of the last call of SyncAuthorities before.
	Authorities       []*certs.Authority
	AuthorityProblems []problem.Problem
	// Unread is why there was no call of SyncAuthorities.
	Unread string
	// Count is the number of calls up to this one.
	Count int
}

// Names are the server names covered, sorted.
func (s Sync) Names() []string {
	names := make(map[string]bool)
	for _, c := range s.Certificates {
		for _, name := range c.ServerNames {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Fingerprint is that of the certificate for a server name; empty without one.
func (s Sync) Fingerprint(name string) string {
	for _, c := range s.Certificates {
		if slices.Contains(c.ServerNames, name) {
			return c.Fingerprint
		}
	}
	return ""
}

// Problem returns the reasons of all problems whose subject contains name.
func (s Sync) Problem(name string) string {
	var reasons []string
	for _, p := range s.Problems {
		if strings.Contains(p.Subject, name) {
			reasons = append(reasons, p.Reason)
		}
	}
	return strings.Join(reasons, "; ")
}

// Authority returns the authority of a name; nil without one.
func (s Sync) Authority(name string) *certs.Authority {
	for _, a := range s.Authorities {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// AuthorityProblem returns the reasons of all problems of authorities whose subject contains name.
func (s Sync) AuthorityProblem(name string) string {
	return Sync{Problems: s.AuthorityProblems}.Problem(name)
}

// Sink is a certs.StoreSink that keeps the latest call.
type Sink struct {
	mu      sync.Mutex
	last    Sync
	changed chan struct{}
	saved   []*certs.Authority
}

// NewSink returns a Sink that was not called yet.
func NewSink() *Sink { return &Sink{changed: make(chan struct{})} }

// SyncCertificates implements certs.Sink.
func (s *Sink) SyncCertificates(source string, certificates []*certs.Certificate, problems []problem.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = Sync{
		Source: source, Certificates: certificates, Problems: problems, Count: s.last.Count + 1,
		Authorities: s.last.Authorities, AuthorityProblems: s.last.AuthorityProblems, Unread: s.last.Unread,
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// SyncAuthorities implements certs.AuthoritySink.
func (s *Sink) SyncAuthorities(_ string, authorities []*certs.Authority, problems []problem.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Authorities, s.last.AuthorityProblems, s.last.Unread, s.saved = authorities, problems, "", nil
	close(s.changed)
	s.changed = make(chan struct{})
}

// Save has the sink answer as one that saved authorities of its source in an earlier run.
func (s *Sink) Save(authorities ...*certs.Authority) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saved = authorities
}

// SavedAuthorities implements certs.AuthorityKeeper.
func (s *Sink) SavedAuthorities(string) []*certs.Authority {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved
}

// AuthoritiesUnread implements certs.AuthorityKeeper.
func (s *Sink) AuthoritiesUnread(_, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last.Unread = reason
}

// Last returns the latest call; its Count is 0 when there was none.
func (s *Sink) Last() Sync {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// WaitFor returns the first call that is as wanted, or fails the test.
func (s *Sink) WaitFor(t testing.TB, what string, wanted func(Sync) bool) Sync {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		last, changed := s.last, s.changed
		s.mu.Unlock()
		if last.Count > 0 && wanted(last) {
			return last
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the sink never had %s; names %q, problems %v", what, last.Names(), last.Problems)
		}
	}
}
