package relay

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/admin"
	"relay/internal/guard"
	"relay/internal/panics"
)

// newAdmin builds the admin endpoint.
func (r *Relay) newAdmin(registerer prometheus.Registerer) error {
	access, err := r.config.Admin.access()
	if err != nil {
		return err
	}
	refused := promauto.With(registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "relay_admin_refused_total",
		Help: "Connections and requests that the admin endpoint refused, by reason; the log says whose.",
	}, []string{"reason"})
	for _, kind := range guard.Kinds() {
		refused.WithLabelValues(string(kind))
	}
	config := admin.Config{
		ReloadCertificates: r.reloadCertificates, ReloadApps: r.reloadApps,
		Views: r, Tails: r.tails, History: changeReports{r.history},
		Failures:    &failureReports{failures: r.failures, routed: r.collator.RoutedID},
		Load:        &loadReports{loads: r.loads, collator: r.collator, fleets: slices.Sorted(maps.Keys(r.stores))},
		Deployments: deploymentReports{r.deployments.manager},
		Rebalance:   rebalanceReports{r},
		Waiting:     acceptReports{r},
		Probing:     probing{r},
		Gatherer:    r.registry, Log: r.log.With("part", "admin"), Version: r.config.Version,
		AnyMethod: r.config.Admin.AnyMethod, Pprof: r.config.Admin.Pprof, Access: access,
		Refused: func(kind guard.Kind) { refused.WithLabelValues(string(kind)).Inc() },
	}
	if r.scaling != nil {
		config.Scaling, config.Peer = scalingReports{r}, r.scaling.peers.Answer
	}
	if r.statusPage != nil {
		config.Incidents = incidentReports{r.statusPage.Monitor}
	}
	scheme := "http://"
	if t := r.adminTLS; t.enabled() {
		if config.TLS, err = t.listen(); err != nil {
			return fmt.Errorf("--admin-cert: %w", err)
		}
		config.Access.VerifyAgain = func(chains [][]*x509.Certificate) error { return t.verifyAgain(chains, time.Now()) }
		scheme = "https://"
	}
	r.admin, r.adminURL = admin.New(config, r.adminListener), scheme+r.adminListener.Addr().String()
	return nil
}

// reloadCertificates returns when what the stores hold now is published.
func (r *Relay) reloadCertificates(ctx context.Context) error {
	var stores []interface{ Reload(context.Context) error }
	for _, c := range r.certificates {
		stores = append(stores, c)
	}
	for _, c := range r.credentials {
		stores = append(stores, c)
	}
	errs := make([]error, len(stores))
	done := make(chan struct{})
	for i, c := range stores {
		go func() {
			errs[i] = panics.Catch(func() error { return c.Reload(ctx) })
			done <- struct{}{}
		}()
	}
	for range stores {
		<-done
	}
	return errors.Join(append(errs, r.collator.Flush(ctx))...)
}

// reloadApps returns when what the source of apps has now is published.
func (r *Relay) reloadApps(ctx context.Context) error {
	return errors.Join(r.apps.Reload(ctx), r.collator.Flush(ctx))
}
