// Package xdstest is a delta ADS client for tests: it says exactly what it is
// told to say, and waits for what it is told to expect.
package xdstest

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// maxWait bounds every wait, of which none is for a limit to end: a busy machine may stand still for seconds.
const maxWait = 30 * time.Second

// Client is one stream.
type Client struct {
	t       testing.TB
	stream  discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	node    *corev3.Node
	cancel  context.CancelFunc
	replies chan *discoveryv3.DeltaDiscoveryResponse
	ended   chan error
}

// Connect opens a stream for a node of the fleet. It ends with the test.
func Connect(t testing.TB, address, fleet, node string) *Client {
	t.Helper()
	return ConnectBy(t, insecure.NewCredentials(), address, fleet, node)
}

// ConnectBy is Connect with credentials.
func ConnectBy(t testing.TB, creds credentials.TransportCredentials, address, fleet, node string) *Client {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{
		t: t, stream: stream, node: &corev3.Node{Id: node, Cluster: fleet}, cancel: cancel,
		replies: make(chan *discoveryv3.DeltaDiscoveryResponse, 100), ended: make(chan error, 1),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			reply, err := stream.Recv()
			if err != nil {
				c.ended <- err
				return
			}
			select {
			case c.replies <- reply:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = conn.Close()
	})
	return c
}

// Stalled opens a stream on which nothing is ever read. It ends with the test.
func Stalled(t testing.TB, address, fleet string) *Client {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(1<<16), grpc.WithStaticConnWindowSize(1<<16))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = conn.Close()
	})
	return &Client{t: t, stream: stream, node: &corev3.Node{Id: "stalled", Cluster: fleet}, cancel: cancel}
}

// SendRaw sends bytes in place of a request, and returns how the stream ends.
func SendRaw(t testing.TB, address string, body []byte) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), maxWait)
	defer cancel()
	return CallRaw(ctx, insecure.NewCredentials(), address, discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName, body)
}

// CallRaw is SendRaw with credentials, to any method.
func CallRaw(ctx context.Context, creds credentials.TransportCredentials, address, method string, body []byte) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method,
		grpc.ForceCodecV2(raw{}), grpc.MaxCallSendMsgSize(len(body)))
	if err != nil {
		return err
	}
	if err := stream.SendMsg(body); err != nil && err != io.EOF {
		return err
	}
	var answer []byte
	return stream.RecvMsg(&answer)
}

// raw is a codec for messages that are bytes already.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// Version makes the node say that it is an Envoy of this version. It must come
// before the first request.
func (c *Client) Version(major, minor, patch uint32) {
	c.node.UserAgentVersionType = &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
		Version: &typev3.SemanticVersion{MajorNumber: major, MinorNumber: minor, Patch: patch},
	}}
}

// Extensions makes the node say that it has these extensions. It must come
// before the first request.
func (c *Client) Extensions(names ...string) {
	for _, name := range names {
		c.node.Extensions = append(c.node.Extensions, &corev3.Extension{Name: name})
	}
}

// Send sends a request; the node goes with the first one.
func (c *Client) Send(req *discoveryv3.DeltaDiscoveryRequest) {
	c.t.Helper()
	req.Node, c.node = c.node, nil
	if err := c.stream.Send(req); err != nil {
		c.t.Fatal(err)
	}
}

// Subscribe asks for names of a type; for all without names.
func (c *Client) Subscribe(url string, names ...string) {
	c.t.Helper()
	c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResourceNamesSubscribe: names})
}

// Unsubscribe gives up names of a type.
func (c *Client) Unsubscribe(url string, names ...string) {
	c.t.Helper()
	c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, ResourceNamesUnsubscribe: names})
}

// Resume asks for all of a type and tells what is held already.
func (c *Client) Resume(url string, versions map[string]string, names ...string) {
	c.t.Helper()
	c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: url, InitialResourceVersions: versions, ResourceNamesSubscribe: names})
}

// Ack accepts a response.
func (c *Client) Ack(r *discoveryv3.DeltaDiscoveryResponse) {
	c.t.Helper()
	c.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()})
}

// Nack rejects a response.
func (c *Client) Nack(r *discoveryv3.DeltaDiscoveryResponse, message string) {
	c.t.Helper()
	c.Send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce(), ErrorDetail: &statuspb.Status{Code: 13, Message: message},
	})
}

// Next waits for the next response, whatever its type.
func (c *Client) Next() *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	select {
	case r := <-c.replies:
		return r
	case err := <-c.ended:
		c.ended <- err
		select {
		case r := <-c.replies: // it came before the end
			return r
		default:
		}
		c.t.Fatalf("the stream ended: %v", err)
	case <-time.After(maxWait):
		c.t.Fatal("no response came")
	}
	return nil
}

// Expect waits for a response of the type with exactly these resources, in any
// order, and these removals.
func (c *Client) Expect(url string, resources []string, removed ...string) *discoveryv3.DeltaDiscoveryResponse {
	c.t.Helper()
	r := c.Next()
	got, gone := Names(r), slices.Sorted(slices.Values(r.GetRemovedResources()))
	slices.Sort(resources)
	slices.Sort(removed)
	if r.GetTypeUrl() != url || !slices.Equal(got, resources) || !slices.Equal(gone, removed) {
		c.t.Fatalf("got %s with %q, without %q; want %s with %q, without %q", r.GetTypeUrl(), got, gone, url, resources, removed)
	}
	return r
}

// ExpectNothing makes sure that everything sent so far has been handled and was
// not answered. It asks for a type that nobody serves, which is answered in turn.
func (c *Client) ExpectNothing() {
	c.t.Helper()
	const marker = "type.googleapis.com/relay.xdstest.Marker"
	c.Subscribe(marker, "here")
	if r := c.Next(); r.GetTypeUrl() != marker {
		c.t.Fatalf("got %s with %q, without %q; want nothing", r.GetTypeUrl(), Names(r), r.GetRemovedResources())
	}
}

// ExpectQuiet makes sure that nothing has come so far. What is on its way is
// not waited for: see ExpectNothing.
func (c *Client) ExpectQuiet() {
	c.t.Helper()
	select {
	case r := <-c.replies:
		c.t.Fatalf("got %s with %q, without %q; want nothing yet", r.GetTypeUrl(), Names(r), r.GetRemovedResources())
	case err := <-c.ended:
		c.ended <- err
		c.t.Fatalf("the stream ended: %v", err)
	default:
	}
}

// End waits for the stream to end and returns why.
func (c *Client) End() error {
	c.t.Helper()
	select {
	case err := <-c.ended:
		return err
	case <-time.After(maxWait):
		c.t.Fatal("the stream did not end")
	}
	return nil
}

// Close ends the stream.
func (c *Client) Close() { c.cancel() }

// Names returns the sorted names of a response's resources.
func Names(r *discoveryv3.DeltaDiscoveryResponse) []string {
	names := make([]string, 0, len(r.GetResources()))
	for _, res := range r.GetResources() {
		names = append(names, res.GetName())
	}
	slices.Sort(names)
	return names
}

// Versions returns name to version of a response's resources.
func Versions(r *discoveryv3.DeltaDiscoveryResponse) map[string]string {
	versions := make(map[string]string)
	for _, res := range r.GetResources() {
		versions[res.GetName()] = res.GetVersion()
	}
	return versions
}
