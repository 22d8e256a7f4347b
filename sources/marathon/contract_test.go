package marathon

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"relay/sources"
	"relay/sources/marathon/marathontest"
	"relay/sources/sourcetest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, func(t *testing.T, sink sources.Sink) sourcetest.World {
		m := marathontest.Start(t, marathontest.Options{})
		w, err := New(fastConfig(m.URL()), sink, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		loaded := make(map[string]bool)
		return sourcetest.World{
			Source: w,
			Set: func(ids ...string) {
				for _, id := range ids {
					if !loaded[id] {
						load(t, m, id)
						loaded[id] = true
					}
				}
				for id := range maps.Clone(loaded) {
					if !slices.Contains(ids, id) {
						m.RemoveApp(id)
						delete(loaded, id)
					}
				}
				m.Publish("group_change_success", map[string]any{"groupId": "/"})
			},
			Break: func() {
				for _, kind := range []marathontest.Kind{marathontest.KindList, marathontest.KindApp, marathontest.KindEvents} {
					m.Inject(kind, marathontest.Fault{Status: http.StatusServiceUnavailable})
				}
			},
			Repair: m.ClearFaults,
		}
	})
}
