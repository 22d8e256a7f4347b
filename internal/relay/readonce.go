package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin"
	"relay/collator"
)

// ReadOnce reads every source once, as Check does, and returns the collator that has it all
// and serves nobody. An error says that the apps could not be read; unread says which
// certificates could not, and why. Each source has the timeout to be read.
func ReadOnce(ctx context.Context, c Config, timeout time.Duration) (read *collator.Collator, unread []error, err error) {
	log := slog.New(slog.DiscardHandler)
	r, err := newChecker(&c, timeout, io.Discard, log)
	if err != nil {
		return nil, nil, err
	}
	stop := r.serve(ctx)
	defer stop()
	source, err := newAppSource(c.Apps, r, log, nil)
	if err != nil {
		return nil, nil, err
	}
	asking := func() bool { return source.Status().Asking }
	if err := r.readOnce(ctx, source.Serve, r.apps, asking, func() admin.SourceView { return appsView(source.Status()) }); err != nil {
		return nil, nil, err
	}
	stores, err := newCertificateSources(c.Certificates, r, log, prometheus.NewRegistry())
	if err != nil {
		return nil, nil, err
	}
	for _, store := range stores {
		if err := r.readOnce(ctx, store.Serve, r.certificates[store.name()], nil, store.view); err != nil {
			unread = append(unread, fmt.Errorf("%s %s: %w", store.name(), store.where, err))
		}
	}
	secrets, err := newCredentialSources(c.Credentials, r, log, prometheus.NewRegistry())
	if err != nil {
		return nil, nil, err
	}
	for _, store := range secrets {
		if err := r.readOnce(ctx, store.Serve, r.credentials[store.store.Status().Source], nil, store.view); err != nil {
			unread = append(unread, fmt.Errorf("%s: %s: %w", store.name(), store.where, err))
		}
	}
	if err := r.Flush(ctx); err != nil {
		return nil, nil, errors.Join(err, ctx.Err())
	}
	return r.Collator, unread, nil
}
