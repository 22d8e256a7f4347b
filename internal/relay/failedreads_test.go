package relay

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thejerf/suture/v4"

	"relay/collator"
	"relay/internal/logtest"
	"relay/sources/marathon"
)

// A read that fails is one line in the log, and nothing is said to stay in use before anything
// was read.
func TestFailedReadsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	const nobody = "http://127.0.0.1:1"
	for name, test := range map[string]struct {
		apps  Apps
		words string
	}{
		"file": {Apps{File: filepath.Join(t.TempDir(), "none.yaml")}, "apps cannot be read"},
		"marathon": {Apps{Marathon: marathon.Config{URLs: []string{nobody}, BackoffMin: time.Hour, BackoffMax: time.Hour}},
			"Marathon cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := new(logtest.Buffer)
			r := &Relay{log: slog.New(slog.NewTextHandler(log, nil))}
			source, err := newAppSource(test.apps, &collator.Collator{}, r.log, prometheus.NewRegistry())
			if err != nil {
				t.Fatal(err)
			}
			again := make(chan struct{})
			supervisor := suture.New("relay", r.supervision())
			supervisor.Add(namedPart{"apps", &once{Service: source, again: again}})
			ctx, cancel := context.WithCancel(t.Context())
			done := supervisor.ServeBackground(ctx)
			<-again // the supervisor has said by then what it has to say
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			lines := log.Lines("level=WARN")
			if len(lines) != 1 || !strings.Contains(lines[0], test.words) || strings.Contains(lines[0], "stays in use") {
				t.Errorf("logged %q, want one line with %q", lines, test.words)
			}
		})
	}
}

// once fails one time, and closes again when it is called for the second time.
type once struct {
	suture.Service
	failed bool
	again  chan struct{}
}

func (o *once) Serve(ctx context.Context) error {
	if o.failed {
		close(o.again)
		<-ctx.Done()
		return ctx.Err()
	}
	o.failed = true
	return o.Service.Serve(ctx)
}
