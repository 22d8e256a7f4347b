package xds

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"relay/internal/guard"
)

// Server serves the aggregated discovery service to Envoys, incrementally. An
// Envoy gets the resources of the fleet that its node.cluster names.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	// TLS secures the port; nil serves in plain text.
	TLS *tls.Config
	// Authorize, when set, decides whether the Envoy behind a connection may have
	// what is in a fleet's store. Its error is logged and sent to the Envoy. It is
	// asked again four times in Limits.Stall for as long as the stream lasts.
	Authorize func(p *peer.Peer, fleet string) error
	// Limits are DefaultLimits unless set before Serve.
	Limits Limits
	// Services, when set before Serve, adds other services for Envoys to the port. They ask
	// Admit.
	Services func(grpc.ServiceRegistrar)
	// PerRequest are the full names of those methods of Services of which an Envoy has a stream
	// for each of many requests. They ask AdmitRequest, and are not in Limits.ConnectionStreams.
	PerRequest []string
	// Answered, when set before Serve, is told of the streams of all methods.
	Answered stats.Handler
	// Replaced, when set before Serve, is called when an Envoy is about to be sent a cluster that it
	// has in another version. It must be quick.
	Replaced func(fleet, nodeID, cluster string)

	connections    *guard.Listener
	conns          *envoyConns
	stores         map[string]*Store
	log            *slog.Logger
	refusals       *guard.Log
	metrics        *metrics
	workSlots      workSlots
	recovery       recovery
	budget         *budget
	handshakeSlots handshakeSlots
	others         hostCounts // streams of Services
	opening        hostCounts // streams of PerRequest of which the first message has not come

	mu      sync.Mutex
	streams map[*stream]struct{}
	hosts   map[string]int // streams by host
	// nodes are the streams of each Envoy, the newest last.
	nodes   map[node][]*stream
	lists   map[string]*envoyList // by fleet
	leavers leavers
	// late is when Envoys asked for extensions on streams that have ended.
	late map[lateKey]time.Time
	// toldVersions are the versions of Envoys that were logged, by fleet.
	toldVersions map[string]bool
}

// NewServer returns a server for the given stores, by fleet.
func NewServer(stores map[string]*Store, logger *slog.Logger, registerer prometheus.Registerer) *Server {
	s := &Server{
		stores: stores, log: logger, metrics: newMetrics(registerer, stores),
		streams: make(map[*stream]struct{}), hosts: make(map[string]int), nodes: make(map[node][]*stream), lists: make(map[string]*envoyList), toldVersions: make(map[string]bool),
		workSlots: newWorkSlots(), budget: newBudget(), handshakeSlots: newHandshakeSlots(), Limits: DefaultLimits(),
		recovery: newRecovery(registerer),
	}
	s.refusals = guard.NewLog(logger, func(kind guard.Kind) { s.metrics.refused.WithLabelValues(string(kind)).Inc() })
	registerEnvoys(registerer, s)
	for _, store := range stores {
		store.convergence.failed = func(err error) { _ = s.reportPanic("", err) }
	}
	return s
}

// maxRequest bounds one request: a first request names every resource that an
// Envoy has, about 100 bytes each.
const maxRequest = 64 << 20

// maxHeaders bounds the headers of a request, in bytes.
const maxHeaders = 16 << 10

// maxNode bounds node.id and node.cluster, in bytes: they are kept, and logged.
const maxNode = 1024

// readBuffer is the size of the buffer of each connection, in bytes. Large frames bypass it.
const readBuffer = 8 << 10

// The windows of HTTP/2, in bytes: streamWindow is how far an Envoy may send ahead of what is
// read. Of a request that is being read it may send all. They are fixed, since gRPC would
// otherwise send a ping after each ACK, to find out which sizes are best.
const (
	streamWindow = 64 << 10
	connWindow   = 1 << 20
)

// Serve serves until ctx ends, and then closes all streams: they would not end
// by themselves. Envoys keep what they have and look for another Relay.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	creds, slots := insecure.NewCredentials(), handshakeSlots(nil)
	if s.TLS != nil {
		creds, slots = credentials.NewTLS(s.TLS), s.handshakeSlots
	}
	unused := s.Limits.Handshake + s.Limits.FirstRequest
	s.connections = guard.Listen(l, guard.Limits{
		First: unused, Idle: unused, PerAddress: s.Limits.IdlePerAddress, InAll: s.Limits.Idle,
	}, s.refusals)
	s.budget.setLimits(s.Limits)
	s.conns = &envoyConns{
		budget: s.budget, refusals: s.refusals, limit: s.Limits.Stall, use: s.connections.Use,
		conns: make(map[string]*envoyConn),
	}
	options := []grpc.ServerOption{
		grpc.Creds(catchingHandshake{handshaker{creds, s.refusals, s.conns, slots, s.Limits.Handshake}, s}),
		grpc.StreamInterceptor(s.interceptor),
		grpc.ConnectionTimeout(s.Limits.Handshake),
		grpc.MaxConcurrentStreams(s.streamsPerConnection()),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.ReadBufferSize(readBuffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: s.Limits.Stall}),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.UnknownServiceHandler(s.refuseService),
	}
	if s.Answered != nil {
		options = append(options, grpc.StatsHandler(s.Answered))
	}
	g := grpc.NewServer(options...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
	if s.Services != nil {
		s.Services(g)
	}
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	if err := g.Serve(s.connections); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve xDS on %s: %w", l.Addr(), err)
	}
	return ctx.Err()
}

