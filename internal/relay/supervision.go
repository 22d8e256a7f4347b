package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/thejerf/suture/v4"

	"relay/internal/panics"
	"relay/sources"
)

func (r *Relay) supervision() suture.Spec {
	return suture.Spec{
		EventHook: r.logEvent, FailureThreshold: 10, FailureDecay: 30, FailureBackoff: 2 * time.Second,
		BackoffJitter: &suture.DefaultJitter{}, Timeout: 10 * time.Second,
	}
}

// server is a part that cannot be started again, since its listener is closed
// with it: when it fails, the program ends.
type server struct {
	run func(context.Context) error
}

// Serve runs the part.
func (s server) Serve(ctx context.Context) error {
	err := s.run(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", err, suture.ErrTerminateSupervisorTree)
}

// namedPart gives a part its name in the log.
type namedPart struct {
	name string
	suture.Service
}

func (n namedPart) String() string { return n.name }

func (r *Relay) logEvent(event suture.Event) {
	switch e := event.(type) {
	case suture.EventServicePanic:
		r.log.Error("a part panicked and is started again", "event", "part_panicked", "part", e.ServiceName, "error", e.PanicMsg, "stack", e.Stacktrace)
	case suture.EventServiceTerminate:
		if err, ok := e.Err.(error); ok {
			panics.Log(r.log, err, "part", e.ServiceName) // one that it caught on a goroutine of its own
			if sources.IsLogged(err) {
				return
			}
		}
		r.log.Warn("a part failed and is started again", "event", "part_failed", "part", e.ServiceName, "error", e.Err)
	case suture.EventBackoff:
		r.log.Warn("parts fail again and again: waiting before the next start", "event", "parts_failing")
	case suture.EventStopTimeout:
		r.log.Warn("a part does not stop", "event", "part_stuck", "part", e.ServiceName)
	}
}
