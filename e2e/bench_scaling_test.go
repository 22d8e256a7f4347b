package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// BenchmarkScaling measures what it costs, and how long it takes, that apps sleep, wake, have queues and
// change their size: with a real Envoy, Relay as a process of its own, and a Marathon that is
// simulated, whose tasks take a time of their own to start. A figure that is worse than promised
// fails its row.
func BenchmarkScaling(b *testing.B) {
	for _, row := range []struct {
		name string
		run  func(b *testing.B)
	}{
		{"wake", benchmarkWake},
		{"waiting-1000", benchmarkWaiting},
		{"asleep-50000", benchmarkAsleep},
		{"awake", benchmarkAwake},
		{"churn", benchmarkChurn},
		{"queue", benchmarkQueue},
		{"queue-cost", benchmarkQueueCost},
		{"step", benchmarkStep},
		{"steady", benchmarkSteady},
	} {
		b.Run(row.name, func(b *testing.B) {
			if b.N != 1 {
				b.Fatal("each row is one measurement: use -benchtime 1x")
			}
			row.run(b)
			b.ReportMetric(0, "ns/op")
		})
	}
}

// scaleWorld is a benchWorld whose Relay may scale apps.
type scaleWorld struct {
	*benchWorld
	relay *benchProcess
	envoy *envoytest.Envoy
	// woken counts the sleepers that churn has woken.
	woken atomic.Int64
	// started are when each app's task was scheduled last, and when it ran.
	mu      sync.Mutex
	started map[string]boot
}

// boot is how a task started.
type boot struct{ scheduled, running time.Time }

// newScaleWorld starts all, with tasks that take about three times delay to start.
func newScaleWorld(b *testing.B, options marathontest.Options, delay time.Duration, apps ...marathontest.App) *scaleWorld {
	b.Helper()
	w := &scaleWorld{started: make(map[string]boot)}
	options.LaunchDelay, options.OnEvent = delay, w.note
	w.benchWorld = newBenchWorld(b, options, apps...)
	w.client.Timeout = 2 * time.Minute
	w.relay = w.startProcess("--scaling")
	w.relay.awaitSyncs(1)
	w.relay.settle()
	w.envoy = w.startEnvoy()
	return w
}

// note notes when tasks start.
func (w *scaleWorld) note(e marathontest.Event) {
	if e.Type != "status_update_event" && e.Type != "instance_changed_event" {
		return
	}
	var said struct{ AppID, TaskStatus, RunSpecID, Condition string }
	if json.Unmarshal(e.Data, &said) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.started[said.AppID+said.RunSpecID]
	switch {
	case said.Condition == "Scheduled":
		at.scheduled = e.Time
	case said.TaskStatus == "TASK_RUNNING":
		at.running = e.Time
	}
	w.started[said.AppID+said.RunSpecID] = at
}

// lastBoot is how the task of an app started last.
func (w *scaleWorld) lastBoot(app string) boot {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.started[app]
	if at.scheduled.IsZero() || at.running.Before(at.scheduled) {
		w.b.Errorf("%s: it is not known how long its task took to start", app)
	}
	return at
}

func (b boot) took() time.Duration { return b.running.Sub(b.scheduled) }

// scaled is an app with labels beside those of its domain.
func scaled(id, host string, instances int, labels ...string) marathontest.App {
	all := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": host}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	text, _ := json.Marshal(map[string]any{
		"id": id, "instances": instances, "labels": all, "portDefinitions": []map[string]any{{"port": 0, "protocol": "tcp"}},
	})
	return marathontest.App{Definition: string(text)}
}

// sleepers are apps that sleep, each with one instance when it is awake.
func sleepers(n int, idleAfter string) (apps []marathontest.App) {
	for i := range n {
		id, host := sleeper(i)
		apps = append(apps, scaled(id, host, 0, "RELAY_IDLE_AFTER", idleAfter, "RELAY_ASLEEP", "1"))
	}
	return apps
}

func sleeper(i int) (id, host string) {
	return fmt.Sprintf("/sleepers/%d", i), fmt.Sprintf("sleeper-%d.test", i)
}

// reply is what a client got.
type reply struct {
	status int
	task   string
	took   time.Duration
	err    error
}

// send sends one request, and reads the answer.
func (w *scaleWorld) send(ctx context.Context, host, path string, header ...string) reply {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(w.url, "/")+path, nil)
	if err != nil {
		return reply{err: err}
	}
	req.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return reply{err: err, took: time.Since(began)}
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return reply{resp.StatusCode, resp.Header.Get("X-Task"), time.Since(began), err}
}

// atMost reports a figure, and fails the row if it is more than promised.
func atMost(b *testing.B, figure, promised float64, unit string) {
	b.Helper()
	b.ReportMetric(figure, unit)
	if figure > promised {
		b.Errorf("%s is %.4g, promised are %g", unit, figure, promised)
	}
}

// percentile is the value that p percent of all are not above.
func percentile[T int64 | float64 | time.Duration](all []T, p int) T {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
