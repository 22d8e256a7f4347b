package file

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"relay/sources"
	"relay/sources/sourcetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, func(t *testing.T, sink sources.Sink) sourcetest.World {
		path := filepath.Join(t.TempDir(), "apps.yaml")
		good := "apps: []\n"
		replace(t, path, good)
		return sourcetest.World{
			Source: New(Config{Path: path}, sink, slog.New(slog.DiscardHandler), prometheus.NewRegistry()),
			Set: func(ids ...string) {
				if good = define(ids...); len(ids) == 0 {
					good = "apps: []\n"
				}
				replace(t, path, good)
			},
			Break:  func() { replace(t, path, "apps: [") },
			Repair: func() { replace(t, path, good) },
		}
	})
}
