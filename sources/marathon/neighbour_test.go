package marathon

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"relay/internal/cputest"
	"relay/sources/marathon/marathontest"
)

// TestNoisyNeighbour has an app with labels of every kind that are as long as they
// may be, and longer, change all the time: changes of another app are as quick as ever.
func TestNoisyNeighbour(t *testing.T) {
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	labels := map[string]string{"RELAY_" + strings.Repeat("_", 512<<10): "x", "HAPROXY_GROUP": "external", "HAPROXY_0_MODE": "tcp"}
	words := shapes(180_000)["words"]
	labels["HAPROXY_0_BIND_OPTIONS"], labels["HAPROXY_1_VHOST"], labels["HAPROXY_2_PATH"] = words, words, words
	for i, key := range allLabels()[:60] {
		labels[strings.Replace(key, "_0_", fmt.Sprint("_", i%3, "_"), 1)+"X"] = words[:1000]
		labels[strings.Replace(key, "_0_", "_3_", 1)] = words[:3000]
	}
	noisy := func(n int) {
		raw, err := json.Marshal(map[string]any{
			"id": "/noisy", "version": "2024-05-01T10:00:00.000Z", "labels": labels,
			"networks": []any{map[string]any{"mode": "host"}}, "portDefinitions": []any{map[string]any{"port": 10000}, map[string]any{}, map[string]any{}, map[string]any{}},
			"tasks": []any{map[string]any{"id": fmt.Sprint("noisy.", n), "host": "10.0.0.1", "ports": []int{31000, 31001, 31002, 31003}, "state": "TASK_RUNNING"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		m.SetRawApp("/noisy", raw)
		status(m, "/noisy")
	}
	noisy(0)
	w, sink, logged := watch(t, fastConfig(m.URL()))
	start := time.Now()
	sink.await(t, "synced", contains("/noisy "))
	if took := time.Since(start); took > cputest.Slow*time.Second {
		t.Errorf("the first full read took %s", took)
	}
	for n := 1; n <= 10; n++ {
		noisy(n)
		id := fmt.Sprint("/late", n)
		load(t, m, id)
		start := time.Now()
		status(m, id)
		sink.await(t, "the other app", contains(id+" "))
		if took := time.Since(start); took > cputest.Slow*500*time.Millisecond {
			t.Errorf("the change of another app took %s", took)
		}
		sink.await(t, "the noisy app", contains(fmt.Sprint("noisy.", n, "@")))
	}
	if n := len(logged.String()); n > 100_000 {
		t.Errorf("%d bytes of log", n)
	}
	if e := w.currentState().lastError; e != "" {
		t.Error(e)
	}
}
