package queue

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/internal/failure"
	"relay/internal/panics"
	"relay/internal/questions"
)

// Service is the external processor of requests to app ports that have a queue. Envoy opens a
// stream for each request, and holds the request until the answer. The answer names the instance.
// The stream ends when the request does, and frees the place at the instance. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/ext_proc_filter
type Service struct {
	extprocv3.UnimplementedExternalProcessorServer
	// Ready, if it is set before Register, is closed when the apps are known. Before, Envoys are
	// told to ask another Relay.
	Ready   <-chan struct{}
	apps    Apps
	envoys  Envoys
	limits  Limits
	metrics *metrics
	admit   questions.Admit

	lines   sync.Map // *line by key
	waiting atomic.Int64
	stop    chan struct{}
	stopped sync.Once
	// watchers are the goroutines that keep lines up to date.
	watchers sync.WaitGroup
}

// key is an app port.
type key struct {
	app  string
	port int
}

// Register adds the service to a gRPC server. Envoys that may not ask are refused.
func (s *Service) Register(g grpc.ServiceRegistrar, admit questions.Admit) {
	s.admit = admit
	extprocv3.RegisterExternalProcessorServer(g, s)
}

// Close ends what the service runs besides its streams.
func (s *Service) Close() {
	s.stopped.Do(func() { close(s.stop) })
	s.watchers.Wait()
}

// Depth returns how many requests to an app port are in progress and wait, on all Envoys that
// ask this Relay.
func (s *Service) Depth(app string, port int) Depth {
	if l, ok := s.lines.Load(key{app, port}); ok {
		return l.(*line).depth()
	}
	return Depth{}
}

type stream = extprocv3.ExternalProcessor_ProcessServer

// Process answers for one request.
func (s *Service) Process(g stream) error {
	if !s.ready() {
		return status.Error(codes.Unavailable, "the apps are not known yet")
	}
	var a asked
	done, err := s.admit(g.Context(), func() (*corev3.Node, error) {
		first, err := g.Recv()
		if err == nil {
			a, err = askedBy(first)
		}
		if err != nil {
			return nil, err
		}
		return &corev3.Node{Id: a.node, Cluster: a.fleet}, nil
	})
	if err != nil {
		return err
	}
	defer done()
	l, t, v := s.enter(a.key)
	if t == nil {
		return s.answer(g, l, v)
	}
	defer t.leave()
	if v == granted {
		s.metrics.results.WithLabelValues("at_once").Inc()
		if err := s.send(g, a, t); err != nil {
			return nil // the request has ended
		}
		return follow(g)
	}
	return s.hold(g, a, t)
}

func (s *Service) ready() bool {
	select {
	case <-s.Ready:
		return true
	default:
		return s.Ready == nil
	}
}

// enter brings a request into the line of its app port. The line is nil if there is none.
func (s *Service) enter(k key) (*line, *ticket, verdict) {
	for {
		l := s.lineOf(k)
		if l == nil {
			return nil, nil, through
		}
		t, v := l.enter(time.Now())
		if v != gone {
			return l, t, v
		}
		s.lines.CompareAndDelete(k, l)
	}
}

// lineOf returns the line of an app port; nil if the port has no queue.
func (s *Service) lineOf(k key) *line {
	if l, ok := s.lines.Load(k); ok {
		return l.(*line)
	}
	port, changed := s.apps.Endpoints(k.app, k.port)
	if port.Queue == nil {
		return nil
	}
	made := newLine(port)
	l, there := s.lines.LoadOrStore(k, made)
	if !there {
		s.watchers.Go(func() { s.watch(k, made, changed) })
	}
	return l.(*line)
}

// watch keeps a line up to date until nobody needs it.
func (s *Service) watch(k key, l *line, changed <-chan struct{}) {
	defer s.lines.CompareAndDelete(k, l)
	unused := time.NewTicker(forgetAfter)
	defer unused.Stop()
	var turn uint64
	for closed := false; !closed; {
		select {
		case <-changed:
			var port Port
			port, changed = s.apps.Endpoints(k.app, k.port)
			l.set(port, time.Now())
			closed = port.Queue == nil // if it has a queue again, that begins anew
		case <-unused.C:
			turn, closed = l.close(turn)
		case <-s.stop:
			return
		}
	}
}

