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
	"relay/sources"
	"relay/sources/file"
	"relay/sources/marathon"
)

// appSource is Marathon or the YAML files.
type appSource interface {
	Serve(context.Context) error
	// Reload returns when what there is now was read and handed on.
	Reload(context.Context) error
	view() admin.SourceView
	// outdated returns since when the apps are not followed; zero if they are, or were a
	// moment ago.
	outdated() time.Time
}

func newAppSource(c Apps, sink sources.Sink, log *slog.Logger, registerer prometheus.Registerer) (appSource, error) {
	if c.File != "" {
		source := file.New(file.Config{Path: c.File}, sink, log.With("part", "apps"), registerer)
		return fileSource{source, absolute(c.File)}, nil
	}
	watcher, err := marathon.New(c.Marathon, sink, log.With("part", "apps"), registerer)
	if err != nil {
		return nil, err
	}
	return marathonSource{watcher}, nil
}

type fileSource struct {
	*file.Source
	path string
}

// outdated is never: files that cannot be read are those of this machine, for people to
// mend, and no other Relay follows them.
func (f fileSource) outdated() time.Time { return time.Time{} }

func (f fileSource) view() admin.SourceView {
	s := f.Status()
	return admin.SourceView{Kind: "file", Name: f.path, Connected: s.Synced && s.LastError == "", LastSync: s.LastSync, LastError: s.LastError, Items: s.Apps}
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
func (s tellingSink) SyncCertificates(source string, all []*certs.Certificate, problems []certs.Problem) {
	s.onRead(source, all)
	s.Sink.SyncCertificates(source, all, problems)
}
