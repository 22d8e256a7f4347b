package relay

import (
	"context"
	"fmt"
	"log/slog"
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

func newAppSource(c Apps, sink sources.Sink, log *slog.Logger, registerer prometheus.Registerer) (sources.Source, error) {
	if c.File != "" {
		return file.New(file.Config{Path: c.File}, sink, log.With("part", "apps"), registerer), nil
	}
	return marathon.New(c.Marathon, sink, log.With("part", "apps"), registerer)
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
	v := admin.SourceView{Kind: s.Source, Name: s.Name, Connected: s.Connected, LastSync: s.LastSync, LastError: s.LastError, Items: s.Apps}
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

func newCertificateSources(c Certificates, sink certs.Sink, log *slog.Logger, registerer prometheus.Registerer) ([]certificateSource, error) {
	var all []certificateSource
	if c.OnRead != nil {
		sink = tellingSink{sink, c.OnRead}
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

// tellingSink tells of certificates before they are used.
type tellingSink struct {
	certs.Sink
	onRead func(source string, all []*certs.Certificate)
}

// SyncCertificates implements certs.Sink.
func (s tellingSink) SyncCertificates(source string, all []*certs.Certificate, problems []problem.Problem) {
	s.onRead(source, all)
	s.Sink.SyncCertificates(source, all, problems)
}
