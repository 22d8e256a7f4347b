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

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Server serves the aggregated discovery service to Envoys, incrementally. An
// Envoy gets the resources of the fleet that its node.cluster names.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	// TLS secures the port; nil serves in plain text.
	TLS *tls.Config
	// Authorize, when set, decides whether the Envoy behind a connection may have
	// what is in a fleet's store. Its error is logged and sent to the Envoy.
	Authorize func(p *peer.Peer, fleet string) error
	// Limits are DefaultLimits unless set before Serve.
	Limits Limits

	connections *connections
	stores      map[string]*Store
	log         *slog.Logger
	metrics     *metrics
	admission   admission

	mu      sync.Mutex
	streams map[*stream]struct{}
}

// NewServer returns a server for the given stores, by fleet.
func NewServer(stores map[string]*Store, logger *slog.Logger, registerer prometheus.Registerer) *Server {
	return &Server{
		stores: stores, log: logger, metrics: newMetrics(registerer, stores), streams: make(map[*stream]struct{}),
		admission: newAdmission(), Limits: DefaultLimits(),
	}
}

// maxRequest bounds one request: a first request names every resource that an
// Envoy has, about 100 bytes each.
const maxRequest = 64 << 20

// window is how much of a request an Envoy may send ahead. Were it not fixed,
// each ACK would be followed by a ping, to find out what is best.
const window = 1 << 20

// Serve serves until ctx ends, and then closes all streams: they would not end
// by themselves. Envoys keep what they have and look for another Relay.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	creds := insecure.NewCredentials()
	if s.TLS != nil {
		creds = credentials.NewTLS(s.TLS)
	}
	g := grpc.NewServer(
		grpc.Creds(creds),
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: s.Limits.Stall}),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnknownServiceHandler(refuseService),
	)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	s.connections = track(l)
	if err := g.Serve(s.connections); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve xDS on %s: %w", l.Addr(), err)
	}
	return ctx.Err()
}

// StreamAggregatedResources refuses the state-of-the-world variant.
func (s *Server) StreamAggregatedResources(discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return status.Error(codes.Unimplemented,
		"Relay speaks incremental xDS only: set api_type: DELTA_GRPC in the bootstrap's ads_config (see relay bootstrap)")
}

// authorized refuses an Envoy that may not have what it asks for.
func (s *Server) authorized(g grpc.ServerStream, node, fleet string) error {
	if s.Authorize == nil {
		return nil
	}
	p, ok := peer.FromContext(g.Context())
	if !ok {
		return status.Error(codes.Internal, "a connection without a peer")
	}
	if err := s.Authorize(p, fleet); err != nil {
		s.log.Warn("Envoy refused", "node", node, "fleet", fleet, "address", p.Addr, "reason", err)
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return nil
}

func refuseService(_ any, g grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(g)
	return status.Errorf(codes.Unimplemented,
		"Relay serves aggregated discovery only, not %s: use ads: {} as the config source (see relay bootstrap)", method)
}

func (s *Server) fleets() []string { return slices.Sorted(maps.Keys(s.stores)) }

func (s *Server) add(st *stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) >= s.Limits.Streams {
		s.log.Warn("Envoy refused: too many are connected", "node", st.info.NodeID, "limit", s.Limits.Streams)
		return status.Errorf(codes.ResourceExhausted, "%d Envoys are connected, more are not allowed", len(s.streams))
	}
	s.streams[st] = struct{}{}
	s.metrics.streams.WithLabelValues(st.info.Fleet).Inc()
	return nil
}

func (s *Server) remove(st *stream) {
	st.session.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
	s.metrics.streams.WithLabelValues(st.info.Fleet).Dec()
}

// Streams returns the state of all connected Envoys, by fleet and node id.
func (s *Server) Streams() []StreamStatus {
	s.mu.Lock()
	streams := slices.Collect(maps.Keys(s.streams))
	s.mu.Unlock()
	all := make([]StreamStatus, len(streams))
	for i, st := range streams {
		all[i] = st.info
		all[i].Types = st.session.status()
	}
	slices.SortFunc(all, func(a, b StreamStatus) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.NodeID, b.NodeID), a.Since.Compare(b.Since))
	})
	return all
}
