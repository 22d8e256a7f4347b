package relay

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thejerf/suture/v4"

	"relay/internal/logtest"
	"relay/internal/panics"
)

// badCollector panics when it is asked.
type badCollector struct{ desc *prometheus.Desc }

func (c badCollector) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }
func (c badCollector) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1, "no UTF-8: \xff")
}

func TestCollectorPanics(t *testing.T) {
	t.Parallel()
	registry, log := prometheus.NewPedanticRegistry(), new(logtest.Buffer)
	registerer := recoveringRegisterer{registry, slog.New(slog.NewTextHandler(log, nil))}
	good := prometheus.NewGauge(prometheus.GaugeOpts{Name: "good"})
	registerer.MustRegister(good, badCollector{prometheus.NewDesc("bad", "Help.", []string{"name"}, nil)})
	if err := registerer.Register(good); err == nil {
		t.Error("a collector is registered twice")
	}
	for range 3 {
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "good" {
			t.Errorf("gathered %v, %v; want the good one", families, err)
		}
	}
	if lines := log.Lines("recovered from a panic"); len(lines) != 1 || !strings.Contains(lines[0], "badCollector") {
		t.Errorf("logged %q, want one stack", lines)
	}
}

// failing is a part that fails by a panic that it caught on another goroutine,
// once.
type failing struct {
	starts int
	up     chan struct{}
}

func explodes() error { panic("no such index") }

func (f *failing) Serve(ctx context.Context) error {
	if f.starts++; f.starts == 1 {
		failed := make(chan error)
		go func() { failed <- panics.Catch(explodes) }()
		return errors.Join(errors.New("watch files"), <-failed)
	}
	close(f.up)
	<-ctx.Done()
	return ctx.Err()
}

// A part that fails by a panic is started again, and the stack is in the log.
func TestPartFailsByAPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := new(logtest.Buffer)
		r := &Relay{log: slog.New(slog.NewTextHandler(log, nil))}
		supervisor := suture.New("relay", r.supervision())
		part := &failing{up: make(chan struct{})}
		supervisor.Add(namedPart{"files", part})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- supervisor.Serve(ctx) }()
		select {
		case <-part.up:
		case <-time.After(time.Minute):
			t.Error("the part is not started again")
		}
		cancel()
		<-done
		if lines := log.Lines("relay.explodes"); len(lines) != 1 || !strings.Contains(lines[0], "part=files") {
			t.Errorf("logged %q, want the stack once", log)
		}
	})
}
