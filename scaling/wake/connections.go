package wake

import (
	"context"

	"relay/internal/ratelimit"
)

// Connection answers whether a connection to a TCP service that sleeps may go on: it may when there is
// an instance for it. It is a ratelimit.Answer. There is no page: a connection that may not go on is
// closed.
func (s *Service) Connection(ctx context.Context, q ratelimit.Question) (within bool, err error) {
	answer, sent, err := s.decide(ctx, request{fleet: q.Fleet, node: q.Node, app: q.App, port: q.Port, client: q.Client, came: q.Came})
	whenAnswered(ctx, sent)
	return err == nil && answer.GetDeniedResponse() == nil, err
}
