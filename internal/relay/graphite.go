package relay

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/internal/graphite"
)

// validateGraphite says what is wrong with where metrics are to go.
func (c *Config) validateGraphite() error {
	g := c.Graphite
	if g.Address == "" {
		return nil
	}
	var errs []error
	if host, port, err := net.SplitHostPort(g.Address); err != nil || host == "" || port == "" {
		errs = append(errs, fmt.Errorf("--graphite %s is not HOST:PORT, such as carbon.example.com:2003", g.Address))
	}
	if !graphite.ValidPrefix(g.Prefix) {
		errs = append(errs, fmt.Errorf("--graphite-prefix %s: write letters, digits, _ and -, with single dots between", g.Prefix))
	}
	if g.Interval < time.Second {
		errs = append(errs, errors.New("--graphite-interval must be at least 1s"))
	}
	return errors.Join(errs...)
}

// newGraphite builds what sends metrics to Graphite, if they are to go there.
func (r *Relay) newGraphite(registerer prometheus.Registerer) {
	if r.config.Graphite.Address != "" {
		r.graphite = graphite.New(r.config.Graphite, r.registry, r.log.With("part", "graphite"), registerer)
	}
}
