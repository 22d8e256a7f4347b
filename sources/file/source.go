// Package file reads apps from YAML: one file, or a folder of *.yaml and *.yml
// files. It is the source for people without Marathon.
//
//	apps:
//	- id: /shop/web                 # required
//	  ports:
//	  - name: http
//	    groups: [external]          # the fleets; [external] if left out
//	    domains: [shop.test, "*.shop.test"]
//	    acmeDomains: []             # their ACME challenges go to marathon-acme
//	    redirectToHTTPS: true
//	    endpoints:
//	    - address: 10.0.0.7:31044   # IP:port; "[::1]:80" for IPv6
//	      health: healthy           # or degraded, or draining
//	      region: eu
//	      zone: eu-1a
//
// Unknown fields are refused. A file that cannot be parsed keeps its last good
// content; a bad domain or address is left out and becomes a Problem
// of its app.
package file

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/coalesce"
	"relay/internal/files"
	"relay/sources"
)

// Kind is what this source is called on the status page and in the name of its saved state.
const Kind = "file"

const (
	defaultPollInterval = 30 * time.Second
	// Writers that do not replace files in one step produce several events:
	// files are read once quietTime has passed without one, maxUnquiet after
	// the first at the latest.
	quietTime  = 50 * time.Millisecond
	maxUnquiet = time.Second
	// A read that fails right after an event is likely to have met a file that
	// is still being written.
	retryDelay = 200 * time.Millisecond
	maxRetries = 5
)

// Config says what to read.
type Config struct {
	// Path is a YAML file, or a folder of them.
	Path string
	// PollInterval is how often the files are read without having been told
	// of a change, as network file systems tell nothing; 30 s if zero.
	PollInterval time.Duration
}

var _ sources.Source = (*Source)(nil)

// Source is the sources.Source of the files at Config.Path.
type Source struct {
	cfg     Config
	sink    sources.Sink
	log     *slog.Logger
	metrics metrics
	reloads *coalesce.Runner

	mu     sync.Mutex // serialises reads, and calls of sink
	reader *reader
	known  map[string]*sources.App

	statusMu sync.Mutex
	status   sources.Status
}

// New returns a Source that reads nothing yet. It registers its metrics with
// reg, which may be nil.
func New(cfg Config, sink sources.Sink, log *slog.Logger, reg prometheus.Registerer) *Source {
	if cfg.PollInterval <= 0 {
		cfg.PollInterval = defaultPollInterval
	}
	s := &Source{
		cfg:     cfg,
		sink:    sink,
		log:     log.With("source", "file", "path", cfg.Path),
		metrics: newMetrics(reg),
		reader:  newReader(cfg.Path),
		status:  sources.Status{Kind: Kind, Name: absolute(cfg.Path)},
	}
	s.reloads = coalesce.NewRunner(func() error { return s.refresh(true, "files were read again: asked for by a hook") })
	return s
}

// absolute returns the path as people can use it wherever they are.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// Status implements sources.Source. Name is an absolute path.
func (s *Source) Status() sources.Status {
	s.statusMu.Lock()
	defer s.statusMu.Unlock()
	return s.status
}

// Reload implements sources.Source. The error joins what could not be read; what
// could be read is told to the sink all the same.
func (s *Source) Reload(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.reloads.Ask().Wait(ctx)
}

// Serve implements sources.Source. Until every file has been read successfully
// once, a failed read ends Serve.
func (s *Source) Serve(ctx context.Context) error {
	watcher := files.NewWatcher(s.concerns, s.log)
	defer watcher.Close()
	watcher.Add(s.watched())
	// The watch is set before the read, so that no change falls in between.
	if err := s.refresh(false, "files were read"); err != nil && s.Status().LastSync.IsZero() {
		return sources.Logged(err) // by note
	}
	return s.loop(ctx, watcher)
}

// watched is the folder to watch. A single file is watched by its folder, as a
// watch of the file itself ends when it is replaced.
func (s *Source) watched() string {
	if s.isFile() {
		return filepath.Dir(s.cfg.Path)
	}
	return s.cfg.Path
}

