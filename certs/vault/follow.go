package vault

import (
	"context"
	"time"

	"relay/internal/coalesce"
)

// follow reads when somebody asks for it, and works when it is time to, until the context ends.
func follow(ctx context.Context, reloads *coalesce.Requests, wakeAt func(now time.Time) time.Time, read, work func(context.Context)) error {
	for {
		timer := time.NewTimer(time.Until(wakeAt(time.Now())))
		select {
		case <-ctx.Done():
		case <-reloads.Wanted():
			read(ctx)
		case <-timer.C:
			work(ctx)
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
