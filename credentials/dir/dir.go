// Package dir reads credentials from the files of a folder: shop/web/oidc is the credential oidc of the
// app /shop/web.
package dir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"relay/credentials"
	"relay/credentials/reading"
	"relay/internal/coalesce"
	"relay/internal/files"
)

const (
	source = "dir"
	// failureDelay is the wait after a scan that failed, or that has to be confirmed.
	failureDelay = removalDelay + 100*time.Millisecond
	// eventGap keeps a folder that is written to all the time from being read all the time.
	eventGap = 100 * time.Millisecond
)

// Config says where the credentials are.
type Config struct {
	// Folder has them, in folders that are called as the ids of apps are.
	Folder string
	// PollInterval is the time between two scans, for file systems that report no changes; 60 s when zero.
	PollInterval time.Duration
}

// Source reads the files and hands them to a sink.
type Source struct {
	config   Config
	sink     credentials.Sink
	logger   *slog.Logger
	reloads  *coalesce.Requests
	reporter *reading.Reporter
	scanner  *scanner
}

// New checks the configuration; nothing is read before Serve.
func New(config Config, sink credentials.Sink, logger *slog.Logger, registerer prometheus.Registerer) (*Source, error) {
	if config.Folder == "" {
		return nil, errors.New("credentials: no folder is given")
	}
	if config.PollInterval == 0 {
		config.PollInterval = time.Minute
	}
	config.Folder = filepath.Clean(config.Folder)
	return &Source{
		config: config, sink: sink, logger: logger, reloads: coalesce.NewRequests(),
		reporter: reading.NewReporter(source, logger, registerer),
		scanner:  newScanner(config.Folder),
	}, nil
}

// Status returns the outcome of the latest reads.
func (s *Source) Status() reading.Status { return s.reporter.Status() }

// Reload waits for a scan that started after the call and returns why it failed. Without a running Serve it waits for
// the context's end.
func (s *Source) Reload(ctx context.Context) error { return s.reloads.Ask().Wait(ctx) }

// Serve scans now, at every change that the file system reports, at every Reload and at every poll, until the context
// ends. Failed scans are retried and never end it: what was read stays.
func (s *Source) Serve(ctx context.Context) error {
	watcher := files.NewWatcher(func(fsnotify.Event) bool { return true }, s.logger)
	defer watcher.Close()
	for {
		// Watches come first, so that no change falls between scan and watch.
		watcher.Add(s.config.Folder)
		watcher.Add(s.scanner.folders...)
		watcher.Clear()
		folders := len(s.scanner.folders)
		wait := s.scan(ctx)
		if len(s.scanner.folders) > folders {
			wait = eventGap // what came to new folders before they were watched
		}
		if err := s.wait(ctx, watcher, wait); err != nil {
			return err
		}
	}
}

// wait returns nil when there is a reason to scan.
func (s *Source) wait(ctx context.Context, watcher *files.Watcher, interval time.Duration) error {
	next, gap := time.NewTimer(interval), time.NewTimer(eventGap)
	defer next.Stop()
	defer gap.Stop()
	var events <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.reloads.Wanted():
			return nil
		case <-next.C:
			return nil
		case <-gap.C:
			events = watcher.Changed()
		case <-events:
			return nil
		case err := <-watcher.Failed():
			return fmt.Errorf("watch the folder of credentials: %w", err)
		}
	}
}

// scan reads once, answers those who asked for it, and returns the wait until the next scan.
func (s *Source) scan(ctx context.Context) (wait time.Duration) {
	s.reloads.Do(func(*coalesce.Run) error {
		all, problems, again, err := s.scanner.scan(ctx)
		wait = s.config.PollInterval
		if again || err != nil {
			wait = min(wait, failureDelay)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			s.reporter.Failed(err)
			return err
		}
		s.reporter.Succeeded(time.Now(), len(all), problems)
		s.sink.SyncCredentials(source, all, problems)
		return nil
	})
	return wait
}
