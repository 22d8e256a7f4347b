package xdstest

import (
	"context"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Proxy passes delta ADS on between Envoys and an xDS server. A test has it lose and
// hold back messages, end streams, and switch to another server.
type Proxy struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	// Address is where Envoys connect.
	Address string

	t  testing.TB
	mu sync.Mutex
	// changed is closed, and replaced, when anything below has changed.
	changed chan struct{}
	to      string
	streams []*Exchange
	// passRequest and passResponse tell which messages are passed on; nil is all.
	passRequest  func(*discoveryv3.DeltaDiscoveryRequest) bool
	passResponse func(*discoveryv3.DeltaDiscoveryResponse) bool
}

// Exchange is what went over one stream, lost messages too.
type Exchange struct {
	Requests  []*discoveryv3.DeltaDiscoveryRequest
	Responses []*discoveryv3.DeltaDiscoveryResponse
	end       context.CancelFunc
}

// StartProxy starts a proxy to the server at an address. It ends with the test.
func StartProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), t: t, to: to, changed: make(chan struct{})}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(math.MaxInt32), grpc.WaitForHandlers(true))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return p
}

// DeltaAggregatedResources passes one stream on.
func (p *Proxy) DeltaAggregatedResources(envoy discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	ctx, cancel := context.WithCancel(envoy.Context())
	defer cancel()
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	conn, err := grpc.NewClient(to, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	server, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	e := &Exchange{end: cancel}
	p.note(func() { p.streams = append(p.streams, e) })
	ended := make(chan error, 2)
	go func() { ended <- p.requests(ctx, e, envoy, server) }()
	go func() { ended <- p.responses(e, envoy, server) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return err
}

func (p *Proxy) requests(ctx context.Context, e *Exchange, from discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer,
	to discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient,
) error {
	for {
		r, err := from.Recv()
		if err != nil {
			return err
		}
		passed := false
		p.note(func() {
			e.Requests = append(e.Requests, r)
			passed = p.passRequest == nil || p.passRequest(r)
		})
		for !passed {
			p.mu.Lock()
			changed := p.changed
			passed = p.passRequest == nil || p.passRequest(r)
			p.mu.Unlock()
			if passed {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := to.Send(r); err != nil {
			return err
		}
	}
}

func (p *Proxy) responses(e *Exchange, to discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer,
	from discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient,
) error {
	for {
		r, err := from.Recv()
		if err != nil {
			return err
		}
		pass := true
		p.note(func() {
			pass = p.passResponse == nil || p.passResponse(r)
			e.Responses = append(e.Responses, r)
		})
		if !pass {
			continue
		}
		if err := to.Send(r); err != nil {
			return err
		}
	}
}

func (p *Proxy) note(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// HoldRequests holds back the first request for which held is true, and all that
// Envoy says after it, until a call with another function, or nil, lets it pass.
func (p *Proxy) HoldRequests(held func(*discoveryv3.DeltaDiscoveryRequest) bool) {
	p.note(func() {
		p.passRequest = nil
		if held != nil {
			p.passRequest = func(r *discoveryv3.DeltaDiscoveryRequest) bool { return !held(r) }
		}
	})
}

// LoseResponses loses the responses for which lost is true; nil loses none.
func (p *Proxy) LoseResponses(lost func(*discoveryv3.DeltaDiscoveryResponse) bool) {
	p.note(func() {
		p.passResponse = nil
		if lost != nil {
			p.passResponse = func(r *discoveryv3.DeltaDiscoveryResponse) bool { return !lost(r) }
		}
	})
}

// SwitchTo has further streams go to another server.
func (p *Proxy) SwitchTo(to string) { p.note(func() { p.to = to }) }

// Cut ends all streams.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.streams {
		e.end()
	}
}

// Streams returns how many streams there were.
func (p *Proxy) Streams() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.streams)
}

// Await waits until the stream of a number, counted from 0, is as a test wants it.
func (p *Proxy) Await(stream int, what string, so func(*Exchange) bool) {
	p.t.Helper()
	timeout := time.After(maxWait)
	for {
		p.mu.Lock()
		is, changed := stream < len(p.streams) && so(p.streams[stream]), p.changed
		p.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			p.t.Fatalf("waited in vain on stream %d: %s", stream, what)
		}
	}
}
