package envoytest_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxWait bounds every wait.
const maxWait = 30 * time.Second

// ads is an xDS server that sends what a test says, and judges nothing.
type ads struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	t       *testing.T
	address string

	mu sync.Mutex
	// changed is closed, and replaced, when anything below has changed.
	changed chan struct{}
	// streams counts those there were; stream is the last one, end closes it.
	streams int
	stream  discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	end     chan struct{}
	// first are the first requests on the stream, by type URL; asked are the
	// names that Envoy subscribes to.
	first map[string]*discoveryv3.DeltaDiscoveryRequest
	asked map[string]map[string]bool
	// answers are what Envoy said to responses, by nonce: empty is an ACK.
	answers map[string]string
	nonces  int
}

func startADS(t *testing.T) *ads {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &ads{t: t, address: l.Addr().String(), changed: make(chan struct{}), answers: make(map[string]string)}
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return a
}

// DeltaAggregatedResources notes what Envoy asks and answers.
func (a *ads) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	end := make(chan struct{})
	a.note(func() {
		a.streams++
		a.stream, a.end = stream, end
		a.first = make(map[string]*discoveryv3.DeltaDiscoveryRequest)
		a.asked = make(map[string]map[string]bool)
	})
	go func() {
		for {
			req, err := stream.Recv()
			if err != nil {
				return
			}
			a.note(func() {
				if a.stream == stream { // what was on its way on an older one is none of this
					a.hear(req)
				}
			})
		}
	}()
	select {
	case <-end:
	case <-stream.Context().Done():
	}
	return nil
}

func (a *ads) hear(req *discoveryv3.DeltaDiscoveryRequest) {
	url := req.GetTypeUrl()
	if a.first[url] == nil {
		a.first[url], a.asked[url] = req, make(map[string]bool)
	}
	for _, name := range req.GetResourceNamesSubscribe() {
		a.asked[url][name] = true
	}
	for _, name := range req.GetResourceNamesUnsubscribe() {
		delete(a.asked[url], name)
	}
	if nonce := req.GetResponseNonce(); nonce != "" {
		a.answers[nonce] = req.GetErrorDetail().GetMessage()
	}
}

func (a *ads) note(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.changed)
	a.changed = make(chan struct{})
}

// wait waits until it is so.
func (a *ads) wait(what string, so func() bool) {
	a.t.Helper()
	timeout := time.After(maxWait)
	for {
		a.mu.Lock()
		is, changed := so(), a.changed
		a.mu.Unlock()
		if is {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			a.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// awaitRequest waits until Envoy has asked for a type, or names of it.
func (a *ads) awaitRequest(url string, names ...string) {
	a.t.Helper()
	a.wait(fmt.Sprintf("a request for %s %q", url, names), func() bool {
		for _, name := range names {
			if !a.asked[url][name] {
				return false
			}
		}
		return a.first[url] != nil
	})
}

// named is a resource with its name and version on the wire.
type named struct {
	name, version string
	message       proto.Message
}

// post sends a response, and returns its nonce.
func (a *ads) post(url string, resources []named, removed ...string) string {
	a.t.Helper()
	resp := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: url, RemovedResources: removed}
	for _, r := range resources {
		resp.Resources = append(resp.Resources, &discoveryv3.Resource{Name: r.name, Version: r.version, Resource: packed(a.t, r.message)})
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nonces++
	resp.Nonce = fmt.Sprint(a.nonces)
	if err := a.stream.Send(resp); err != nil {
		a.t.Fatal(err)
	}
	return resp.GetNonce()
}

// answer waits for what Envoy says to a response: nothing if it accepts it.
func (a *ads) answer(nonce string) (rejection string) {
	a.t.Helper()
	a.wait("an answer to response "+nonce, func() (answered bool) {
		rejection, answered = a.answers[nonce]
		return answered
	})
	return rejection
}

// send sends a response and returns Envoy's answer.
func (a *ads) send(url string, resources []named, removed ...string) (rejection string) {
	a.t.Helper()
	return a.answer(a.post(url, resources, removed...))
}

// accepted sends a response that Envoy must accept.
func (a *ads) accepted(url string, resources ...named) {
	a.t.Helper()
	if rejection := a.send(url, resources); rejection != "" {
		a.t.Fatalf("Envoy rejects %s: %s", url, rejection)
	}
}

// reconnect ends the stream, and returns the versions of a type that Envoy
// tells on the next one.
func (a *ads) reconnect(url string) map[string]string {
	a.t.Helper()
	a.mu.Lock()
	streams := a.streams
	close(a.end)
	a.mu.Unlock()
	a.wait("Envoy on a new stream", func() bool { return a.streams > streams && a.first[url] != nil })
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.first[url].GetInitialResourceVersions()
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	p, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
