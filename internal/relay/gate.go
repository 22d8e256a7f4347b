package relay

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"relay/xds"
)

// gate opens the stores: nothing is answered before the apps are known, and
// nothing about TLS before the certificates are. Plain HTTP waits for the
// certificates no longer than the grace.
type gate struct {
	stores map[string]*xds.Store
	grace  time.Duration
	log    *slog.Logger

	// apps and certificates are closed when these are in the stores.
	apps, certificates <-chan struct{}
}

// Serve opens the stores and waits for the end of the context.
func (g *gate) Serve(ctx context.Context) error {
	select {
	case <-g.apps:
	case <-ctx.Done():
		return ctx.Err()
	}
	grace := time.NewTimer(g.grace)
	defer grace.Stop()
	select {
	case <-g.certificates:
	case <-grace.C:
		g.log.Warn("certificates cannot be read: serving plain HTTP only; Envoys that have an https listener keep it", "event", "https_withheld")
		g.open(slices.DeleteFunc(xds.Types(), xds.Type.NeedsCertificates))
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-g.certificates:
		g.open(xds.Types())
	case <-ctx.Done():
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (g *gate) open(types []xds.Type) {
	for _, store := range g.stores {
		store.Open(types...)
	}
}

func (g *gate) isOpen(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
