// Package graphite sends metrics to Graphite. client_golang has a bridge for that, but it writes to a
// connection without any time limit: a carbon that takes no more would hold it for good. So its names are
// used here, and each time has an end.
package graphite

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"relay/internal/panics"
)

// longest is how long one time of sending may take, connecting included.
const longest = 10 * time.Second

// Config says where metrics go.
type Config struct {
	// Address is that of carbon's plaintext receiver, as HOST:PORT. Nothing is sent if it is empty.
	Address string
	// Prefix is what each name begins with, without a dot at its end.
	Prefix string
	// Interval is the time between the beginnings of two sends.
	Interval time.Duration
	// Tags tells to send labels as tags, which Graphite knows from 1.1 on, in place of parts of the path.
	Tags bool
}

// Sender sends all metrics of a registry again and again.
type Sender struct {
	config   Config
	gatherer prometheus.Gatherer
	log      *slog.Logger
	dial     func(ctx context.Context, address string) (net.Conn, error)

	sends *prometheus.CounterVec
	sent  prometheus.Gauge
}

// New returns a Sender of what the gatherer has.
func New(config Config, gatherer prometheus.Gatherer, log *slog.Logger, registerer prometheus.Registerer) *Sender {
	factory := promauto.With(registerer)
	s := &Sender{config: config, gatherer: gatherer, log: log, dial: dialTCP}
	s.sends = factory.NewCounterVec(prometheus.CounterOpts{
		Name: "relay_graphite_sends_total", Help: "Times that all metrics were sent to Graphite, by result: ok or failed.",
	}, []string{"result"})
	s.sent = factory.NewGauge(prometheus.GaugeOpts{
		Name: "relay_graphite_last_sent_timestamp_seconds", Help: "When all metrics were last sent to Graphite, in Unix time; 0 if never.",
	})
	for _, result := range []string{"ok", "failed"} {
		s.sends.WithLabelValues(result)
	}
	return s
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// Serve sends at once and then at each interval, until the context ends. What could not be sent is not sent
// later: it is said when that begins and when it ends, and counted.
func (s *Sender) Serve(ctx context.Context) error {
	ticker := time.NewTicker(s.config.Interval)
	defer ticker.Stop()
	missed := 0
	for {
		err := panics.Catch(func() error { return s.send(ctx) })
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && missed == 0:
			s.log.Warn("metrics cannot be sent to Graphite: they are lost until they can", "event", "graphite_unreachable", "address", s.config.Address, "error", err)
			missed++
		case err != nil:
			missed++
		case missed > 0:
			s.log.Info("metrics are sent to Graphite again", "event", "graphite_reached", "address", s.config.Address, "missed", missed)
			missed = 0
		}
		if err != nil {
			s.sends.WithLabelValues("failed").Inc()
		} else {
			s.sends.WithLabelValues("ok").Inc()
			s.sent.SetToCurrentTime()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// send sends all metrics once. A metric that cannot be told keeps none of the others.
func (s *Sender) send(ctx context.Context) error {
	families, err := s.gatherer.Gather()
	if len(families) == 0 {
		return err
	}
	lines, err := Lines(families, s.config.Prefix, s.config.Tags, time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	conn, err := s.dial(ctx, s.config.Address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(lines); err != nil {
		_ = conn.Close()
		return err
	}
	return conn.Close()
}
