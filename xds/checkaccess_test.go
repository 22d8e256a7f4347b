package xds

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"relay/internal/guard"
	"relay/internal/logtest"
)

// addressOf is that of a connected Envoy.
func (f *fixture) addressOf(node string) string {
	for _, st := range f.server.Streams() {
		if st.NodeID == node {
			return st.Address
		}
	}
	f.t.Fatalf("%s is not connected", node)
	return ""
}

// An Envoy that may not have its fleet any more, such as one whose certificate
// expired since it connected, loses its connection; the others keep theirs.
func TestAccessIsChecked(t *testing.T) {
	t.Parallel()
	var expired atomic.Value
	log := &logtest.Buffer{}
	s := &secured{log: log}
	s.fixture = startServer(t, slog.NewTextHandler(log, nil), func(server *Server) {
		server.Limits.Stall = 2 * silence // it is checked four times within that, in which an Envoy has to answer
		server.Authorize = func(p *peer.Peer, _ string) error {
			if p.Addr.String() == expired.Load() {
				return errors.New("its certificate has expired")
			}
			return nil
		}
	})
	s.store.Open()
	s.wellMeaning(s.connect())
	conn, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	old, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	request := &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "old", Cluster: "edge"}, TypeUrl: listeners}
	if err := old.Send(request); err != nil {
		t.Fatal(err)
	}
	answer, err := old.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: listeners, ResponseNonce: answer.GetNonce()}); err != nil {
		t.Fatal(err)
	}
	expired.Store(s.addressOf("old"))
	s.while(func() {
		if _, err := old.Recv(); status.Code(err) != codes.PermissionDenied && status.Code(err) != codes.Unavailable {
			t.Errorf("the stream ended with %v, want PermissionDenied or a lost connection", err)
		}
		if !conn.WaitForStateChange(ctx, connectivity.Ready) {
			t.Error("the connection stays")
		}
	})
	s.counts(guard.Access, 1)
	refused := s.log.Lines("client refused")
	if len(refused) != 1 || !strings.Contains(refused[0], "has expired") || !strings.Contains(refused[0], "envoy=old fleet=edge") {
		t.Errorf("the log says %q, want one line about the Envoy", refused)
	}
	// That is logged once the connection is closed.
	waitUntil(t, "the end of the stream is logged", func() bool { return len(log.Lines("Envoy disconnected")) > 0 })
	if n := len(log.Lines("Envoy disconnected")); n != 1 {
		t.Errorf("%d Envoys were disconnected, want 1", n)
	}
}