// StreamAggregatedResources refuses the state-of-the-world variant.
func (s *Server) StreamAggregatedResources(g discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.refuse(g.Context(), guard.Request, nil, status.Error(codes.Unimplemented,
		"Relay speaks incremental xDS only: set api_type: DELTA_GRPC in the bootstrap's ads_config (see relay bootstrap)"))
}

func (s *Server) refuseService(_ any, g grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(g)
	return s.refuse(g.Context(), guard.Request, nil, status.Errorf(codes.Unimplemented,
		"Relay serves aggregated discovery only, not %.100s: use ads: {} as the config source (see relay bootstrap)", method))
}

// refuse logs why a client is refused, and returns err, which tells the client.
func (s *Server) refuse(ctx context.Context, kind guard.Kind, node *corev3.Node, err error) error {
	var attrs []any
	if node != nil {
		attrs = []any{"envoy", node.GetId(), "fleet", node.GetCluster()}
	}
	s.refusals.Refuse(remoteAddress(ctx), guard.Refusal{Kind: kind, Who: node.GetId(), Reason: status.Convert(err).Message()}, attrs...)
	return err
}

// Refused returns the clients that were refused within the last hour, the latest first.
func (s *Server) Refused() []guard.Refused { return s.refusals.Latest() }

// remoteAddress returns that of the client of a stream.
func remoteAddress(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// certificateExpires returns when the certificate of a client expires; zero if it
// showed none.
func certificateExpires(ctx context.Context) (at time.Time) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return at
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return at
	}
	return info.State.PeerCertificates[0].NotAfter
}

// refuseUnauthorized refuses a client that may be of no fleet, before its request is read, as
// that may be large.
func (s *Server) refuseUnauthorized(ctx context.Context) error {
	p, ok := peer.FromContext(ctx)
	if s.Authorize == nil || !ok {
		return nil
	}
	var refused error
	for _, fleet := range s.fleets() {
		if refused = s.Authorize(p, fleet); refused == nil {
			return nil
		}
	}
	return s.refuse(ctx, guard.Access, nil, status.Error(codes.PermissionDenied, refused.Error()))
}

// storeFor returns the store for an Envoy, or an error if the Envoy may not have it.
func (s *Server) storeFor(ctx context.Context, node *corev3.Node) (*Store, error) {
	if len(node.GetId()) > maxNode || len(node.GetCluster()) > maxNode {
		return nil, s.refuse(ctx, guard.Request, nil, status.Errorf(codes.InvalidArgument, "node.id and node.cluster may have %d bytes", maxNode))
	}
	fleet := node.GetCluster()
	store, ok := s.stores[fleet]
	if !ok {
		return nil, s.refuse(ctx, guard.Fleet, node, status.Errorf(codes.InvalidArgument,
			"no fleet %q: node.cluster must be one of %q (envoy --service-cluster, or node.cluster in the bootstrap)", fleet, s.fleets()))
	}
	if s.Authorize == nil {
		return store, nil
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, status.Error(codes.Internal, "a connection without a peer")
	}
	if err := s.Authorize(p, fleet); err != nil {
		return nil, s.refuse(ctx, guard.Access, node, status.Error(codes.PermissionDenied, err.Error()))
	}
	return store, nil
}

func (s *Server) fleets() []string { return slices.Sorted(maps.Keys(s.stores)) }

func (s *Server) add(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all, there := len(s.streams), s.hosts[st.host]; all >= s.Limits.Streams || there >= s.Limits.StreamsPerAddress {
		return status.Errorf(codes.ResourceExhausted,
			"%d Envoys are connected, %d from there; more are not allowed: see what connects so often", all, there)
	}
	s.streams[st] = struct{}{}
	s.hosts[st.host]++
	s.nodes[st.node()] = append(s.nodes[st.node()], st)
	s.listChanged(st.info.Fleet)
	s.leavers.back(st.info)
	s.metrics.streams.WithLabelValues(st.info.Fleet).Inc()
	return nil
}

func (s *Server) remove(st *stream) {
	asked := st.session.lateAsks()
	st.session.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLate(st.node(), asked)
	delete(s.streams, st)
	if s.hosts[st.host]--; s.hosts[st.host] == 0 {
		delete(s.hosts, st.host)
	}
	s.listChanged(st.info.Fleet)
	left := slices.DeleteFunc(s.nodes[st.node()], func(other *stream) bool { return other == st })
	if s.nodes[st.node()] = left; len(left) == 0 {
		delete(s.nodes, st.node())
		s.leavers.left(st.info, time.Now())
	}
	s.metrics.streams.WithLabelValues(st.info.Fleet).Dec()
}

func (s *Server) replaced(fleet, nodeID, cluster string) {
	if s.Replaced != nil {
		s.Replaced(fleet, nodeID, cluster)
	}
}

// connected returns the streams of all connected Envoys.
func (s *Server) connected() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.streams))
}

// node is what an Envoy calls itself.
type node struct{ fleet, id string }

func (s *stream) node() node { return node{s.info.Fleet, s.info.NodeID} }

// Connected reports whether an Envoy has its resources from this Relay.
func (s *Server) Connected(fleet, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.nodes[node{fleet, id}]) > 0
}

// Streams returns the state of all connected Envoys, by fleet and node id.
func (s *Server) Streams() []StreamStatus {
	streams := s.connected()
	all := make([]StreamStatus, len(streams))
	for i, st := range streams {
		all[i] = st.info
		all[i].Types = st.session.status()
		all[i].NoClusters, all[i].AllClusters = st.session.noClusters(time.Now()), st.session.allClusters()
	}
	slices.SortFunc(all, func(a, b StreamStatus) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.NodeID, b.NodeID), a.Since.Compare(b.Since))
	})
	return all
}
