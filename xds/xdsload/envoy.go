// Package xdsload puts an xDS server under load: a thousand Envoys in one
// process, which do on their streams what real ones do and nothing else.
package xdsload

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"relay/xds"
)

var types = xds.Types()

// Options describe an Envoy.
type Options struct {
	Address, Fleet, NodeID string
	// TLS is what it needs for a server with TLS; nil is plain text.
	TLS *tls.Config
	// ExtensionConfigs are the names that its listeners ask for.
	ExtensionConfigs []string
	Names            *Names
}

// Envoy keeps its resources from one stream to the next.
//
// It subscribes to clusters, listeners and scopes by wildcard, and to endpoints by the clusters'
// names. The ACK of clusters waits for the endpoints. On a new stream initial_resource_versions
// has what it has.
type Envoy struct {
	o    Options
	conn *grpc.ClientConn
	// has is the version by type and name; 0 is none.
	has     [][]uint64
	warming []bool

	mu      sync.Mutex // of what follows, and of sending
	stream  *stream
	samples []Sample
}

// Sample is the arrival of one version of an endpoint set.
type Sample struct {
	Version uint64
	At      time.Time
}

// stream is one connection's state.
type stream struct {
	grpc    grpc.ClientStream
	cancel  context.CancelFunc
	ready   chan struct{}
	marked  chan struct{}
	ended   chan error
	node    []byte
	asked   []bool
	told    []bool // what was answered
	waiting int    // clusters that wait for endpoints
	cdsAck  []byte
	count   int
}

// New returns an Envoy that is not connected.
func New(o Options) (*Envoy, error) {
	conn, err := dial(o)
	if err != nil {
		return nil, err
	}
	return &Envoy{o: o, conn: conn, has: make([][]uint64, len(types))}, nil
}

func dial(o Options) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if o.TLS != nil {
		creds = credentials.NewTLS(o.TLS)
	}
	return grpc.NewClient(o.Address,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30), grpc.ForceCodecV2(codec{o.Names})),
		// As Envoy's defaults, about.
		grpc.WithInitialWindowSize(16<<20), grpc.WithInitialConnWindowSize(24<<20))
}

// Resume returns an Envoy that is not connected and holds what another one does.
func Resume(o Options, other *Envoy) (*Envoy, error) {
	e, err := New(o)
	if err != nil {
		return nil, err
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	for t, held := range other.has {
		e.has[t] = slices.Clone(held)
	}
	return e, nil
}

// Move ends the connection; the next stream goes to another server.
func (e *Envoy) Move(address string, config *tls.Config) error {
	e.Disconnect()
	if err := e.Close(); err != nil {
		return err
	}
	e.o.Address, e.o.TLS = address, config
	conn, err := dial(e.o)
	e.conn = conn
	return err
}

// Connect opens a stream. Envoy says at once what it knows to ask for.
func (e *Envoy) Connect(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	g, err := e.conn.NewStream(ctx, &discoveryv3.AggregatedDiscoveryService_ServiceDesc.Streams[1],
		discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName)
	if err != nil {
		cancel()
		return fmt.Errorf("connect to %s: %w", e.o.Address, err)
	}
	node, err := proto.Marshal(&corev3.Node{Id: e.o.NodeID, Cluster: e.o.Fleet})
	if err != nil {
		cancel()
		return err
	}
	s := &stream{
		grpc: g, cancel: cancel, node: node, ready: make(chan struct{}), marked: make(chan struct{}, 1), ended: make(chan error, 1),
		asked: make([]bool, len(types)), told: make([]bool, len(types)),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stream = s
	clear(e.warming)
	if err := e.ask(xds.Cluster); err != nil {
		return err
	}
	if e.holds(xds.Cluster) {
		for _, t := range []xds.Type{xds.Endpoint, xds.Listener, xds.Scope, xds.ExtensionConfig} {
			if err := e.ask(t); err != nil {
				return err
			}
		}
	}
	go e.receive(s)
	return nil
}

// Ready is closed when the stream has clusters, endpoints, listeners, scopes
// and extension configurations.
func (e *Envoy) Ready() <-chan struct{} { return e.stream.ready }

// Ended has the error with which the stream ended.
func (e *Envoy) Ended() <-chan error { return e.stream.ended }

// Count returns how many resources and removals came on this stream.
func (e *Envoy) Count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stream.count
}

// Held returns how many resources of a type the Envoy has.
func (e *Envoy) Held(t xds.Type) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, version := range e.has[t] {
		if version != 0 {
			n++
		}
	}
	return n
}

// Samples returns what arrived since it was last called.
func (e *Envoy) Samples() []Sample {
	e.mu.Lock()
	defer e.mu.Unlock()
	samples := e.samples
	e.samples = nil
	return samples
}

// Disconnect ends the stream and waits until it is gone.
func (e *Envoy) Disconnect() {
	e.stream.cancel()
	<-e.stream.ended
}

// Close ends the connection.
func (e *Envoy) Close() error { return e.conn.Close() }

const marker = "type.googleapis.com/relay.xdsload.Marker"

// Mark returns a channel that gets a value when the server has dealt with every
// request so far. It asks for a type that nobody serves, which is answered.
func (e *Envoy) Mark() (<-chan struct{}, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := appendString(nil, requestTypeURL, marker)
	return e.stream.marked, e.send(appendString(b, requestSubscribe, "here"))
}

