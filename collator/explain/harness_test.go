package explain

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"relay/certs"
	"relay/collator"
	"relay/collator/collatortest"
	"relay/collator/routing"
	"relay/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTest returns a Collator that runs until the test ends, and what the first fleet
// is sent.
func newTest(t *testing.T, cfg collator.Config) (*collator.Collator, *collatortest.Recorder) {
	t.Helper()
	if len(cfg.Fleets) == 0 {
		cfg.Fleets = []routing.Fleet{collatortest.Fleet()}
	}
	publishers := make(map[string]collator.Publisher)
	for _, f := range cfg.Fleets {
		publishers[f.Name] = collatortest.NewRecorder()
	}
	r := collatortest.NewRecorder()
	publishers[cfg.Fleets[0].Name] = r
	c, err := collator.New(cfg, publishers, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c, r
}

// flush waits until the Collator has dealt with all that it was told.
func flush(t *testing.T, c *collator.Collator) {
	t.Helper()
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func syncApps(t *testing.T, c *collator.Collator, apps ...*sources.App) {
	t.Helper()
	c.SyncApps(apps)
	flush(t, c)
}

// certificate is one that is valid now.
func certificate(name, content string, serverNames ...string) *certs.Certificate {
	c := collatortest.Certificate(name, content, serverNames...)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(0, 3, 0)
	return c
}
