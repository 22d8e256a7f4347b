package edge

import (
	"context"
	"errors"
	"os"
	"time"

	"relay/probe"
)

// stays is how long a connection has to stay open: an Envoy takes it before it knows whether the app does.
const stays = 300 * time.Millisecond

// TCP connects, and sees whether the connection stays open or something is said. Where nothing is said it is not known
// whether the Envoy answers: the kernel takes connections of one that hangs.
type TCP struct{ *Prober }

// Probe implements probe.Prober.
func (p TCP) Probe(ctx context.Context, t probe.Target) probe.Result {
	r := probe.Result{Target: t}
	begin := time.Now()
	conn := p.open(ctx, &r, "")
	if conn == nil {
		r.Duration = time.Since(begin)
		return r
	}
	defer conn.Close()
	r.Answered = t.TLS
	waits := time.Now()
	_ = conn.SetReadDeadline(waits.Add(stays))
	n, err := conn.Read(make([]byte, 1))
	switch {
	case n > 0:
		err, r.Answered = nil, true
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		err = nil
		begin = begin.Add(stays) // that nothing came is no part of how long it took
	}
	seen := inWords(err, "nothing")
	if seen != "" {
		seen += " at once, as it is when no instance of the app takes it"
		r.Answered = true
	}
	r.OK = finish(&r, "stays open", waits, seen)
	late(&r, begin)
	return r
}