// hold has a request wait for its turn, as long as the client does.
func (s *Service) hold(g stream, a asked, t *ticket) error {
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > int64(s.limits.Waiting) {
		return s.answer(g, t.line, busy)
	}
	ended := make(chan error, 1)
	go func() { ended <- panics.Catch(func() error { return follow(g) }) }()
	timeout := time.NewTimer(t.line.timeout())
	defer timeout.Stop()
	var v verdict
	select {
	case v = <-t.verdict:
	case <-timeout.C:
		v = t.giveUp()
	case <-ended:
		s.metrics.results.WithLabelValues("left").Inc()
		// If it is Relay that ends, Envoy asks the next one. If it had no error, the request would go on.
		return status.Error(codes.Unavailable, "the wait has ended")
	}
	s.metrics.waited.Observe(time.Since(t.arrived).Seconds())
	if v != granted {
		return s.answer(g, t.line, v)
	}
	s.metrics.results.WithLabelValues("waited").Inc()
	if err := s.send(g, a, t); err != nil {
		return nil // the request has ended
	}
	return <-ended
}

// answer ends the stream of a request that is not counted.
func (s *Service) answer(g stream, l *line, v verdict) error {
	if v == busy {
		s.metrics.results.WithLabelValues("busy").Inc()
		_ = g.Send(refusal(l.retryAfter()))
		return nil
	}
	s.metrics.results.WithLabelValues("uncounted").Inc()
	_ = g.Send(toAnyInstance())
	return nil
}

// send tells Envoy the instance, when Envoy knows it.
func (s *Service) send(g stream, a asked, t *ticket) error {
	s.settle(g.Context(), a, t.since)
	return g.Send(toInstance(t.address))
}

// settle waits until an Envoy has an instance that appeared a moment ago. Otherwise Envoy
// would choose another one.
func (s *Service) settle(ctx context.Context, a asked, since time.Time) {
	age := time.Since(since)
	if since.IsZero() || age > newFor {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, newFor-age)
	defer cancel()
	if s.envoys.Serves(a.fleet, a.node) {
		// If it never has it, the request goes to another instance.
		_ = s.envoys.WaitFor(ctx, a.fleet, a.node, a.app, a.port)
		return
	}
	<-ctx.Done()
}

// follow returns when a request has ended. Envoy waits for an answer to trailers.
func follow(g stream) error {
	for {
		message, err := g.Recv()
		if err != nil {
			return nil // the end, in whatever way
		}
		if message.GetResponseTrailers() == nil {
			return status.Error(codes.InvalidArgument, "only trailers follow the head of a request")
		}
		if err := g.Send(trailersSeen()); err != nil {
			return nil
		}
	}
}

// refusal tells a client that all instances are busy.
func refusal(after time.Duration) *extprocv3.ProcessingResponse {
	seconds := strconv.Itoa(int(after / time.Second))
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ImmediateResponse{
		ImmediateResponse: &extprocv3.ImmediateResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(failure.StatusBusy)},
			Headers: &extprocv3.HeaderMutation{SetHeaders: []*corev3.HeaderValueOption{{
				Header:       &corev3.HeaderValue{Key: "retry-after", RawValue: []byte(seconds)},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}}},
			Details: "queue",
		},
	}}
}

// toAnyInstance lets a request go on as if there were no queue.
func toAnyInstance() *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}}
}

func trailersSeen() *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}}
}

// toInstance lets a request go to one instance.
func toInstance(address netip.AddrPort) *extprocv3.ProcessingResponse {
	response := toAnyInstance()
	response.DynamicMetadata = &structpb.Struct{Fields: map[string]*structpb.Value{
		questions.QueueMetadata: structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			questions.QueueInstance: structpb.NewStringValue(address.String()),
		}}),
	}}
	return response
}
