package file

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// curious hands on why it is told something.
type curious struct {
	recorder
	causes chan string
}

func (c curious) AppsBecause(cause string) {
	select {
	case c.causes <- cause:
	default:
	}
}

// The sink is told why files were read.
func TestCauses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "apps.yaml")
	replace(t, path, define("/a"))
	sink := curious{make(recorder, 10), make(chan string, 100)}
	s := New(Config{Path: path, PollInterval: time.Hour}, sink, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	next := func(want string) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case got := <-sink.causes:
				if strings.Contains(got, want) {
					return
				}
			case <-deadline:
				t.Fatalf("nothing was told because of %q", want)
			}
		}
	}
	next("files were read")
	replace(t, path, define("/a", "/b"))
	next("files changed")
	if err := s.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	next("asked for by a hook")
}
