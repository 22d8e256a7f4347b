package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"relay/internal/guard"
)

type deltaStream = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer

// stream serves one Envoy: one goroutine receives, the other decides and sends.
type stream struct {
	server  *Server
	grpc    deltaStream
	conn    *envoyConn
	session *session
	log     *slog.Logger
	info    StreamStatus
	host    string
	// pace limits requests that answer nothing.
	pace *rate.Limiter
	// watchdog is for an Envoy that does not read.
	watchdog *watchdog
}

// DeltaAggregatedResources serves an Envoy for as long as it stays connected.
func (s *Server) DeltaAggregatedResources(g deltaStream) error {
	ctx := g.Context()
	if err := s.refuseUnauthorized(ctx); err != nil {
		return err
	}
	conn, done := s.conns.ofStream(remoteAddress(ctx))
	defer done()
	first := new(request)
	if err := firstRequest(ctx, s.Limits.FirstRequest, conn.waitingTime, func() error { return receiveMsg(g, first) }); err != nil {
		return s.ended(ctx, nil, err)
	}
	conn.assign(first)
	defer conn.release(first.reservation)
	defer s.connections.Use(remoteAddress(ctx))()
	st, err := s.begin(g, conn, first)
	if err != nil {
		return ignoreEnd(err)
	}
	defer s.remove(st)
	node := first.GetNode()
	// An Envoy that comes again and again to be refused is logged as refused.
	level := slog.LevelInfo
	if s.refusals.Recent(st.info.Address, guard.Request, node.GetId()) {
		level = slog.LevelDebug
	}
	st.log.Log(ctx, level, "Envoy connected", "event", "envoy_connected", "version", st.info.Version, "address", st.info.Address)
	s.tellAge(st)
	err = st.run(ctx, first)
	st.log.Log(ctx, level, "Envoy disconnected", "event", "envoy_disconnected", "reason", reason(err))
	return s.ended(ctx, node, err)
}

// begin parses the first request, and makes a stream if the Envoy may have one.
func (s *Server) begin(g deltaStream, conn *envoyConn, first *request) (*stream, error) {
	ctx := g.Context()
	var malformed error
	if err := s.workSlots.do(ctx, first.weight(), func() { malformed = first.parse() }); err != nil {
		return nil, err
	}
	if malformed != nil {
		return nil, s.ended(ctx, nil, malformed)
	}
	return s.newStream(g, conn, first.GetNode())
}

// ended returns how a stream ends, and logs it when the client is to blame.
func (s *Server) ended(ctx context.Context, node *corev3.Node, err error) error {
	switch err = ignoreEnd(err); status.Code(err) {
	case codes.DeadlineExceeded:
		if node == nil {
			return s.refuse(ctx, guard.Silent, nil, err)
		}
	case codes.InvalidArgument, codes.ResourceExhausted, codes.Unimplemented:
		return s.refuse(ctx, guard.Request, node, err)
	}
	return err
}

// newStream makes a stream for an Envoy, if that may have one.
func (s *Server) newStream(g deltaStream, conn *envoyConn, node *corev3.Node) (*stream, error) {
	ctx := g.Context()
	store, err := s.storeFor(ctx, node)
	if err != nil {
		return nil, err
	}
	envoy := newEnvoyNode(node)
	st := &stream{server: s, grpc: g, conn: conn, session: newSession(store, envoy), info: StreamStatus{envoy: envoy,
		Fleet: node.GetCluster(), NodeID: node.GetId(), Version: envoy.version, Zone: node.GetLocality().GetZone(),
		Address: remoteAddress(ctx), Since: time.Now(), CertificateExpires: certificateExpires(ctx),
	}}
	st.host, _, _ = net.SplitHostPort(st.info.Address)
	st.log = s.log.With("envoy", st.info.NodeID, "fleet", st.info.Fleet)
	st.pace = s.Limits.pace()
	st.watchdog = newWatchdog(s.Limits.Stall, s.catching(ctx, st.closeStalled))
	if err := s.add(st); err != nil {
		st.session.close()
		return nil, s.refuse(ctx, guard.TooMany, node, err)
	}
	return st, nil
}

