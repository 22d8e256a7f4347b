package marathon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	runtimemetrics "runtime/metrics"
	"sync"
	"testing"
	"time"

	"relay/internal/cputest"
	"relay/sources"
)

const (
	bigApps   = 50_000 // of 2 kB each, which makes 100 MB
	fillerApp = `{"id":"/team%[1]d/app-%[2]d","cmd":null,"args":null,"user":null,"env":{},"instances":2,"cpus":0.5,"mem":512,"disk":0,"gpus":0,"executor":"","constraints":[["hostname","UNIQUE"]],` +
		`"labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"app-%[2]d.example.com,www.app-%[2]d.example.com","HAPROXY_0_REDIRECT_TO_HTTPS":"true","MARATHON_ACME_0_DOMAIN":"app-%[2]d.example.com","owner":"team%[1]d"},` +
		`"networks":[{"mode":"container/bridge"}],"container":{"type":"DOCKER","docker":{"image":"registry.example.com/team/app:1.2.3","forcePullImage":false,"privileged":false,"parameters":[]},"volumes":[],"portMappings":[{"containerPort":8080,"hostPort":0,"labels":{},"name":"http","protocol":"tcp","servicePort":%[3]d}]},` +
		`"healthChecks":[{"gracePeriodSeconds":60,"intervalSeconds":10,"maxConsecutiveFailures":3,"path":"/health","portIndex":0,"protocol":"HTTP","timeoutSeconds":5}],"version":"2024-05-01T10:00:00.000Z","versionInfo":{"lastScalingAt":"2024-05-01T10:00:00.000Z","lastConfigChangeAt":"2024-05-01T10:00:00.000Z"},` +
		`"tasksStaged":0,"tasksRunning":2,"tasksHealthy":2,"tasksUnhealthy":0,"deployments":[],"tasks":[%[4]s,%[5]s]}`
	fillerTask = `{"id":"team%[1]d_app-%[2]d.instance-00000000-0000-0000-0000-%012[2]d._app.%[3]d","appId":"/team%[1]d/app-%[2]d","host":"10.%[4]d.%[5]d.7","slaveId":"a1-S3","state":"TASK_RUNNING","ports":[%[6]d],"servicePorts":[],"ipAddresses":[{"ipAddress":"172.17.0.4","protocol":"IPv4"}],"stagedAt":"2024-05-01T10:00:00.120Z","startedAt":"2024-05-01T10:00:02.500Z","version":"2024-05-01T09:59:58.001Z",` +
		`"healthCheckResults":[{"alive":true,"consecutiveFailures":0,"firstSuccess":"2024-05-01T10:00:09.000Z","lastSuccess":"%[7]s","lastFailure":null,"instanceId":"team%[1]d_app-%[2]d.instance-00000000-0000-0000-0000-%012[2]d"}],"localVolumes":[],"role":"*"}`
)

// bigList is an answer to GET /v2/apps that is made as it is read, so that it
// takes no memory. Health results change from one answer to the next.
type bigList struct {
	n     int
	now   string
	chunk bytes.Buffer
	read  *int64
}

func (b *bigList) Read(p []byte) (int, error) {
	for b.chunk.Len() == 0 {
		switch {
		case b.n > bigApps:
			return 0, io.EOF
		case b.n == bigApps:
			b.chunk.WriteString("]}")
		default:
			b.chunk.WriteString([]string{`{"apps":[`, ","}[min(b.n, 1)])
			b.writeApp()
		}
		b.n++
	}
	n, err := b.chunk.Read(p)
	*b.read += int64(n)
	return n, err
}

func (b *bigList) writeApp() {
	i, team := b.n, b.n/50
	task := func(k int) string {
		return fmt.Sprintf(fillerTask, team, i, k, i>>8, i&255, 31000+k, b.now)
	}
	one, two := task(1), task(2)
	fmt.Fprintf(&b.chunk, fillerApp, team, i, 10000+i%10000, one, two)
}

// bigMarathon answers with a bigList, without network.
type bigMarathon struct {
	mu    sync.Mutex
	lists int
	read  int64
}

func (m *bigMarathon) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r}
	switch r.URL.Path {
	case "/v2/events":
		in, out := io.Pipe()
		resp.Header.Set("Content-Type", "text/event-stream")
		resp.Body = in
		context.AfterFunc(r.Context(), func() { in.CloseWithError(r.Context().Err()) })
		go func() {
			_, err := out.Write([]byte(attachedEvent))
			for beat := time.NewTicker(time.Second); err == nil; {
				select {
				case <-beat.C:
					_, err = out.Write([]byte("\r\n"))
				case <-r.Context().Done():
					return
				}
			}
		}()
	case "/v2/apps":
		m.mu.Lock()
		m.lists++
		resp.Body = io.NopCloser(&bigList{now: time.Unix(int64(m.lists), 0).UTC().Format(time.RFC3339), read: &m.read})
		m.mu.Unlock()
	default:
		resp.Body = io.NopCloser(bytes.NewReader(nil))
	}
	return resp, nil
}

// BenchmarkFullReadUnchanged reads 50 000 apps, 100 MB of JSON, of which
// nothing has changed but the times of health results. cpu-s is the processor
// time of one read, less that of making the JSON; extra-MB is how much the heap, garbage
// included, grows above what it was with everything held and collected.
func BenchmarkFullReadUnchanged(b *testing.B) {
	m := &bigMarathon{}
	making := cputest.Process(func() {
		var n int64
		_, _ = io.Copy(io.Discard, &bigList{read: &n})
	})
	sink := &counter{}
	w, err := New(Config{URLs: []string{"http://m"}}, sink, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		b.Fatal(err)
	}
	w.client.http.Transport = m
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	read := func() {
		if err := w.Reload(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	read()
	runtime.GC()
	held, size := heapInUse(), m.read
	peak, stop := watchHeap()
	var spent time.Duration
	for b.Loop() {
		spent += cputest.Process(read) - making
	}
	stop()
	each, extra := spent.Seconds()/float64(b.N), float64(*peak-held)/1e6
	b.ReportMetric(each, "cpu-s/op")
	b.ReportMetric(extra, "extra-MB")
	b.ReportMetric(float64(held)/1e6, "held-MB")
	b.ReportMetric(float64(size)/1e6, "json-MB")
	if each > 3 || extra > 100 {
		b.Errorf("%.1f s and %.0f MB, want at most 3 s and 100 MB", each, extra)
	}
	if sink.syncs != 1 || sink.apps != bigApps {
		b.Errorf("%d syncs, %d apps: nothing was to change", sink.syncs, sink.apps)
	}
}

// counter is a Sink that holds nothing.
type counter struct{ syncs, apps int }

func (c *counter) SyncApps(apps []*sources.App)        { c.syncs, c.apps = c.syncs+1, len(apps) }
func (c *counter) UpdateApps([]*sources.App, []string) { c.syncs++ }

func heapInUse() uint64 {
	sample := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64()
}

// watchHeap notes the largest heap until stop is called.
func watchHeap() (peak *uint64, stop func()) {
	peak = new(uint64)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			*peak = max(*peak, heapInUse())
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return peak, func() { close(end); <-ended }
}
