package wake

import (
	"context"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/internal/failure"
	"relay/internal/questions"
)

// outcome is what becomes of a request. Its text is the reason in metrics.
type outcome string

const (
	waits       outcome = ""
	through     outcome = "through"
	timedOut    outcome = "timeout"
	crashed     outcome = "crashed"
	left        outcome = "left"        // the client is gone
	unavailable outcome = "unavailable" // another Relay is to be asked
	fullApp     outcome = "app_full"
	fullNetwork outcome = "network_full"
	fullInAll   outcome = "full"
	ignored     outcome = "ignored"
	shownPage   outcome = "page"
)

// check answers one check.
func (s *Service) check(g grpc.ServerStream, admit questions.Admit) error {
	var r request
	done, err := admit(g.Context(), func() (*corev3.Node, error) {
		raw, err := questions.Receive(g, "a check", maxCheck)
		if err == nil {
			r, err = parse(raw, questions.FleetOf(g.Context()))
		}
		return &corev3.Node{Id: r.node, Cluster: r.fleet}, err
	})
	if err != nil {
		return err
	}
	defer done()
	answer, sent, err := s.decide(g.Context(), r)
	defer whenAnswered(g.Context(), sent)
	if err != nil {
		return err
	}
	return g.SendMsg(answer)
}

// decide returns what Envoy is told of a request, after a while perhaps. Sent is to be called when
// it was told.
func (s *Service) decide(ctx context.Context, r request) (answer *authv3.CheckResponse, sent func(), err error) {
	o, state, h := s.outcome(ctx, r)
	if h == nil {
		sent = func() {}
	} else {
		sent = func() { close(h.sent) }
	}
	answer, err = s.answer(o, state)
	return answer, sent, err
}

// outcome returns what becomes of a request, the state of its app, and the request if it was held.
func (s *Service) outcome(ctx context.Context, r request) (outcome, State, *held) {
	if !s.envoys.Serves(r.fleet, r.node) {
		return unavailable, State{}, nil
	}
	ignores := s.config.Ignored != nil && s.config.Ignored.Ignored(r.userAgent, r.client)
	r.userAgent = ""
	state, _ := s.state(r.fleet, r.app, r.port)
	if !ignores && state.Phase != foreign {
		s.apps.Used(r.app, r.port)
	}
	switch {
	case state.Phase == Unknown, state.Phase == foreign:
		return through, state, nil // it gets what this Envoy has for it
	case state.Phase == unread && ignores:
		return unavailable, state, nil // it must wake nothing, and Envoy asks again
	case ignores:
		// Also while the app falls asleep: Envoy would count the request as use of it.
		return ignored, state, nil
	case state.Phase == Running, state.Phase == unread:
	case state.Phase == Failed:
		return crashed, state, nil
	case state.Page && r.browser:
		s.show(r, state)
		return shownPage, state, nil
	}
	o, h := s.hold(ctx, r, state)
	if o == timedOut {
		state, _ = s.state(r.fleet, r.app, r.port)
	}
	return o, state, h
}

// state returns what is known of a port of an app for an Envoy of a fleet, and a channel that is closed
// when that is something else.
func (s *Service) state(fleet, app string, port int) (State, <-chan struct{}) {
	select {
	case <-s.config.Known:
	default:
		if s.config.Known != nil {
			return State{Phase: unread}, s.config.Known
		}
	}
	if s.config.Of != nil && !s.config.Of(fleet, app, port) {
		return State{Phase: foreign}, nil
	}
	return s.apps.State(app, port)
}

// hold has a request wait for its answer. It is nil if it could not wait.
func (s *Service) hold(ctx context.Context, r request, state State) (outcome, *held) {
	start := time.Now()
	h, o := s.join(r, start)
	if h == nil {
		return o, nil
	}
	limit := state.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o = <-h.answer:
	case <-timer.C:
		o = s.leave(h, timedOut)
	case <-ctx.Done():
		o = s.leave(h, left)
	}
	s.metrics.hold.WithLabelValues(string(o)).Observe(time.Since(start).Seconds())
	return o, h
}

// answer makes an answer of an outcome, and counts it unless the request goes through.
func (s *Service) answer(o outcome, state State) (*authv3.CheckResponse, error) {
	if o == through {
		return letThrough(), nil
	}
	s.metrics.refused.WithLabelValues(string(o)).Inc()
	switch o {
	case crashed:
		return denied(failure.StatusCrashed, "", header("retry-after", retryAfter)), nil
	case ignored:
		return denied(failure.StatusAsleep, "The application is asleep."), nil
	case shownPage:
		return page(progress(state)), nil
	case left:
		return nil, status.Error(codes.Canceled, "the client is gone")
	case unavailable:
		return nil, status.Error(codes.Unavailable, "this Relay does not serve the Envoy: ask the next one")
	case fullApp, fullNetwork, fullInAll:
		s.logFull(o)
		return starting("The application is starting, and too many wait for that. Please try again in a moment."), nil
	}
	if state.Phase == Unavailable {
		return starting(progress(State{Phase: Unavailable})), nil
	}
	return starting("The application takes long to start. Please try again in a moment."), nil
}

// logFull logs now and then that there is no room for a request.
func (s *Service) logFull(o outcome) {
	s.full.Do(func() {
		s.log.Warn("a request could not wait for its app: as many wait as may", "event", "wake_full", "reason", string(o),
			"per_app", s.config.WaitingPerApp, "in_all", s.config.WaitingInAll)
	})
}
