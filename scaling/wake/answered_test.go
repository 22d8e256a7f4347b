package wake

import (
	"context"
	"testing"

	"google.golang.org/grpc/stats"

	"relay/internal/authz"
	"relay/internal/ratelimit"
)

// An Envoy was told when the answer has ended: not before, and not by other calls.
func TestAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	s := newWorld(t, Config{}).Service
	for _, method := range []string{authz.Method, ratelimit.Method} {
		told := 0
		ctx := s.TagRPC(context.Background(), &stats.RPCTagInfo{FullMethodName: method})
		whenAnswered(ctx, func() { told++ })
		s.HandleRPC(ctx, &stats.OutPayload{})
		if told != 0 {
			t.Errorf("%s: told before the answer ended", method)
		}
		if s.HandleRPC(ctx, &stats.End{}); told != 1 {
			t.Errorf("%s: told %d times", method, told)
		}
	}
	other := s.TagRPC(context.Background(), &stats.RPCTagInfo{FullMethodName: "/other/Method"})
	s.HandleRPC(other, &stats.End{})
	told := false
	if whenAnswered(other, func() { told = true }); !told {
		t.Error("without the handler nobody is told")
	}
}
