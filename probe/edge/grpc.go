package edge

import (
	"cmp"
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"relay/internal/failure"
	"relay/probe"
	"relay/probe/connect"
)

// GRPC asks the health check of gRPC, for the service that Path names. See
// https://github.com/grpc/grpc/blob/master/doc/health-checking.md
type GRPC struct{ *Prober }

// Probe implements probe.Prober.
func (p GRPC) Probe(ctx context.Context, t probe.Target) probe.Result {
	r := probe.Result{Target: t}
	begin := time.Now()
	conn := p.open(ctx, &r, "h2")
	if conn == nil {
		r.Duration = time.Since(begin)
		return r
	}
	defer conn.Close()
	p.check(ctx, &r, conn)
	late(&r, begin)
	return r
}

func (p GRPC) check(ctx context.Context, r *probe.Result, conn net.Conn) {
	begin := time.Now()
	client, err := grpc.NewClient("passthrough:///envoy", grpc.WithContextDialer(once(conn)), grpc.WithTransportCredentials(credentialsOf(r.Target)),
		grpc.WithAuthority(cmp.Or(r.Target.Domain, r.Target.Address)), grpc.WithUserAgent(probe.Agent), grpc.WithDisableServiceConfig(),
		grpc.WithMaxHeaderListSize(maxHead), grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxBody)), grpc.WithNoProxy())
	if err != nil {
		finish(r, "health check", begin, clean(err.Error()))
		return
	}
	defer client.Close()
	r.RequestID = connect.NewRequestID()
	ctx = metadata.AppendToOutgoingContext(ctx, probe.Header, p.Place, connect.RequestID, r.RequestID)
	var header, trailer metadata.MD
	answer, err := grpc_health_v1.NewHealthClient(client).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: r.Target.Ask.Path}, grpc.Header(&header), grpc.Trailer(&trailer))
	all := metadata.Join(header, trailer)
	finish(r, "health check", begin, "")
	if code, ok := failure.Of(first(all, failure.Header)); ok {
		judgeCode(r, code, false)
		return
	}
	if end, limited := ctx.Deadline(); limited && !time.Now().Before(end) && status.Code(err) == codes.Unavailable {
		err = status.FromContextError(context.DeadlineExceeded).Err() // the connection has the same end, and is told of it first by chance
	}
	seen := inGRPCWords(answer, err)
	r.Answered = len(all) > 0 || !slices.Contains([]codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.Canceled}, status.Code(err))
	if r.OK = seen == ""; !r.OK {
		fail(r, seen)
	}
}

func first(md metadata.MD, name string) string {
	if values := md.Get(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// inGRPCWords says what was wrong; the text of an error is an app's, and stays out.
func inGRPCWords(answer *grpc_health_v1.HealthCheckResponse, err error) string {
	switch code := status.Code(err); {
	case err == nil && answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING:
		return ""
	case err == nil:
		return "the health check says " + answer.GetStatus().String()
	case code == codes.DeadlineExceeded, code == codes.Canceled:
		return "no answer in time"
	case code == codes.Unimplemented:
		return "the app has no health check (grpc.health.v1.Health)"
	case code == codes.NotFound:
		return "the health check knows no such service"
	default:
		return "the call ended with " + code.String()
	}
}

// once gives out a connection, and never another one.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	var used atomic.Bool
	return func(context.Context, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("the connection is used up")
		}
		return conn, nil
	}
}

// made are credentials of a connection that has TLS already: requests say https.
type made struct {
	credentials.TransportCredentials
}

func credentialsOf(t probe.Target) credentials.TransportCredentials {
	if t.TLS {
		return made{insecure.NewCredentials()}
	}
	return insecure.NewCredentials()
}

// Info implements credentials.TransportCredentials.
func (made) Info() credentials.ProtocolInfo { return credentials.ProtocolInfo{SecurityProtocol: "tls"} }

// Clone implements credentials.TransportCredentials.
func (m made) Clone() credentials.TransportCredentials { return m }
