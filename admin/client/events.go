package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// Event is one of the stream of events.
type Event struct {
	Name, ID string
	Data     []byte
}

// How the stream is kept.
const (
	// silence is how long a stream may say nothing, not even a heartbeat, before it is taken
	// for broken.
	silence = time.Minute
	// Between two tries there is at least leastWait, and at most mostWait.
	leastWait = time.Second
	mostWait  = 30 * time.Second
	// maxEvent bounds one event, in bytes.
	maxEvent = 16 << 20
)

// Events calls each with the events of Relay until the context ends; then its error is that of
// the context. A stream that breaks is opened again, and goes on after the last event that had
// an id; lost is told of it, and how long it waits. The first stream that cannot be had is an
// error, and so is one that Relay refuses.
func (c *Client) Events(ctx context.Context, each func(Event) error, lost func(err error, wait time.Duration)) error {
	reader := &eventReader{each: each}
	for tries, opened := 0, false; ; {
		began := reader.events
		err := c.follow(ctx, reader)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed, ok := errors.AsType[*handlerError](err); ok {
			return failed.error
		}
		opened = opened || reader.opened
		if kind := KindOf(err); !opened || err != nil && kind != Unreachable && kind != Failed {
			return err
		}
		if reader.events > began {
			tries = 0
		}
		wait := min(leastWait<<min(tries, 10), mostWait)
		wait = wait/2 + rand.N(wait/2+1)
		tries++
		lost(err, wait)
		if err := c.pause(ctx, wait); err != nil {
			return err
		}
	}
}

// pause waits, unless the context ends.
func pause(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// eventReader is what stays from one stream to the next.
type eventReader struct {
	each   func(Event) error
	lastID string
	events int
	opened bool
}

// handlerError is an error of whoever takes the events.
type handlerError struct{ error }

// follow reads one stream to its end.
func (c *Client) follow(ctx context.Context, r *eventReader) error {
	header := http.Header{"Accept": {"text/event-stream"}}
	if r.lastID != "" {
		header.Set("Last-Event-ID", r.lastID)
	}
	body, err := c.Stream(ctx, "events", nil, header)
	if err != nil {
		return err
	}
	r.opened = true
	var silent atomic.Bool
	quiet := time.AfterFunc(c.silence, func() {
		silent.Store(true)
		_ = body.Close()
	})
	defer quiet.Stop()
	defer func() { _ = body.Close() }()
	err = readEvents(body, func() { quiet.Reset(c.silence) }, func(e Event) error {
		r.events++
		if e.ID != "" {
			r.lastID = e.ID
		}
		if err := r.each(e); err != nil {
			return &handlerError{err}
		}
		return nil
	})
	if _, ok := errors.AsType[*handlerError](err); ok {
		return err
	}
	switch {
	case silent.Load():
		err = fmt.Errorf("it said nothing for %s", c.silence)
	case err == nil:
		err = errors.New("it ended")
	}
	return &Error{Kind: Unreachable, err: fmt.Errorf("the event stream of Relay at %s broke: %w", c.Address(), err)}
}

// readEvents reads a stream of events as the HTML standard has it ("Server-sent events"), with
// LF or CRLF at the ends of lines. An event that the end of the stream cuts off is dropped.
func readEvents(r io.Reader, alive func(), each func(Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var e Event
	var data []string
	size := 0
	for lines.Scan() {
		alive()
		line := lines.Text()
		if line == "" {
			if data != nil {
				e.Data = []byte(strings.Join(data, "\n"))
				if e.Name == "" {
					e.Name = "message"
				}
				if err := each(e); err != nil {
					return err
				}
			}
			e, data, size = Event{}, nil, 0
			continue
		}
		if size += len(line); size > maxEvent {
			return bufio.ErrTooLong
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.Name = value
		case "id":
			e.ID = value
		case "data":
			data = append(data, value)
		}
	}
	return lines.Err()
}

// Lines calls each with the lines of a stream until it ends or the context does, as of
// /api/v1/tail.
func Lines(r io.Reader, each func([]byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			if err := each(line); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
