package savedstate

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/problem"
	"relay/internal/state"
)

// authoritiesRead is a complete read of the authorities of a store. It is not modified.
type authoritiesRead struct {
	authorities []*certs.Authority
	problems    []problem.Problem
}

// Authorities stands between the authorities of one certificate store and the next sink. They are no
// secret, and saved with or without a key; and they stand in by themselves: a store may
// give certificates, and not let authorities be read.
type Authorities struct {
	*state.Keeper[authoritiesRead]
	source string
	next   certs.AuthoritySink
	last   authoritiesRead // written by the store's goroutine, under the keeper's lock

	// file is that of an earlier run, until the first sync. It is read once, as lists may be long.
	// All three belong to the store's goroutine.
	file         state.File
	synced, read bool
	saved        []*certs.Authority
	// unread is why the store does not sync.
	unread atomic.Pointer[string]
}

var _ certs.AuthorityKeeper = (*Authorities)(nil)

// NewAuthorities returns Authorities of the store of that name (cfg.Source) that hand on to next.
func NewAuthorities(cfg state.Config, next certs.AuthoritySink, log *slog.Logger, registerer prometheus.Registerer) *Authorities {
	s := &Authorities{source: cfg.Source, next: next, file: cfg.File}
	s.Keeper = state.New(cfg, state.Content[authoritiesRead]{
		Snapshot: func() authoritiesRead { return s.last },
		Encode:   encodeAuthorities,
		Decode:   s.decode,
		StandIn:  func(r authoritiesRead) { next.SyncAuthorities(s.source, r.authorities, r.problems) },
	}, log, registerer)
	return s
}

// SyncAuthorities implements certs.AuthoritySink.
func (s *Authorities) SyncAuthorities(source string, authorities []*certs.Authority, problems []problem.Problem) {
	s.synced, s.saved = true, nil
	s.unread.Store(nil)
	changed := !slices.Equal(s.last.authorities, authorities) || !slices.Equal(s.last.problems, problems)
	s.Sync(changed, func() {
		s.last = authoritiesRead{authorities, problems}
		s.next.SyncAuthorities(source, authorities, problems)
	})
}

// SavedAuthorities implements certs.AuthorityKeeper. A file that cannot be used has none.
func (s *Authorities) SavedAuthorities(string) []*certs.Authority {
	if s.synced || s.read {
		return s.saved
	}
	s.read = true
	body, _, err := s.file.Load()
	if err != nil {
		return nil
	}
	if r, err := s.decode(body); err == nil {
		s.saved = r.authorities
	}
	return s.saved
}

// AuthoritiesUnread implements certs.AuthorityKeeper.
func (s *Authorities) AuthoritiesUnread(_, reason string) { s.unread.Store(&reason) }

// Status says also why the store does not sync.
func (s *Authorities) Status() state.Status {
	status := s.Keeper.Status()
	if reason := s.unread.Load(); reason != nil {
		status.Problems = append(status.Problems, *reason)
	}
	return status
}

// savedAuthorities is the body of a file. All else of an authority is in these texts.
type savedAuthorities struct {
	Authorities []savedAuthority
	Problems    []savedProblem
}

type savedAuthority struct{ Source, Name, Certificates, Revoked string }

func encodeAuthorities(r authoritiesRead) ([]byte, error) {
	all := savedAuthorities{Authorities: make([]savedAuthority, len(r.authorities)), Problems: problemsToSave(r.problems)}
	for i, a := range r.authorities {
		all.Authorities[i] = savedAuthority{a.Source, a.Name, string(a.Certificates), string(a.Revoked)}
	}
	return json.Marshal(all)
}

func (s *Authorities) decode(body []byte) (authoritiesRead, error) {
	var all savedAuthorities
	if err := json.Unmarshal(body, &all); err != nil {
		return authoritiesRead{}, errors.New("it cannot be decoded")
	}
	r := authoritiesRead{problems: savedProblems(all.Problems)}
	for _, a := range all.Authorities {
		if a.Source != s.source {
			return authoritiesRead{}, fmt.Errorf("it has an authority that is not of %s", s.source)
		}
		// A Relay that checks less may have saved it.
		authority, err := reading.Saved(a.Source, a.Name, a.Certificates, a.Revoked)
		if err != nil {
			r.problems = append(r.problems, problem.Problem{Subject: a.Name, Reason: fmt.Sprintf("the saved authority is not used: %v", err)})
			continue
		}
		r.authorities = append(r.authorities, authority)
	}
	return r, nil
}
