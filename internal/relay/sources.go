package relay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin"
	"relay/certs"
	"relay/certs/dir"
	"relay/certs/vault"
	"relay/internal/problem"
	"relay/sources"
	"relay/sources/file"
	"relay/sources/marathon"
)

// appSource is a kind of sources.Source, of which the configuration chooses one.
type appSource struct {
	// kind is the Kind in the Status of the source, and part of the name of its saved state.
	kind string
	// flag chooses the source, and value says what is given with it; both are for people.
	flag, value string
	chosen      func(Apps) bool
	new         func(Apps, sources.Sink, *slog.Logger, prometheus.Registerer) (sources.Source, error)
}

// appSources are all kinds. The program learns from this table alone which sources there are.
var appSources = []appSource{
	{
		kind: marathon.Kind, flag: "--marathon", value: "URL,...",
		chosen: func(a Apps) bool { return len(a.Marathon.URLs) > 0 },
		new: func(a Apps, sink sources.Sink, log *slog.Logger, registerer prometheus.Registerer) (sources.Source, error) {
			return marathon.New(a.Marathon, sink, log, registerer)
		},
	},
	{
		kind: file.Kind, flag: "--source-file", value: "PATH",
		chosen: func(a Apps) bool { return a.File != "" },
		new: func(a Apps, sink sources.Sink, log *slog.Logger, registerer prometheus.Registerer) (sources.Source, error) {
			return file.New(file.Config{Path: a.File}, sink, log, registerer), nil
		},
	},
}

// validate says that the configuration does not choose one source.
func (a Apps) validate() error {
	var all, chosen []string
	for _, s := range appSources {
		all = append(all, s.flag+" "+s.value)
		if s.chosen(a) {
			chosen = append(chosen, s.flag)
		}
	}
	switch {
	case len(chosen) == 0:
		return fmt.Errorf("no source of apps: give %s", strings.Join(all, " or "))
	case len(chosen) > 1:
		return fmt.Errorf("two sources of apps: give %s or %s, not both", chosen[0], chosen[1])
	}
	return nil
}

// source is the one that the valid configuration chooses.
func (a Apps) source() appSource {
	return appSources[slices.IndexFunc(appSources, func(s appSource) bool { return s.chosen(a) })]
}

func newAppSource(a Apps, sink sources.Sink, log *slog.Logger, registerer prometheus.Registerer) (sources.Source, error) {
	return a.source().new(a, sink, log.With("part", "apps"), registerer)
}

// outdatedAfter is how long a source may not be followed before what is known of the apps
// counts as outdated: to connect again, or to another leader, takes seconds.
const outdatedAfter = time.Minute

// appsOutdated returns since when the apps are not followed; zero if they are, or were a
// moment ago.
func appsOutdated(s sources.Status) time.Time {
	if time.Since(s.NotFollowedSince) < outdatedAfter {
		return time.Time{}
	}
	return s.NotFollowedSince
}

func appsView(s sources.Status) admin.SourceView {
	v := admin.SourceView{Kind: s.Kind, Name: s.Name, Connected: s.Connected, LastSync: s.LastSync, LastError: s.LastError, Items: s.Apps}
	if !s.NotFollowedSince.IsZero() && s.LastError != "" {
		v.LastError = fmt.Sprintf("not followed since %s: Envoys that come from another Relay with something newer are not served (%s)",
			s.NotFollowedSince.UTC().Format(time.RFC3339), s.LastError)
	}
	return v
}

// certificateSource is Vault or the PEM files.
type certificateSource struct {
	store interface {
		Serve(context.Context) error
		Reload(context.Context) error
		Status() certs.Status
	}
	where string
}

// Serve runs the store.
func (c certificateSource) Serve(ctx context.Context) error { return c.store.Serve(ctx) }

// Reload returns when what there is now was read and handed on.
func (c certificateSource) Reload(ctx context.Context) error {
	if err := c.store.Reload(ctx); err != nil {
		return fmt.Errorf("certificates from %s: %w", c.name(), err)
	}
	return nil
}

func (c certificateSource) name() string { return c.store.Status().Source }

func (c certificateSource) view() admin.SourceView {
	s := c.store.Status()
	return admin.SourceView{
		Kind: s.Source, Name: c.where, Connected: s.LastError == "" && !s.LastGoodRead.IsZero(),
		LastSync: s.LastGoodRead, LastError: s.LastError, Items: s.Certificates,
	}
}

func newCertificateSources(c Certificates, sink certs.StoreSink, log *slog.Logger, registerer prometheus.Registerer) ([]certificateSource, error) {
	var all []certificateSource
	if c.OnRead != nil {
		sink = onReadSink{sink, c.OnRead}
	}
	if c.hasDir() {
		source, err := dir.New(c.Dir, sink, log.With("part", "certificates"), registerer)
		if err != nil {
			return nil, err
		}
		all = append(all, certificateSource{source, strings.Join(c.Dir.Paths, ", ")})
	}
	if c.hasVault() {
		source, err := vault.New(c.Vault, sink, log.With("part", "certificates"), registerer)
		if err != nil {
			return nil, err
		}
		all = append(all, certificateSource{source, strings.Join(c.Vault.Addresses, ", ") + " mount " + c.Vault.Mount})
	}
	return all, nil
}

// onReadSink calls onRead with certificates before it hands them on.
type onReadSink struct {
	certs.StoreSink
	onRead func(source string, all []*certs.Certificate)
}

// CertificatesBecause implements certs.CauseSink.
func (s onReadSink) CertificatesBecause(source, cause string) {
	certs.Because(s.StoreSink, source, cause)
}

// SavedAuthorities implements certs.AuthorityKeeper.
func (s onReadSink) SavedAuthorities(source string) []*certs.Authority {
	return certs.Saved(s.StoreSink, source)
}

// AuthoritiesUnread implements certs.AuthorityKeeper.
func (s onReadSink) AuthoritiesUnread(source, reason string) {
	certs.Unread(s.StoreSink, source, reason)
}

// SyncCertificates implements certs.Sink.
func (s onReadSink) SyncCertificates(source string, all []*certs.Certificate, problems []problem.Problem) {
	s.onRead(source, all)
	s.StoreSink.SyncCertificates(source, all, problems)
}
