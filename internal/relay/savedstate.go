package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	certsstate "relay/certs/savedstate"
	"relay/internal/files"
	"relay/internal/problem"
	"relay/internal/state"
	"relay/sources"
	appsstate "relay/sources/savedstate"
)

const (
	// stateInterval is the least time between two saves of one source.
	stateInterval = 5 * time.Second
	// savedApps is what is saved of the source of apps.
	savedApps = "apps"
)

func (s State) validate() error {
	var errs []error
	if s.Dir == "" && (s.KeyFile != "" || s.Certificates) {
		errs = append(errs, errors.New("--state-key-file and --state-certificates need a place to save to: give --state-dir PATH"))
	}
	if s.Certificates && s.KeyFile == "" {
		errs = append(errs, errors.New("--state-certificates encrypted needs a key: give --state-key-file FILE"))
	}
	if s.Grace < 0 {
		errs = append(errs, errors.New("--state-grace must not be negative"))
	}
	return errors.Join(errs...)
}

// stateKeeper saves the state of one source, and stands in for it.
type stateKeeper interface {
	Serve(context.Context) error
	Status() state.Status
}

// stateKeepers puts a keeper of state between each source and what it feeds.
type stateKeepers struct {
	config     *Config
	key        *state.Key
	log        *slog.Logger
	registerer prometheus.Registerer
	all        []stateKeeper
}

func newStateKeepers(c *Config, log *slog.Logger, registerer prometheus.Registerer) (*stateKeepers, error) {
	k := &stateKeepers{config: c, log: log.With("part", "state"), registerer: registerer}
	if c.State.Dir == "" {
		return k, nil
	}
	if err := os.MkdirAll(c.State.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("--state-dir: %w", err)
	}
	var err error
	k.key, err = c.State.key()
	return k, err
}

// key reads the key file; there is no key without one.
func (s State) key() (*state.Key, error) {
	if s.KeyFile == "" {
		return nil, nil
	}
	data, err := files.Read(s.KeyFile, files.MaxSecret)
	if err != nil {
		return nil, fmt.Errorf("--state-key-file: %w", err)
	}
	key, err := state.ParseKey(data)
	if err != nil {
		return nil, fmt.Errorf("--state-key-file %s: %w", s.KeyFile, err)
	}
	return key, nil
}

// checkDir says why nothing can be saved to the directory. It is not made if it is missing:
// then the directory in which it would be made is tried.
func (s State) checkDir() error {
	dir := absolute(s.Dir)
	for {
		_, err := os.Stat(dir)
		if err == nil {
			break
		}
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		return fmt.Errorf("--state-dir %s: %w", s.Dir, err)
	}
	// Permissions do not tell of a file system that is read-only or full.
	file, err := os.CreateTemp(dir, ".relay-check-*")
	if err == nil {
		_, err = file.WriteString("x")
		err = errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	if err != nil {
		return fmt.Errorf("--state-dir %s cannot be written to: %w: give a directory that the user of Relay may write to", s.Dir, err)
	}
	return nil
}

func (k *stateKeepers) settings(what, source string) state.Config {
	content := what + "-" + source
	return state.Config{
		What: what, Source: source, Grace: k.config.State.Grace, Interval: stateInterval,
		File: state.File{Path: filepath.Join(absolute(k.config.State.Dir), content+".state"), Content: content, Key: k.key},
	}
}

// savedBefore returns the apps that were saved in an earlier life, none if there were none.
type savedBefore func() ([]*sources.App, error)

// savedBefore reads the apps when it is asked for the first time, which has to be before any are saved anew.
func (k *stateKeepers) savedBefore() savedBefore {
	return sync.OnceValues(func() ([]*sources.App, error) {
		if k.config.State.Dir == "" {
			return nil, nil
		}
		apps, err := appsstate.Load(k.settings(savedApps, k.config.Apps.source().kind).File)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return apps, err
	})
}

// apps returns what the source of apps is to feed.
func (k *stateKeepers) apps(next sources.Sink) sources.Sink {
	if k.config.State.Dir == "" {
		return next
	}
	sink := appsstate.New(k.settings(savedApps, k.config.Apps.source().kind), next, k.log, k.registerer)
	k.all = append(k.all, sink)
	return sink
}

// certificates returns what the certificate stores are to feed.
func (k *stateKeepers) certificates(next certs.StoreSink) (certs.StoreSink, error) {
	if k.config.State.Dir == "" {
		return next, nil
	}
	stores := make(storeSinks)
	for _, source := range k.config.Certificates.sources() {
		settings := k.settings("authorities", source)
		settings.Label = "authorities-" + source
		authorities := certsstate.NewAuthorities(settings, next, k.log, k.registerer)
		k.all = append(k.all, authorities)
		if !k.config.State.Certificates {
			stores[source] = storeSink{next, authorities}
			continue
		}
		certificates, err := certsstate.New(k.settings("certificates", source), next, k.log, k.registerer)
		if err != nil {
			return nil, err
		}
		stores[source] = storeSink{certificates, authorities}
		k.all = append(k.all, certificates)
	}
	return stores, nil
}

// storeSink takes what a store has apart.
type storeSink struct {
	certs.Sink
	authorities certs.AuthoritySink
}

// storeSinks has a sink for each store, by its name.
type storeSinks map[string]storeSink

// CertificatesBecause implements certs.CauseSink.
func (s storeSinks) CertificatesBecause(source, cause string) {
	certs.Because(s[source].Sink, source, cause)
}

// SyncCertificates implements certs.Sink.
func (s storeSinks) SyncCertificates(source string, all []*certs.Certificate, problems []problem.Problem) {
	s[source].SyncCertificates(source, all, problems)
}

// SyncAuthorities implements certs.AuthoritySink.
func (s storeSinks) SyncAuthorities(source string, all []*certs.Authority, problems []problem.Problem) {
	s[source].authorities.SyncAuthorities(source, all, problems)
}

// SavedAuthorities implements certs.AuthorityKeeper.
func (s storeSinks) SavedAuthorities(source string) []*certs.Authority {
	return certs.Saved(s[source].authorities, source)
}

// AuthoritiesUnread implements certs.AuthorityKeeper.
func (s storeSinks) AuthoritiesUnread(source, reason string) {
	certs.Unread(s[source].authorities, source, reason)
}

// outdated returns since when what is known of the apps may be older than the truth; zero
// if it is not.
func (r *Relay) outdated() time.Time {
	for _, k := range r.states {
		if s := k.Status(); s.What == savedApps && !s.StandsIn.IsZero() {
			return s.StandsIn
		}
	}
	return appsOutdated(r.apps.Status())
}

// stateProblems tell where saved state is served, or why it is not.
func (r *Relay) stateProblems() []problem.Problem {
	var problems []problem.Problem
	for _, k := range r.states {
		s := k.Status()
		tell := func(reason string) {
			problems = append(problems, problem.Problem{Kind: problem.Source, Severity: problem.Ignored, Action: "see docs/saved-state.md", Subject: s.Source, Item: "saved " + s.What, Reason: reason})
		}
		if !s.StandsIn.IsZero() {
			tell(fmt.Sprintf("serving %s as saved at %s: %s cannot be read", s.What, s.StandsIn.UTC().Format(time.RFC3339), s.Source))
		}
		for _, p := range s.Problems {
			tell(p)
		}
	}
	return problems
}