// run serves the Envoy until the stream ends. It returns nil, or a status that tells Envoy why.
func (s *stream) run(ctx context.Context, first *request) error {
	requests := make(chan *request)
	ended := make(chan error, 1)
	go s.receive(ctx, requests, ended)
	err := s.follow(ctx, first, requests, ended)
	if ctx.Err() != nil {
		// gRPC ends a stream whose request it does not take; only this says why.
		if received := <-ended; received != nil {
			return ignoreEnd(received)
		}
	}
	return err
}

// follow handles requests and sends what changes.
func (s *stream) follow(ctx context.Context, first *request, requests <-chan *request, ended <-chan error) error {
	// This comes before the first request, so that no opening of a type is missed: the request
	// is kept if its type is not open.
	opened := s.session.store.nextOpening()
	if err := s.receiveOne(ctx, first); err != nil {
		return ignoreEnd(err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	check := time.NewTicker(s.server.Limits.Stall / 4)
	defer check.Stop()
	for {
		retryAt, err := s.send(ctx)
		if err != nil {
			return ignoreEnd(err)
		}
		timer.Stop()
		var retry <-chan time.Time
		if !retryAt.IsZero() {
			timer.Reset(time.Until(retryAt))
			retry = timer.C
		}
		select {
		case req := <-requests:
			if err := s.receiveOne(ctx, req); err != nil {
				return ignoreEnd(err)
			}
		case <-s.session.wake:
		case <-opened:
			opened = s.session.store.nextOpening()
			s.session.handleKept(time.Now())
			if err := s.endIfOutdated(ctx); err != nil {
				return err
			}
		case <-retry:
		case <-check.C:
			if err := s.checkAccess(ctx); err != nil {
				return err
			}
			if since := s.session.unansweredSince(); !since.IsZero() && time.Since(since) > s.server.Limits.Stall {
				s.closeStalled()
				return status.Errorf(codes.DeadlineExceeded, "no answer to a response for %s", s.server.Limits.Stall)
			}
		case err := <-ended:
			return ignoreEnd(err)
		case <-ctx.Done():
			return nil
		}
	}
}

// endIfOutdated ends the stream of an Envoy that has something newer than this Relay.
func (s *stream) endIfOutdated(ctx context.Context) error {
	err := s.session.outdatedError()
	if err == nil {
		return nil
	}
	return s.server.refuse(ctx, guard.Outdated, &corev3.Node{Id: s.info.NodeID, Cluster: s.info.Fleet}, err)
}

// checkAccess closes the connection of an Envoy that may not have its fleet any more. It is not
// enough to end the stream: another one on the connection would show the same certificate.
func (s *stream) checkAccess(ctx context.Context) error {
	p, ok := peer.FromContext(ctx)
	if s.server.Authorize == nil || !ok {
		return nil
	}
	err := s.server.Authorize(p, s.info.Fleet)
	if err == nil {
		return nil
	}
	defer s.server.connections.CloseConn(s.info.Address)
	node := &corev3.Node{Id: s.info.NodeID, Cluster: s.info.Fleet}
	return s.server.refuse(ctx, guard.Access, node, status.Error(codes.PermissionDenied, err.Error()))
}

// closeStalled closes the connection of an Envoy that does not read, or does not answer.
// Otherwise what is to be sent to it would stay in memory.
func (s *stream) closeStalled() {
	s.server.refusals.Refuse(s.info.Address, guard.Refusal{Kind: guard.Stalled, Who: s.info.NodeID, Reason: fmt.Sprintf(
		"it did not read or answer what it was sent for %s: its connection is closed; see its log, and how busy it is", s.server.Limits.Stall)},
		"node", s.info.NodeID, "fleet", s.info.Fleet)
	s.server.connections.CloseConn(s.info.Address)
}

// receive hands on what the Envoy sends, until the stream ends.
func (s *stream) receive(ctx context.Context, requests chan<- *request, ended chan<- error) {
	defer close(ended)
	for {
		req := new(request)
		if err := receiveMsg(s.grpc, req); err != nil {
			ended <- err
			return
		}
		s.conn.assign(req)
		select {
		case requests <- req:
		case <-ctx.Done():
			s.conn.release(req.reservation)
			return
		}
	}
}

// receiveOne handles a request.
func (s *stream) receiveOne(ctx context.Context, req *request) error {
	var (
		t         Type
		known     bool
		answer    bool
		rejection *Rejection
		malformed error
	)
	defer s.conn.release(req.reservation) // after a panic too
	err := s.server.workSlots.do(ctx, req.weight(), func() {
		if malformed = req.parse(); malformed != nil {
			return
		}
		if t, known = TypeOf(req.GetTypeUrl()); known {
			if malformed = s.server.Limits.tooMany(t, s.session.nameCount(t)+len(req.subscribe)); malformed != nil {
				return
			}
			answer = s.session.isAnswer(t, req.GetResponseNonce())
			rejection = s.session.handleRequest(t, req, time.Now())
		}
	})
	s.conn.release(req.reservation)
	if err != nil {
		return err
	}
	if malformed != nil {
		return malformed
	}
	if !known {
		if err := s.refuseType(req); err != nil {
			return err
		}
		return s.pace.Wait(ctx)
	}
	if err := s.endIfOutdated(ctx); err != nil {
		return err
	}
	s.server.metrics.requests[t].Inc()
	if rejection != nil {
		s.rejected(t, rejection)
	}
	if names := s.session.takeNoLongerStale(); len(names) > 0 {
		s.log.Info("Envoy has acknowledged what had been rejected", "event", "rejection_ended", "type", t, "resources", len(names), "first", names[0])
	}
	if answer {
		return nil
	}
	return s.pace.Wait(ctx)
}

// rejected logs and counts what an Envoy rejected. Of each resource it logs an error twice at
// most: when a first Envoy of a version rejects it, and when a second one does.
func (s *stream) rejected(t Type, rejection *Rejection) {
	s.server.metrics.rejections[s.info.Fleet][t].Inc()
	log := s.log.With("type", t, "version", s.info.Version, "error", rejection.Message)
	switch rejection.Reach {
	case OneEnvoy:
		log.Error("Envoy rejected a resource: it goes on with the version it had, if it had one, and is offered this one again from time to time; other Envoys are sent it", "event", "resource_rejected",
			"resource", rejection.Names[0])
	case EnvoyVersion:
		log.Error("several Envoys of one version rejected a resource: others of the version keep the last good one until it changes", "event", "resource_quarantined",
			"resource", rejection.Names[0])
	case Repeated:
		log.Debug("Envoy rejected a resource that it or others had rejected before", "event", "rejection_repeated", "resource", rejection.Names[0])
	case Searching:
		log.Debug("Envoy rejected a response; its parts are sent again", "event", "response_rejected", "revision", rejection.Revision, "resources", len(rejection.Names))
	}
}

// refuseType answers a request for a type that Relay does not serve: there is no such resource.
// So an Envoy that is configured for the type does not wait for ever.
func (s *stream) refuseType(req *request) error {
	if req.GetResponseNonce() != "" {
		return nil
	}
	s.server.refusals.Refuse(s.info.Address, guard.Refusal{
		Kind: guard.Type, Who: s.info.NodeID, Reason: fmt.Sprintf("Relay does not serve %.200q: take that out of its bootstrap", req.GetTypeUrl()),
	}, "node", s.info.NodeID, "fleet", s.info.Fleet)
	return s.deliver(&discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: req.GetTypeUrl(), Nonce: "none", RemovedResources: req.subscribe,
	})
}

// send sends what may be sent now. It returns when to call it again at the latest.
func (s *stream) send(ctx context.Context) (retryAt time.Time, err error) {
	var responses []*response
	if err := s.server.workSlots.do(ctx, s.session.dueCount(), func() {
		responses, retryAt = s.session.plan(time.Now())
	}); err != nil {
		return time.Time{}, err
	}
	for _, r := range responses {
		for _, cluster := range r.replaced {
			s.server.replaced(s.info.Fleet, s.info.NodeID, cluster)
		}
		if err := s.deliver(r); err != nil {
			return time.Time{}, err
		}
		m := s.server.metrics
		m.responses[r.typ].Inc()
		m.resources[r.typ].Add(float64(r.resources))
		m.removals[r.typ].Add(float64(r.removed))
		m.bytes[r.typ].Add(float64(r.size))
	}
	return retryAt, nil
}

// deliver sends a response. It waits until the Envoy reads, or the watchdog closes the
// connection.
func (s *stream) deliver(response any) error {
	return s.conn.whileSending(func() error {
		return s.watchdog.during(func() error { return s.grpc.SendMsg(response) })
	})
}

// ignoreEnd returns nil for an error by which a stream ends normally.
func ignoreEnd(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}

// reason says why a stream ended.
func reason(err error) string {
	if err == nil {
		return "stream ended"
	}
	return err.Error()
}
