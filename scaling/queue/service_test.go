package queue

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/internal/questions"
	"relay/sources"
)

// world is a service with one app, and Envoys that have its new instances after a while.
type world struct {
	*Service
	mu      sync.Mutex
	port    Port
	changed chan struct{}
	served  bool
	takes   time.Duration // until an Envoy has an instance
	waited  int           // how often somebody waited for that
	calls   []*call
}

func newWorld(p Port) *world {
	w := &world{port: p, changed: make(chan struct{}), served: true}
	w.Service = New(w, w, DefaultLimits(), prometheus.NewRegistry())
	w.admit = func(_ context.Context, first func() (*corev3.Node, error)) (func(), error) {
		node, err := first()
		if err == nil && node.GetCluster() != "external" {
			err = status.Error(codes.PermissionDenied, "not of the fleet")
		}
		return func() {}, err
	}
	return w
}

// end ends all requests, and the service.
func (w *world) end() {
	for _, c := range w.calls {
		c.end()
	}
	w.Close()
}

func (w *world) Endpoints(app string, port int) (Port, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if app != "/web" || port != 1 {
		return Port{}, nil
	}
	return w.port, w.changed
}

func (w *world) set(p Port) {
	w.mu.Lock()
	w.port = p
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	synctest.Wait()
}

func (w *world) Serves(string, string) bool { return w.served }

func (w *world) WaitFor(ctx context.Context, _, _, _ string, _ int) error {
	w.mu.Lock()
	w.waited++
	w.mu.Unlock()
	select {
	case <-time.After(w.takes):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// count is how many requests had a result.
func (w *world) count(t *testing.T, result string) float64 {
	t.Helper()
	var m dto.Metric
	if err := w.metrics.results.WithLabelValues(result).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// call is a stream of an Envoy, for one request.
type call struct {
	grpc.ServerStream
	in   chan *extprocv3.ProcessingRequest
	out  chan *extprocv3.ProcessingResponse
	done chan error
	// over is closed when the stream is, by whoever ends it.
	over chan struct{}
	once sync.Once
}

func (c *call) Context() context.Context { return context.Background() }

func (c *call) Send(m *extprocv3.ProcessingResponse) error {
	c.out <- m
	return nil
}

func (c *call) Recv() (*extprocv3.ProcessingRequest, error) {
	select {
	case m := <-c.in:
		return m, nil
	case <-c.over:
		return nil, io.EOF
	}
}

// end is the end of the request.
func (c *call) end() { c.once.Do(func() { close(c.over) }) }

func head(app string, port float64, fleet string) *extprocv3.ProcessingRequest {
	fields := map[string]*structpb.Value{
		questions.QueueApp: structpb.NewStringValue(app), questions.QueuePort: structpb.NewNumberValue(port),
		questions.QueueFleet: structpb.NewStringValue(fleet), questions.QueueNode: structpb.NewStringValue("edge-1"),
	}
	return &extprocv3.ProcessingRequest{
		Request:    &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}},
		Attributes: map[string]*structpb.Struct{attributesOf: {Fields: fields}},
	}
}

func (w *world) call(first *extprocv3.ProcessingRequest) *call {
	c := &call{in: make(chan *extprocv3.ProcessingRequest, 9), out: make(chan *extprocv3.ProcessingResponse, 9), done: make(chan error, 1), over: make(chan struct{})}
	c.in <- first
	w.calls = append(w.calls, c)
	go func() {
		defer c.end()
		c.done <- w.Process(c)
	}()
	synctest.Wait()
	return c
}

func (w *world) request() *call { return w.call(head("/web", 1, "external")) }

// answer is what a request got: the instance, "any", or a status; "" if it waits.
func (c *call) answer(t *testing.T) string {
	t.Helper()
	synctest.Wait()
	select {
	case m := <-c.out:
		if refused := m.GetImmediateResponse(); refused != nil {
			return refused.GetStatus().GetCode().String() + " " + string(refused.GetHeaders().GetSetHeaders()[0].GetHeader().GetRawValue())
		}
		if fields := m.GetDynamicMetadata().GetFields()[questions.QueueMetadata].GetStructValue().GetFields(); fields != nil {
			return fields[questions.QueueInstance].GetStringValue()
		}
		if m.GetResponseTrailers() != nil {
			return "trailers"
		}
		return "any"
	default:
		return ""
	}
}

func (c *call) gets(t *testing.T, want string) {
	t.Helper()
	if got := c.answer(t); got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

const busyAnswer = "523 5"

func short(concurrency, length int, numbers ...int) Port {
	p := port(concurrency, length, numbers...)
	p.Queue = &sources.Queue{Concurrency: concurrency, Length: length, Timeout: 5 * time.Second}
	return p
}

func TestService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(short(1, 2, 1))
		defer w.end()
		first := w.request()
		first.gets(t, "10.0.0.1:80")
		second, third, fourth := w.request(), w.request(), w.request()
		fourth.gets(t, busyAnswer)
		if err := <-fourth.done; err != nil {
			t.Error(err)
		}
		if d := w.Depth("/web", 1); d.Waiting != 2 || d.InProgress != 1 || d.Oldest.IsZero() {
			t.Errorf("%+v", d)
		}
		// Trailers are answered, and free nothing.
		first.in <- &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{}}}
		first.gets(t, "trailers")
		second.gets(t, "")
		first.end()
		second.gets(t, "10.0.0.1:80")
		third.gets(t, "")
		time.Sleep(5 * time.Second)
		third.gets(t, busyAnswer)
		second.end()
		synctest.Wait()
		if d := w.Depth("/web", 1); d != (Depth{Instances: 1}) {
			t.Errorf("in the end %+v", d)
		}
		for result, want := range map[string]float64{"at_once": 1, "waited": 1, "busy": 2, "left": 0, "uncounted": 0} {
			if n := w.count(t, result); n != want {
				t.Errorf("%v requests were %s, want %v", n, result, want)
			}
		}
	})
}

