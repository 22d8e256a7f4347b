package marathon

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"relay/internal/cputest"
)

// eventStorm is a Marathon, without network, that sends the same event again and
// again, as many bytes at a time as the reader takes or piece allows.
type eventStorm struct {
	event string
	piece int
	left  chan int // how many events to send now
}

func (s *eventStorm) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r}
	switch r.URL.Path {
	case "/v2/events":
		resp.Header.Set("Content-Type", "text/event-stream")
		resp.Body = io.NopCloser(&stormReader{storm: s, ctx: r.Context(), rest: attachedEvent})
	case "/v2/apps":
		resp.Body = io.NopCloser(strings.NewReader(listOfOne))
	default: // the read of the app that the events name: it is not what is measured
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return resp, nil
}

type stormReader struct {
	storm *eventStorm
	ctx   context.Context
	left  int
	rest  string
}

func (r *stormReader) Read(p []byte) (int, error) {
	if r.rest == "" && r.left == 0 {
		select {
		case r.left = <-r.storm.left:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	n, room := 0, p[:min(len(p), r.storm.piece)]
	for n < len(room) {
		if r.rest == "" {
			if r.left == 0 {
				break
			}
			r.left--
			r.rest = r.storm.event
		}
		c := copy(room[n:], r.rest)
		r.rest, n = r.rest[c:], n+c
	}
	return n, nil
}

// BenchmarkEvents has a Watcher take events as fast as it can: small ones that come many
// in a packet, small ones that come alone, and large ones. cpu-ns is the processor time
// of one, which a machine that does other things as well changes less.
func BenchmarkEvents(b *testing.B) {
	small := "event: status_update_event\r\ndata: {\"slaveId\":\"6c8a3a2e-a1S3\",\"taskId\":\"shop_web.instance-00000000-0000-0000-0000-000000000001._app.1\",\"taskStatus\":\"TASK_RUNNING\",\"message\":\"\",\"appId\":\"/a\",\"host\":\"10.0.0.7\",\"ipAddresses\":[{\"ipAddress\":\"172.17.0.4\",\"protocol\":\"IPv4\"}],\"ports\":[31044],\"version\":\"2024-05-01T09:59:58.001Z\",\"eventType\":\"status_update_event\",\"timestamp\":\"2024-05-01T10:00:02.500Z\"}\r\n\r\n"
	large := "event: deployment_info\r\ndata: {\"eventType\":\"deployment_info\",\"plan\":{\"id\":\"d\",\"original\":\"" + strings.Repeat("x", 4<<20) + "\",\"steps\":[{\"actions\":[{\"app\":\"/a\"}]}]}}\r\n\r\n"
	for _, c := range []struct {
		name, event string
		piece       int
	}{{"storm", small, 32 << 10}, {"alone", small, len(small)}, {"large", large, 16 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			storm := &eventStorm{event: c.event, piece: c.piece, left: make(chan int)}
			seen := make(chan struct{}, 1)
			attached, want, got := false, 0, 0
			cfg := Config{URLs: []string{"http://m"}, OnEvent: func(string) {
				if !attached {
					attached = true
				} else if got++; got == want {
					seen <- struct{}{}
				}
			}}
			w, err := New(cfg, &counter{}, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				b.Fatal(err)
			}
			w.client.http.Transport = storm
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = w.Serve(ctx) }()
			defer func() { cancel(); <-done }()
			b.SetBytes(int64(len(c.event)))
			b.ReportAllocs()
			want = b.N // Serve reads it after the storm has begun
			spent := cputest.Process(func() {
				storm.left <- b.N
				<-seen
			})
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
