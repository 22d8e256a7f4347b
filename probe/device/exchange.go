package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"relay/probe"
	"relay/probe/connect"
)

const (
	// maxCame bounds what is kept of what came, in bytes; maxPieces in how many pieces it may come in all, as
	// each is looked at.
	maxCame   = 16 << 10
	maxPieces = 1000
)

// exchange makes the step that sends and then waits for what has to come.
func (r *run) exchange(x *probe.DeviceExchange) func(context.Context) error {
	return func(ctx context.Context) error {
		defer r.until(ctx)()
		err := r.send(ctx, x)
		if err == nil && x.Expect != "" {
			err = r.await(x.Expect)
		}
		return err
	}
}

// until has the connection end its waits with a context, until it is called.
func (r *run) until(ctx context.Context) (done func()) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = r.conn.SetDeadline(deadline)
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = r.conn.SetDeadline(time.Unix(1, 0))
		close(ended)
	})
	return func() {
		if !stop() {
			<-ended // so that it does not end what comes next
		}
	}
}

// send sends what an exchange has, over the connection and by HTTP.
func (r *run) send(ctx context.Context, x *probe.DeviceExchange) error {
	if x.Send != "" {
		if _, err := r.conn.Write(r.values.bytes(x.Send)); err != nil {
			return r.ended(err)
		}
	}
	if x.Request != nil {
		return r.request(ctx, x.Request)
	}
	return nil
}

// await waits until what came has a text that fits.
func (r *run) await(pattern string) error {
	wanted, err := probe.DeviceExpectation(pattern, r.values)
	if err != nil {
		return err
	}
	piece := make([]byte, 4096)
	for {
		if at := wanted.FindIndex(r.came); at != nil {
			r.came = r.came[at[1]:]
			return nil
		}
		if len(r.came) >= maxCame || r.pieces >= maxPieces {
			return r.unfit(pattern, "much came that does not fit")
		}
		n, err := r.conn.Read(piece[:min(len(piece), maxCame-len(r.came))])
		r.came, r.pieces = append(r.came, piece[:n]...), r.pieces+1
		if err != nil && n == 0 {
			return r.missing(pattern, err)
		}
	}
}

// missing says what came instead of a text that fits.
func (r *run) missing(pattern string, err error) error {
	// The end of the line that fit last is nothing new.
	if len(bytes.TrimSpace(r.came)) == 0 || connect.Alert(err) {
		return r.ended(err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return r.unfit(pattern, "nothing that fits came in time")
	}
	return r.unfit(pattern, "what came does not fit, and then "+connect.Say(err))
}

func (r *run) unfit(pattern, what string) error {
	return &connect.Words{Text: fmt.Sprintf("%s; %d bytes came: %s%s", what, len(r.came), r.values.shown(r.came), foreign(pattern, r.came))}
}

// foreign says that what came would fit with the id or the nonce of another one; it is empty if not.
func foreign(pattern string, came []byte) string {
	other, err := probe.DeviceExpectation(pattern, nil)
	if err != nil || !other.Match(came) {
		return ""
	}
	return ", which is for another device, or answers another message"
}

// ended says why a connection ended. A certificate that the edge does not like is known only now: see connect.Alert.
func (r *run) ended(err error) error {
	if !connect.Alert(err) {
		// What could not be sent tells less than what came before.
		if _, said := r.conn.Read(make([]byte, 1)); connect.Alert(said) {
			err = said
		}
	}
	if connect.Alert(err) {
		r.refusal = r.refused(err)
	}
	return err
}
