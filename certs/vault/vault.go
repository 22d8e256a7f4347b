// Package vault reads certificates that marathon-acme stores in Vault's KV
// version 2: "live" names the certificates and their versions,
// "certificates/<name>" holds them. "authorities/<name>" are those of clients. It also reads
// the credentials that apps name, from a path of their own. It never writes.
package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/coalesce"
	"relay/internal/problem"
)

const source = "vault"

// Source reads certificates from Vault and hands them to a sink.
type Source struct {
	sink      certs.StoreSink
	reloads   *coalesce.Requests
	reporter  *reading.Reporter
	reader    *reader
	transport *failover
	schedule  schedule
	// authorities are those of clients.
	authorities *authorities
}

// New checks the configuration; Vault is not asked before Serve.
func New(config Config, sink certs.StoreSink, logger *slog.Logger, registerer prometheus.Registerer) (*Source, error) {
	config, addresses, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	api, transport, err := newAPIClient(config, addresses)
	if err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	logger = logger.With("source", source)
	auth := &auth{config: config, api: api, logger: logger}
	return &Source{
		sink:      sink,
		reloads:   coalesce.NewRequests(),
		reporter:  reading.NewReporter(source, logger, registerer),
		transport: transport,
		schedule:  schedule{interval: config.PollInterval},

		authorities: newAuthorities(logger, sink),
		reader: &reader{
			config: config,
			client: &client{api: api, auth: auth},
			auth:   auth,
			known:  newKnown(config.Default),
		},
	}, nil
}

// Status returns the outcome of the latest reads.
func (s *Source) Status() certs.Status { return s.reporter.Status() }

// Reload waits for a read that started after the call and returns why it
// failed. Without a running Serve it waits for the context's end.
func (s *Source) Reload(ctx context.Context) error { return s.reloads.Ask().Wait(ctx) }

// Serve reads Vault now, at every poll and at every Reload, and keeps the
// token alive, until the context ends. Failed reads are retried and never end
// it: what was read stays in use.
func (s *Source) Serve(ctx context.Context) error {
	defer s.transport.base.CloseIdleConnections()
	s.schedule.start(time.Now())
	return follow(ctx, s.reloads, s.wakeAt, s.read, s.work)
}

// wakeAt is when there is something to do.
func (s *Source) wakeAt(now time.Time) time.Time {
	next := s.schedule.next(s.reader.auth.renewAt)
	if change := s.nextChange(now); !change.IsZero() && change.Before(next) {
		return change
	}
	return next
}

// nextChange is when time alone changes what is handed on; zero for never.
func (s *Source) nextChange(now time.Time) time.Time {
	if !s.reader.complete {
		return time.Time{}
	}
	next := s.reader.known.nextChange(now)
	if at := s.authorities.nextChange(); s.authorities.complete && !at.IsZero() && (next.IsZero() || at.Before(next)) {
		return at
	}
	return next
}

// work renews the token, reads, and hands on what time alone changed, each if it is
// time.
func (s *Source) work(ctx context.Context) {
	s.reader.auth.renewInTime(ctx)
	if s.schedule.isTimeToRead(time.Now()) {
		s.read(ctx)
	}
	// A read that succeeded has handed it on.
	now := time.Now()
	if change := s.nextChange(now); !change.IsZero() && !change.After(now) {
		s.handOn(now, "time has come for what is known")
	}
}

// handOn tells the sink what there is, authorities first: who is let in by a certificate that comes
// with them is known by then.
func (s *Source) handOn(now time.Time, why string) (certificates []*certs.Certificate, problems []problem.Problem) {
	certificates, problems = s.collect(now)
	authorities, ofAuthorities := s.authorities.collect(now)
	if s.authorities.complete {
		s.sink.SyncAuthorities(source, authorities, slices.Concat(ofAuthorities, s.authorities.deniedProblem()))
	} else if s.authorities.failure != "" {
		certs.Unread(s.sink, source, s.authorities.failure)
	}
	certs.Because(s.sink, source, "Vault: "+why)
	s.sink.SyncCertificates(source, certificates, problems)
	return certificates, slices.Concat(problems, ofAuthorities)
}

// collect lists what is to be served, and all that is wrong.
func (s *Source) collect(now time.Time) ([]*certs.Certificate, []problem.Problem) {
	certificates, problems := s.reader.known.collect(now)
	if reason := s.reader.auth.problem(now); reason != "" {
		problems = append(problems, problem.Problem{Subject: "token", Reason: reason})
	}
	return certificates, problems
}

// read reads once, and answers those who asked for it.
func (s *Source) read(ctx context.Context) {
	s.reloads.Do(func(run *coalesce.Run) error { return s.readOnce(ctx, run.Asked()) })
}

func (s *Source) readOnce(ctx context.Context, asked bool) error {
	poll := s.schedule.begin(time.Now())
	got, err := s.reader.read(ctx, poll)
	if ctx.Err() != nil {
		return err
	}
	if err != nil {
		now := time.Now()
		s.reporter.Failed(err)
		s.schedule.failed(now, err)
		return err
	}
	changed, err := s.authorities.read(ctx, s.reader.client, asked)
	if ctx.Err() != nil {
		return err
	}
	now, why := time.Now(), "read once in a while"
	if asked {
		why = "asked for by a hook"
	}
	certificates, problems := s.handOn(now, why)
	s.reporter.Succeeded(now, certificates, problems)
	if err = errors.Join(got.err, err); err != nil {
		s.schedule.failed(now, err)
		return err
	}
	s.schedule.succeeded(now, asked, got.changed || changed)
	return nil
}