func (e *Envoy) receive(s *stream) {
	var r response
	for {
		err := s.grpc.RecvMsg(&r)
		if err == nil {
			err = e.handle(&r)
		}
		if err != nil {
			s.ended <- err
			return
		}
	}
}

// send needs mu.
func (e *Envoy) send(request []byte) error {
	if e.stream.node != nil {
		request = protowire.AppendTag(request, requestNode, protowire.BytesType)
		request = protowire.AppendBytes(request, e.stream.node)
		e.stream.node = nil
	}
	return e.stream.grpc.SendMsg(request)
}

func (e *Envoy) holds(t xds.Type) bool { return len(e.has[t]) > 0 }

// ask sends the first request of a type.
func (e *Envoy) ask(t xds.Type) error {
	e.stream.asked[t] = true
	// A guess, from above: the request of one that holds much is large.
	const start, perName = 128, 80
	b := make([]byte, 0, start+perName*len(e.has[t]))
	b = appendString(b, requestTypeURL, t.URL())
	names := e.o.Names.all()
	if t == xds.Endpoint {
		for id, version := range e.has[xds.Cluster] {
			if version != 0 {
				b = appendString(b, requestSubscribe, names[id])
			}
		}
	}
	if t == xds.ExtensionConfig {
		for _, name := range e.o.ExtensionConfigs {
			b = appendString(b, requestSubscribe, name)
		}
	}
	for id, version := range e.has[t] {
		if version != 0 {
			b = appendInitial(b, names[id], version)
		}
	}
	return e.send(b)
}

func (e *Envoy) handle(r *response) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stream
	if r.typeURL == marker {
		s.marked <- struct{}{}
		return nil
	}
	t, ok := xds.TypeOf(r.typeURL)
	if !ok {
		return fmt.Errorf("response of type %q", r.typeURL)
	}
	s.count += len(r.resources) + len(r.removed)
	ack := appendString(appendString(nil, requestTypeURL, r.typeURL), requestNonce, r.nonce)
	if t == xds.Cluster {
		if err := e.clusters(r); err != nil {
			return err
		}
	}
	e.keep(t, r)
	return e.answer(t, ack)
}

func (e *Envoy) keep(t xds.Type, r *response) {
	now := time.Now()
	for _, h := range r.resources {
		e.put(t, h.name, h.version)
		if t == xds.Endpoint {
			e.warm(h.name)
			e.samples = append(e.samples, Sample{h.version, now})
		}
	}
	for _, name := range r.removed {
		e.put(t, name, 0)
		if t == xds.Endpoint {
			e.warm(name)
		}
	}
}

func (e *Envoy) put(t xds.Type, name uint32, version uint64) {
	e.has[t] = grown(e.has[t], name)
	e.has[t][name] = version
}

func grown[T any](list []T, index uint32) []T {
	if n := int(index) + 1 - len(list); n > 0 {
		list = append(list, make([]T, n)...)
	}
	return list
}

// clusters asks for the endpoints of new clusters.
func (e *Envoy) clusters(r *response) error {
	names := e.o.Names.all()
	b := appendString(nil, requestTypeURL, xds.Endpoint.URL())
	empty := len(b)
	for _, h := range r.resources {
		e.warming = grown(e.warming, h.name)
		if !e.warming[h.name] {
			e.warming[h.name] = true
			e.stream.waiting++
		}
		e.has[xds.Cluster] = grown(e.has[xds.Cluster], h.name)
		if e.has[xds.Cluster][h.name] == 0 {
			b = appendString(b, requestSubscribe, names[h.name])
		}
	}
	for _, name := range r.removed {
		e.warm(name)
		e.put(xds.Endpoint, name, 0)
		b = appendString(b, requestUnsubscribe, names[name])
	}
	if len(b) == empty {
		return nil
	}
	e.stream.asked[xds.Endpoint] = true
	return e.send(b)
}

func (e *Envoy) warm(cluster uint32) {
	if int(cluster) < len(e.warming) && e.warming[cluster] {
		e.warming[cluster] = false
		e.stream.waiting--
	}
}

// answer sends the ACKs that may be sent now and asks for what comes next.
func (e *Envoy) answer(t xds.Type, ack []byte) error {
	s := e.stream
	if t == xds.Cluster {
		s.cdsAck = ack
	} else if err := e.send(ack); err != nil {
		return err
	}
	if s.cdsAck != nil && s.waiting == 0 {
		if err := e.send(s.cdsAck); err != nil {
			return err
		}
		s.cdsAck = nil
		if !s.asked[xds.Listener] {
			if err := e.ask(xds.Listener); err != nil {
				return err
			}
		}
	}
	if t == xds.Listener && !s.asked[xds.Scope] {
		for _, next := range []xds.Type{xds.Scope, xds.ExtensionConfig} {
			if err := e.ask(next); err != nil {
				return err
			}
		}
	}
	before := s.told[xds.Scope] && s.told[xds.ExtensionConfig]
	s.told[t] = true
	if !before && s.told[xds.Scope] && s.told[xds.ExtensionConfig] {
		close(s.ready)
	}
	return nil
}
