// Package savedstate saves the certificates that a store gave last, and serves
// them while the store cannot be read after a restart. It saves them encrypted
// or not at all.
package savedstate

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/internal/problem"
	"relay/internal/state"
)

// read is a complete read of a store. It is not modified.
type read struct {
	certificates []*certs.Certificate
	problems     []problem.Problem
}

// Sink stands between one certificate store and the next Sink.
type Sink struct {
	*state.Keeper[read]
	source string
	next   certs.Sink
	cause  string // belongs to the store's goroutine
	last   read   // written by the store's goroutine, under the keeper's lock
}

var _ certs.CauseSink = (*Sink)(nil)

// New returns a Sink for the store of that name (cfg.Source) that hands on to
// next. A file without a key is an error.
func New(cfg state.Config, next certs.Sink, log *slog.Logger, registerer prometheus.Registerer) (*Sink, error) {
	if cfg.File.Key == nil {
		return nil, errors.New("private keys are not saved without a key that encrypts them: give --state-key-file")
	}
	s := &Sink{source: cfg.Source, next: next}
	s.Keeper = state.New(cfg, state.Content[read]{
		Snapshot: func() read { return s.last },
		Encode:   encode,
		Decode:   s.decode,
		StandIn: func(r read) {
			certs.Because(next, s.source, "saved state stands in for "+s.source)
			next.SyncCertificates(s.source, r.certificates, r.problems)
		},
	}, log, registerer)
	return s, nil
}

// CertificatesBecause implements certs.CauseSink.
func (s *Sink) CertificatesBecause(_, cause string) { s.cause = cause }

// SyncCertificates implements certs.Sink.
func (s *Sink) SyncCertificates(source string, certificates []*certs.Certificate, problems []problem.Problem) {
	// Stores keep what they have parsed, and most polls bring nothing new.
	changed := !slices.Equal(s.last.certificates, certificates) || !slices.Equal(s.last.problems, problems)
	s.Sync(changed, func() {
		s.last = read{certificates, problems}
		certs.Because(s.next, source, s.cause)
		s.next.SyncCertificates(source, certificates, problems)
	})
}

// saved is the body of a file.
type saved struct {
	Certificates []savedCertificate
	Problems     []savedProblem
}

// savedCertificate has the key in place of the one that hides from JSON.
type savedCertificate struct {
	*certs.Certificate
	Key []byte
}

// savedProblem is a problem.Problem under the names that files have.
type savedProblem struct {
	Kind       problem.Kind `json:",omitempty"`
	Fleet, App string       `json:",omitempty"`
	Subject    string       `json:"Name"`
	Item       string       `json:",omitempty"`
	Reason     string
}

func encode(r read) ([]byte, error) {
	all := saved{Certificates: make([]savedCertificate, len(r.certificates))}
	for i, c := range r.certificates {
		all.Certificates[i] = savedCertificate{c, c.Key}
	}
	all.Problems = problemsToSave(r.problems)
	return json.Marshal(all)
}

func problemsToSave(problems []problem.Problem) (all []savedProblem) {
	for _, p := range problems {
		all = append(all, savedProblem{p.Kind, p.Fleet, p.App, p.Subject, p.Item, p.Reason})
	}
	return all
}

func savedProblems(all []savedProblem) (problems []problem.Problem) {
	for _, p := range all {
		problems = append(problems, problem.Problem{Kind: p.Kind, Fleet: p.Fleet, App: p.App, Subject: p.Subject, Item: p.Item, Reason: p.Reason})
	}
	return problems
}

func (s *Sink) decode(body []byte) (read, error) {
	var all saved
	if err := json.Unmarshal(body, &all); err != nil {
		// The decoder's own words may hold a part of what it could not read.
		return read{}, errors.New("it cannot be decoded")
	}
	r := read{problems: savedProblems(all.Problems)}
	for _, c := range all.Certificates {
		if c.Certificate == nil || c.Source != s.source {
			return read{}, fmt.Errorf("it has a certificate that is not of %s", s.source)
		}
		refused, err := c.check()
		if err != nil {
			return read{}, err
		}
		if refused != nil {
			// A Relay that checks less may have saved it.
			r.problems = append(r.problems, problem.Problem{Subject: c.Name, Reason: fmt.Sprintf("the saved certificate is not served: %v", refused)})
			continue
		}
		r.certificates = append(r.certificates, c.Certificate)
	}
	return r, nil
}

// check completes a certificate with what is not saved of it, or was not by earlier versions.
// Keys and chains go to Envoy as they are: they have to belong together. Refused says why the
// certificate cannot be served.
func (c savedCertificate) check() (refused, err error) {
	chains := [][]byte{c.Chain}
	for _, chain := range c.Chains {
		chains = append(chains, chain.PEM)
	}
	var parsed *certs.Certificate
	for _, chain := range slices.Backward(chains) {
		if parsed, _, refused = certs.ParsePEM(append(append([]byte{}, c.Key...), chain...)); refused != nil {
			return refused, nil
		}
		if parsed.Fingerprint != c.Fingerprint {
			return nil, fmt.Errorf("certificate %.200q and its key do not belong together", c.Name)
		}
	}
	c.Certificate.Key, c.Kind = c.Key, parsed.Kind
	if len(c.Chains) == 0 {
		c.NotBefore, c.NotAfter, c.BeginsWith, c.EndsWith = parsed.NotBefore, parsed.NotAfter, parsed.BeginsWith, parsed.EndsWith
	}
	return nil, nil
}
