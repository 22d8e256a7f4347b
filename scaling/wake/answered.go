package wake

import (
	"context"

	"google.golang.org/grpc/stats"

	"relay/internal/authz"
	"relay/internal/ratelimit"
)

// answered has what is to be done when gRPC has ended the answer to a check. Envoy acts on an answer when
// it has ended, and gRPC ends it some time after the method has returned.
type answered struct{ sent func() }

type answeredKey struct{}

// whenAnswered calls sent when the answer to the check with a context has ended; at once if the gRPC server
// was not given the Service as its stats.Handler.
func whenAnswered(ctx context.Context, sent func()) {
	if a, ok := ctx.Value(answeredKey{}).(*answered); ok {
		a.sent = sent
		return
	}
	sent()
}

var _ stats.Handler = (*Service)(nil)

// TagRPC implements stats.Handler, by which the next request is let through when Envoy was told of the
// one before.
func (s *Service) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if m := info.FullMethodName; m != authz.Method && m != ratelimit.Method {
		return ctx
	}
	return context.WithValue(ctx, answeredKey{}, new(answered))
}

// HandleRPC implements stats.Handler.
func (s *Service) HandleRPC(ctx context.Context, event stats.RPCStats) {
	if _, ends := event.(*stats.End); !ends {
		return
	}
	if a, ok := ctx.Value(answeredKey{}).(*answered); ok && a.sent != nil {
		a.sent()
	}
}

// TagConn implements stats.Handler.
func (s *Service) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (s *Service) HandleConn(context.Context, stats.ConnStats) {}
