package marathon

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/r3labs/sse/v2"

	"relay/internal/cputest"
	"relay/internal/panics"
)

// TestLargeEventTakesLinearTime has one large event cost about as much as many small
// ones of the same size together. The library alone takes 50 times as long.
func TestLargeEventTakesLinearTime(t *testing.T) {
	// It is not parallel: cpu counts the whole process.
	const size, pieces = 8 << 20, 64
	read := func(events int) time.Duration {
		event := "event: deployment_info\r\ndata: " + strings.Repeat("x", size/events) + "\r\n\r\n"
		return cputest.Process(func() {
			list, err := readMessages(&inPackets{strings.NewReader(strings.Repeat(event, events))}, 2*size)
			if !errors.Is(err, errStreamEnded) || len(list) != events {
				t.Errorf("%d events, %v; want %d", len(list), err, events)
			}
		})
	}
	small, large := read(pieces), read(1)
	if large > 5*small+50*time.Millisecond {
		t.Errorf("one event of %d MB took %s, %d events of the same size in sum %s", size>>20, large, pieces, small)
	}
}

// inPackets reads as from a network.
type inPackets struct{ io.Reader }

func (r *inPackets) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1400)]) }

// TestReadsOfTheLibrary counts how often the library searches what it has: once for
// each Read.
func TestReadsOfTheLibrary(t *testing.T) {
	t.Parallel()
	small, large := "data: 1\n\n", "data: "+strings.Repeat("x", 16<<20)+"\n\n"
	for _, tt := range []struct {
		name, stream string
		events, most int
	}{
		{"many in a packet", strings.Repeat(small, 1000), 1000, 1400},
		{"a large one", large, 1, 15},
		{"large ones", strings.Repeat(large, 4), 4, 25},
	} {
		body := &countingReader{Reader: newEventBody(io.NopCloser(&inPackets{strings.NewReader(tt.stream)}), 32<<20)}
		library := sse.NewEventStreamReader(body, 64<<20)
		events := 0
		for {
			if _, err := library.ReadEvent(); err != nil {
				break
			}
			events++
		}
		if events != tt.events || body.reads > tt.most {
			t.Errorf("%s: %d events in %d reads, want %d in at most %d", tt.name, events, body.reads, tt.events, tt.most)
		}
	}
}

type countingReader struct {
	io.Reader
	reads int
}

func (c *countingReader) Read(p []byte) (int, error) {
	c.reads++
	return c.Reader.Read(p)
}

// chatter sends events until its reader goes.
func chatter(out *io.PipeWriter) {
	event := "data: {\"eventType\":\"status_update_event\",\"appId\":\"/a\"}\r\n\r\n"
	_, err := out.Write([]byte(attachedEvent + strings.Repeat(event, 100)))
	for err == nil {
		time.Sleep(time.Second)
		_, err = out.Write([]byte(event))
	}
}

// TestEventsLeaveNothingBehind ends the reading of events in all ways. A goroutine that
// is left makes synctest.Test fail.
func TestEventsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut off")
	for _, tt := range []struct {
		name   string
		events func(*io.PipeWriter)
		each   func(n int, cancel context.CancelFunc)
		calls  int
		ok     func(error) bool
	}{
		{"a panic at the first event", chatter, func(int, context.CancelFunc) { panic("for the test") }, 1, panics.Is},
		{"a panic at a later event", chatter, func(n int, _ context.CancelFunc) {
			if n == 7 {
				panic("for the test")
			}
		}, 7, panics.Is},
		{"the context ends", chatter, func(n int, cancel context.CancelFunc) {
			if n == 103 {
				cancel()
			}
		}, 103, func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"the stream ends", func(out *io.PipeWriter) {
			_, _ = out.Write([]byte(attachedEvent + "data: cut"))
			out.Close()
		}, nil, 1, func(err error) bool { return err.Error() == "events: "+errStreamEnded.Error() }},
		{"the stream fails", func(out *io.PipeWriter) {
			_, _ = out.Write([]byte(attachedEvent + "data: cut"))
			out.CloseWithError(cut)
		}, nil, 1, func(err error) bool { return err.Error() == "events: "+cut.Error() }},
		{"the connection is refused", nil, nil, 0, func(err error) bool {
			return err.Error() == "subscribe to events: m1/v2/events: refused"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{events: tt.events}
				c := newScripted(t, s, "http://m1").client
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				calls := 0
				err := c.events(ctx, target{base: c.servers[0].url, origin: c.servers[0]}, 1000, func(target, string) {}, func(message) {
					calls++
					if tt.each != nil {
						tt.each(calls, cancel)
					}
				})
				if err == nil || !tt.ok(err) || calls != tt.calls {
					t.Errorf("%v after %d events, want %d", err, calls, tt.calls)
				}
				if len(s.requests) != 1 {
					t.Errorf("the requests are %q, want one", s.requests)
				}
				synctest.Wait()
				time.Sleep(time.Minute) // whoever writes the stream notices
			})
		})
	}
}

// panicking panics when it is read.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("for the test") }

// TestPanicInTheBody panics on the goroutine of the library.
func TestPanicInTheBody(t *testing.T) {
	t.Parallel()
	list, err := readMessages(io.MultiReader(iotest.OneByteReader(strings.NewReader("data: 1\n\n")), panicking{}), 1000)
	if !panics.Is(err) || len(list) != 1 {
		t.Errorf("%d events, %v; want one and the panic", len(list), err)
	}
}
