// Package dir reads certificates from PEM files: single files, directories of
// them, and the storage directory of marathon-acme.
package dir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/coalesce"
	"relay/internal/files"
)

const (
	source = "dir"
	// defaultFile is the certificate for unknown names, as marathon-acme
	// writes it.
	defaultFile = "default.pem"

	// confirmDelay is the wait before a scan that has to confirm the last one.
	confirmDelay = removalDelay + 100*time.Millisecond
	// failureDelay is the wait after a scan that failed.
	failureDelay = 5 * time.Second
	// eventGap keeps a directory that is written to all the time from being
	// read all the time; a lone change is read at once.
	eventGap = 100 * time.Millisecond
)

// Config says where the certificates are.
type Config struct {
	// Paths are files and directories. Of a directory *.pem (with *.pem.key)
	// and pairs of *.crt and *.key are read, not recursively; but a folder with
	// fullchain.pem and privkey.pem, as certbot makes it, is one certificate. NAME.ca.pem without a
	// private key is an authority of clients, and NAME.crl.pem has its revocation lists. In a directory
	// that has a folder named certs, as marathon-acme makes it, certs,
	// unmanaged-certs and default.pem are read instead.
	Paths []string
	// Default is the file for clients without a known server name. Without it
	// any default.pem and any certificate for the bare name "*" is taken.
	Default string
	// PollInterval is the time between two scans, for file systems that report
	// no changes; 60 s when zero.
	PollInterval time.Duration
	// RetryDelay is the wait before a file that is invalid or being written is
	// read again; 200 ms when zero.
	RetryDelay time.Duration
}

// Source reads certificate files and hands them to a sink.
type Source struct {
	config   Config
	sink     certs.StoreSink
	logger   *slog.Logger
	reloads  *coalesce.Requests
	reporter *reading.Reporter
	scanner  *scanner
	// synced tells that the sink was told of a complete scan.
	synced bool
	// why there is a scan, in words.
	why string
}

// New checks the configuration; nothing is read before Serve.
func New(config Config, sink certs.StoreSink, logger *slog.Logger, registerer prometheus.Registerer) (*Source, error) {
	if config.PollInterval == 0 {
		config.PollInterval = time.Minute
	}
	if config.RetryDelay == 0 {
		config.RetryDelay = 200 * time.Millisecond
	}
	var paths []string
	for _, path := range config.Paths {
		if path == "" {
			return nil, errors.New("certificate directory: a path is empty")
		}
		paths = append(paths, filepath.Clean(path))
	}
	if config.Default != "" {
		config.Default = filepath.Clean(config.Default)
		paths = append(paths, config.Default)
	}
	if len(paths) == 0 {
		return nil, errors.New("certificate directory: no path is given")
	}
	logger = logger.With("source", source)
	return &Source{
		config:   config,
		sink:     sink,
		logger:   logger,
		reloads:  coalesce.NewRequests(),
		reporter: reading.NewReporter(source, logger, registerer),
		scanner: &scanner{
			layout:      newLayout(paths),
			defaultPath: config.Default,
			retryDelay:  config.RetryDelay,
			files:       make(map[string]*file),
			authorities: make(map[string]*clientAuthority),
			parse:       certs.ParsePEM,
			logger:      logger,
			sink:        sink,
		},
	}, nil
}

// Status returns the outcome of the latest reads.
func (s *Source) Status() certs.Status { return s.reporter.Status() }

// Reload waits for a scan that started after the call and returns why it
// failed. Without a running Serve it waits for the context's end.
func (s *Source) Reload(ctx context.Context) error { return s.reloads.Ask().Wait(ctx) }

// Serve scans now, at every change that the file system reports, at every
// Reload and at every poll, until the context ends. Failed scans are retried
// and never end it.
func (s *Source) Serve(ctx context.Context) error {
	watcher := files.NewWatcher(s.scanner.layout.matters, s.logger)
	defer watcher.Close()
	s.why = "the first read"
	for {
		// Watches come first, so that no change falls between scan and watch.
		watcher.Add(s.scanner.layout.watched()...)
		watcher.Clear()
		next := time.NewTimer(s.scan(ctx))
		gap := time.NewTimer(eventGap)
		err := s.wait(ctx, watcher, next, gap)
		next.Stop()
		gap.Stop()
		if err != nil {
			return err
		}
	}
}

// wait returns nil when there is a reason to scan.
func (s *Source) wait(ctx context.Context, watcher *files.Watcher, next, gap *time.Timer) error {
	var events <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.reloads.Wanted():
			s.why = "asked for by a hook"
			return nil
		case <-next.C:
			s.why = "read once in a while"
			return nil
		case <-gap.C:
			events = watcher.Changed()
		case <-events:
			s.why = "files changed"
			return nil
		case err := <-watcher.Failed():
			return fmt.Errorf("watch certificate files: %w", err)
		}
	}
}

// scan reads once, answers those who asked for it, and returns the wait until the
// next scan.
func (s *Source) scan(ctx context.Context) time.Duration {
	var wait time.Duration
	s.reloads.Do(func(*coalesce.Run) (err error) {
		wait, err = s.scanFiles(ctx)
		return err
	})
	now := time.Now()
	change := s.scanner.nextChange(now)
	switch {
	case !s.synced || change.IsZero():
		return wait
	case !change.After(now):
		// The read failed: what is known goes on changing.
		known := s.scanner.collect(now, false)
		s.handOn(known, "time has come for what is known")
		return wait
	}
	return min(wait, change.Sub(now))
}

// scanFiles reads once, and returns the wait until the next scan, whatever time
// alone changes before.
func (s *Source) scanFiles(ctx context.Context) (wait time.Duration, err error) {
	found, err := s.scanner.scan(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.reporter.Failed(err)
		}
		return min(failureDelay, s.config.PollInterval), err
	}
	s.synced = true
	s.reporter.Succeeded(time.Now(), found.certificates, slices.Concat(found.problems, found.authorityProblems))
	s.handOn(found, s.why)
	if found.again {
		return min(confirmDelay, s.config.PollInterval), nil
	}
	return s.config.PollInterval, nil
}

// handOn tells the sink what there is. Authorities come first: who is let in by a certificate that
// comes with them is known by then.
func (s *Source) handOn(found result, why string) {
	s.sink.SyncAuthorities(source, found.authorities, found.authorityProblems)
	certs.Because(s.sink, source, "PEM files: "+why)
	s.sink.SyncCertificates(source, found.certificates, found.problems)
}