// Who leaves the queue gives its place to another.
func TestLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(short(1, 1, 1))
		defer w.end()
		first, second := w.request(), w.request()
		second.end()
		synctest.Wait()
		third := w.request()
		third.gets(t, "")
		first.end()
		third.gets(t, "10.0.0.1:80")
		third.end()
		if n := w.count(t, "left"); n != 1 {
			t.Errorf("%v left", n)
		}
	})
}

// The first request to a new instance waits until the Envoy that sends it has the instance.
func TestNewInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(short(1, 9, 1))
		defer w.end()
		w.takes = 20 * time.Millisecond
		first, second := w.request(), w.request()
		first.gets(t, "10.0.0.1:80")
		w.set(short(1, 9, 1, 2))
		second.gets(t, "")
		time.Sleep(w.takes)
		second.gets(t, "10.0.0.2:80")
		// An Envoy that another Relay serves is waited for a fixed time.
		w.served = false
		third := w.request()
		w.set(short(1, 9, 1, 2, 3))
		time.Sleep(newFor - time.Millisecond)
		third.gets(t, "")
		time.Sleep(time.Millisecond)
		third.gets(t, "10.0.0.3:80")
		second.end()
		w.request().gets(t, "10.0.0.2:80")
		if w.waited != 1 {
			t.Errorf("waited %d times for Envoys", w.waited)
		}
	})
}

// What ends the queue ends all waiting.
func TestQueueEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(short(1, 9, 1))
		defer w.end()
		first, second := w.request(), w.request()
		first.gets(t, "10.0.0.1:80")
		w.set(Port{Endpoints: w.port.Endpoints})
		second.gets(t, "any")
		w.request().gets(t, "any")
		w.set(short(1, 9, 1))
		third, fourth := w.request(), w.request()
		third.gets(t, "10.0.0.1:80")
		fourth.gets(t, "")
		stopped := short(1, 9)
		stopped.Stopped = true
		w.set(stopped)
		fourth.gets(t, "any")
		w.set(short(1, 9))
		fifth := w.request()
		fifth.gets(t, "")
		time.Sleep(5 * time.Second)
		fifth.gets(t, "any") // Envoy says that there is no instance
		for _, c := range []*call{first, third} {
			c.end()
		}
	})
}

// A line that nobody uses is forgotten, and a new one is as good.
func TestForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(short(1, 9, 1))
		defer w.end()
		lines := func() (n int) {
			w.lines.Range(func(any, any) bool { n++; return true })
			return n
		}
		c := w.request()
		time.Sleep(10 * forgetAfter)
		if lines() != 1 {
			t.Error("a line in use is forgotten")
		}
		c.end()
		time.Sleep(3 * forgetAfter)
		if lines() != 0 {
			t.Error("a line that nobody uses stays")
		}
		c = w.request()
		c.gets(t, "10.0.0.1:80")
		c.end()
		for _, other := range []*call{w.call(head("/other", 1, "external")), w.call(head("/web", 2, "external"))} {
			other.gets(t, "any")
		}
		if lines() != 1 {
			t.Error("lines for what has no queue")
		}
	})
}

// Over all apps, only so many may wait.
func TestAllWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(short(1, 100, 1))
		defer w.end()
		w.limits.Waiting = 2
		calls := []*call{w.request(), w.request(), w.request()}
		w.request().gets(t, busyAnswer)
		calls[2].end()
		synctest.Wait()
		last := w.request()
		last.gets(t, "")
		calls[0].end()
		calls[1].gets(t, "10.0.0.1:80")
		calls[1].end()
		last.gets(t, "10.0.0.1:80")
		last.end()
		synctest.Wait()
		if n := w.waiting.Load(); n != 0 {
			t.Errorf("%d wait in the end", n)
		}
	})
}

// Envoys that may not ask, or ask nonsense, are told so, and so is who asks too early.
func TestRefusedEnvoys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(short(1, 9, 1))
		defer w.end()
		for want, first := range map[codes.Code]*extprocv3.ProcessingRequest{
			codes.PermissionDenied: head("/web", 1, "internal"),
			codes.InvalidArgument:  head("/web", 1.5, "external"),
		} {
			if err := <-w.call(first).done; status.Code(err) != want {
				t.Errorf("%v, want %v", err, want)
			}
		}
		for _, first := range []*extprocv3.ProcessingRequest{
			{}, head("", 1, "external"), head("/web", -1, "external"), head(strings.Repeat("a", 1000), 1, "external"),
		} {
			if err := <-w.call(first).done; status.Code(err) != codes.InvalidArgument {
				t.Errorf("%v of %v", err, first)
			}
		}
		ready := make(chan struct{})
		w.Ready = ready
		if err := <-w.request().done; status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
		close(ready)
		c := w.request()
		c.gets(t, "10.0.0.1:80")
		c.in <- head("/web", 1, "external")
		if err := <-c.done; status.Code(err) != codes.InvalidArgument {
			t.Errorf("two heads: %v", err)
		}
	})
}
