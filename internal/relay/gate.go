package relay

import (
	"context"
	"log/slog"
	"sync"
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

	apps, certificates chan struct{}
	once               [2]sync.Once
}

func newGate(stores map[string]*xds.Store, grace time.Duration, log *slog.Logger) *gate {
	return &gate{stores: stores, grace: grace, log: log, apps: make(chan struct{}), certificates: make(chan struct{})}
}

func (g *gate) appsPublished() { g.once[0].Do(func() { close(g.apps) }) }

func (g *gate) certificatesPublished() { g.once[1].Do(func() { close(g.certificates) }) }

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
		g.log.Warn("certificates cannot be read: serving plain HTTP only; Envoys that have an https listener keep it")
		g.open(xds.Cluster, xds.Endpoint, xds.Listener, xds.Scope, xds.ExtensionConfig)
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-g.certificates:
		g.open()
	case <-ctx.Done():
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (g *gate) open(types ...xds.Type) {
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
