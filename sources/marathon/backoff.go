package marathon

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

// unauthorizedWait is the least wait after Marathon refused the credentials,
// so that a wrong password does not lock the account.
const unauthorizedWait = 30 * time.Second

// attempts decides how long a Watcher waits before the next connection, and to which
// server that is. It is used by one connection at a time.
type attempts struct {
	min, max, reset time.Duration
	servers         int

	failures int // connections that ended, since the last long one
	server   int // index of the server to ask
	wait     time.Duration
}

// ended notes the end of a connection: how long it lasted, and whether it got as far as
// a full read. If it did not, the next connection is to the next server.
func (a *attempts) ended(err error, lasted time.Duration, synced bool) {
	if lasted >= a.reset {
		a.failures = 0
	}
	if !synced {
		a.server = (a.server + 1) % a.servers
	}
	a.wait = jitter(exponential(a.min, a.max, a.failures))
	a.failures++
	if hasStatus(err, http.StatusUnauthorized) {
		a.wait = max(a.wait, unauthorizedWait)
	}
}

// exponential returns least times 2 to the n, and at most most.
func exponential(least, most time.Duration, n int) time.Duration {
	d := least
	for range n {
		if d *= 2; d >= most {
			return most
		}
	}
	return d
}

// jitter returns a time between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// spread returns d ± 20 %.
func spread(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