// isFile reports whether the path is a file. While nothing is there, the name decides.
func (s *Source) isFile() bool {
	if info, err := os.Stat(s.cfg.Path); err == nil {
		return !info.IsDir()
	}
	return isAppsFile(filepath.Base(s.cfg.Path))
}

// watcher is a files.Watcher.
type watcher interface {
	Add(folders ...string)
	Changed() <-chan struct{}
	Failed() <-chan error
}

// loop reads after changes and on the poll interval, until ctx ends.
func (s *Source) loop(ctx context.Context, watcher watcher) error {
	poll := time.NewTicker(s.cfg.PollInterval)
	defer poll.Stop()
	due := time.NewTimer(time.Hour)
	due.Stop()
	defer due.Stop()
	var latest time.Time // the files are read by then, even if more changes come
	var retries int      // left after a read that failed
	changed := false     // something told of a change

	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-watcher.Changed():
			if latest.IsZero() {
				latest = time.Now().Add(maxUnquiet)
			}
			retries, changed = maxRetries, true
			due.Reset(min(quietTime, time.Until(latest)))
			continue
		case err := <-watcher.Failed():
			return fmt.Errorf("watch %s: %w", s.cfg.Path, err)
		case <-due.C:
		case <-poll.C:
			// A folder that was replaced needs a new watch.
			watcher.Add(s.watched())
		}
		latest = time.Time{}
		why := "files were read once in a while"
		if changed {
			why = "files changed"
		}
		if err := s.refresh(false, why); err != nil && retries > 0 {
			retries--
			due.Reset(retryDelay)
			continue
		}
		changed = false
	}
}

// concerns reports whether an event may change what is read. When the content of a mounted
// volume changes, Kubernetes replaces a link whose name begins with "..".
func (s *Source) concerns(ev fsnotify.Event) bool {
	base := filepath.Base(ev.Name)
	switch {
	case ev.Op == fsnotify.Chmod:
		return false
	case strings.HasPrefix(base, ".."):
		return true
	case s.isFile():
		return base == filepath.Base(s.cfg.Path)
	}
	return isAppsFile(base)
}

// refresh reads all files and tells the sink what changed, and why it looked. The error and
// sure are those of reader.read.
func (s *Source) refresh(sure bool, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.reader.read(sure)
	// Before the first sync, the apps of a file that cannot be read would be missing, and
	// an Envoy that has them from before would lose them.
	if err == nil || s.known != nil {
		s.tell(s.reader.merge(), why)
	}
	s.note(err)
	return err
}

func (s *Source) tell(apps []*sources.App, why string) {
	sources.Because(s.sink, why)
	now := make(map[string]*sources.App, len(apps))
	var set []*sources.App
	for _, app := range apps {
		now[app.ID] = app
		if old := s.known[app.ID]; old != app && !reflect.DeepEqual(old, app) {
			set = append(set, app)
		}
	}
	var removed []string
	for id := range s.known {
		if now[id] == nil {
			removed = append(removed, id)
		}
	}
	switch {
	case s.known == nil:
		s.sink.SyncApps(apps)
		s.log.Info("apps read", "apps", len(apps))
	case len(set)+len(removed) > 0:
		s.sink.UpdateApps(set, removed)
		s.log.Info("apps changed", "apps", len(apps), "set", len(set), "removed", len(removed))
	}
	s.known = now
}

func (s *Source) note(err error) {
	s.statusMu.Lock()
	defer s.statusMu.Unlock()
	before := s.status.LastError
	s.status.LastError = ""
	s.status.Apps = len(s.known)
	if err == nil {
		s.status.LastSync = time.Now()
		if before != "" {
			s.log.Info("apps can be read again")
		}
	} else {
		s.status.LastError = err.Error()
		if before != s.status.LastError {
			message := "apps cannot be read"
			if !s.status.LastSync.IsZero() {
				message += ": the last good content stays in use"
			}
			s.log.Warn(message, "error", err)
		}
	}
	s.status.Connected = err == nil
	s.metrics.note(s.status)
}
