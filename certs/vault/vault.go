// Package vault reads certificates that marathon-acme stores in Vault's KV
// version 2: "live" names the certificates and their versions,
// "certificates/<name>" holds them. It never writes.
package vault

import (
	"context"
	"fmt"
	"log/slog"
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
	sink      certs.Sink
	logger    *slog.Logger
	reloads   *coalesce.Requests
	reporter  *reading.Reporter
	reader    *reader
	transport *failover
	schedule  schedule
}

// New checks the configuration; Vault is not asked before Serve.
func New(config Config, sink certs.Sink, logger *slog.Logger, registerer prometheus.Registerer) (*Source, error) {
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
		logger:    logger,
		reloads:   coalesce.NewRequests(),
		reporter:  reading.NewReporter(source, logger, registerer),
		transport: transport,
		schedule:  schedule{interval: config.PollInterval},
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
	for {
		timer := time.NewTimer(time.Until(s.wakeAt(time.Now())))
		select {
		case <-ctx.Done():
		case <-s.reloads.Wanted():
			s.read(ctx)
		case <-timer.C:
			s.work(ctx)
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// wakeAt is when there is something to do.
func (s *Source) wakeAt(now time.Time) time.Time {
	next := s.schedule.next(s.reader.auth.renewAt)
	if change := s.reader.known.nextChange(now); s.reader.complete && !change.IsZero() && change.Before(next) {
		return change
	}
	return next
}

// work renews the token, reads, and hands on what time alone changed, each if it is
// time.
func (s *Source) work(ctx context.Context) {
	if at := s.reader.auth.renewAt; !at.IsZero() && !time.Now().Before(at) {
		s.reader.auth.renew(ctx)
	}
	if s.schedule.isTimeToRead(time.Now()) {
		s.read(ctx)
	}
	// A read that succeeded has handed it on.
	now := time.Now()
	if change := s.reader.known.nextChange(now); s.reader.complete && !change.IsZero() && !change.After(now) {
		certificates, problems := s.collect(now)
		certs.Because(s.sink, source, "Vault: time has come for what is known")
		s.sink.SyncCertificates(source, certificates, problems)
	}
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
	now := time.Now()
	if err != nil {
		s.reporter.Failed(err)
		s.schedule.failed(now, err)
		return err
	}
	certificates, problems := s.collect(now)
	s.reporter.Succeeded(now, certificates, problems)
	why := "read once in a while"
	if asked {
		why = "asked for by a hook"
	}
	certs.Because(s.sink, source, "Vault: "+why)
	s.sink.SyncCertificates(source, certificates, problems)
	if got.err != nil {
		s.schedule.failed(now, got.err)
		return got.err
	}
	s.schedule.succeeded(now, asked, got.changed)
	return nil
}
