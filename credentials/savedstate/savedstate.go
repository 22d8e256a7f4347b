// Package savedstate saves the credentials that a store gave last, and serves them while the store cannot be read
// after a restart. It saves them encrypted or not at all.
package savedstate

import (
	"encoding/json"
	"errors"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"relay/credentials"
	"relay/internal/problem"
	"relay/internal/state"
)

// read is a complete read of a store. It is not modified.
type read struct {
	all      []*credentials.Credential
	problems []problem.Problem
}

// Sink stands between one store and the next Sink.
type Sink struct {
	*state.Keeper[read]
	source string
	last   read // written by the store's goroutine, under the keeper's lock
	next   credentials.Sink
}

// New returns a Sink for the store of that name (cfg.Source) that hands on to next. A file without a key is an error.
func New(cfg state.Config, next credentials.Sink, log *slog.Logger, registerer prometheus.Registerer) (*Sink, error) {
	if cfg.File.Key == nil {
		return nil, errors.New("credentials are not saved without a key that encrypts them: give --state-key-file")
	}
	s := &Sink{source: cfg.Source, next: next}
	s.Keeper = state.New(cfg, state.Content[read]{
		Snapshot: func() read { return s.last },
		Encode:   encode,
		Decode:   s.decode,
		StandIn:  func(r read) { next.SyncCredentials(s.source, r.all, r.problems) },
	}, log, registerer)
	return s, nil
}

// SyncCredentials implements credentials.Sink.
func (s *Sink) SyncCredentials(source string, all []*credentials.Credential, problems []problem.Problem) {
	changed := !slices.EqualFunc(s.last.all, all, (*credentials.Credential).Equal) || !slices.Equal(s.last.problems, problems)
	s.Sync(changed, func() {
		s.last = read{all, problems}
		s.next.SyncCredentials(source, all, problems)
	})
}

// saved is the body of a file.
type saved struct {
	Credentials []savedCredential
	Problems    []savedProblem
}

// savedCredential has the value in place of the one that hides from JSON.
type savedCredential struct {
	Path  string
	Value []byte `json:",omitempty"`
}

type savedProblem struct{ Subject, Reason string }

func encode(r read) ([]byte, error) {
	all := saved{Credentials: make([]savedCredential, len(r.all))}
	for i, c := range r.all {
		all.Credentials[i] = savedCredential{c.Path, c.Value}
	}
	for _, p := range r.problems {
		all.Problems = append(all.Problems, savedProblem{p.Subject, p.Reason})
	}
	return json.Marshal(all)
}

func (s *Sink) decode(body []byte) (read, error) {
	var all saved
	if err := json.Unmarshal(body, &all); err != nil {
		return read{}, errors.New("it cannot be decoded") // the decoder's own words may hold a part of it
	}
	var r read
	for _, c := range all.Credentials {
		if c.Path == "" || len(c.Value) > credentials.MaxValue {
			return read{}, errors.New("it has a credential that is none")
		}
		r.all = append(r.all, &credentials.Credential{Source: s.source, Path: c.Path, Value: c.Value})
	}
	for _, p := range all.Problems {
		r.problems = append(r.problems, problem.Problem{Subject: p.Subject, Reason: p.Reason})
	}
	return r, nil
}
