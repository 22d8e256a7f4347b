package marathontest

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEventStreamOnTheWire(t *testing.T) {
	t.Parallel()
	opts := quick
	opts.Heartbeat = 5 * time.Millisecond
	s := Start(t, opts)
	w := dialEvents(t, s, "?plan-format=light&event_type=x_event")
	want := []string{"HTTP/1.1 200 OK", "Content-Type: text/event-stream;charset=utf-8", "Connection: close"}
	if got := w.header(); !slices.Equal(got, want) {
		t.Errorf("header %q, want %q", got, want)
	}
	beat := make([]byte, 4)
	if _, err := io.ReadFull(w.r, beat); err != nil || string(beat) != "\r\n\r\n" {
		t.Errorf("heartbeats %q, %v", beat, err)
	}
	s.CutStreams()
	if rest, err := io.ReadAll(w.r); err != nil || strings.Trim(string(rest), "\r\n") != "" {
		t.Errorf("after the cut: %q, %v", rest, err)
	}
}

func TestEventStreamFilterAndOrder(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	all := dialEvents(t, s, "")
	all.header()
	if name, payload := all.event(); name != "event_stream_attached" || payload["remoteAddress"] != "127.0.0.1" || payload["eventType"] != name {
		t.Fatalf("first event %s %v", name, payload)
	}
	some := dialEvents(t, s, "?event_type=b_event&event_type=c_event")
	some.header()
	all.event() // the attachment of some
	for _, e := range []string{"a_event", "b_event", "c_event"} {
		s.Publish(e, map[string]any{"n": 1})
	}
	for w, want := range map[*wire][]string{all: {"a_event", "b_event", "c_event"}, some: {"b_event", "c_event"}} {
		for _, name := range want {
			if got, payload := w.event(); got != name || payload["n"] != 1.0 {
				t.Errorf("got %s %v, want %s", got, payload, name)
			}
		}
	}
}

func TestEventStreamAccept(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	for _, accept := range []string{"*/*", "text/event-stream, */*", "text/event-stream;q=1", "application/json", ""} {
		if status, _, _ := call(t, "GET", s.URL()+"/v2/events", "", "Accept", accept); status != 405 {
			t.Errorf("Accept %q: %d, want 405", accept, status)
		}
	}
}

func TestStreamFaults(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	w := dialEvents(t, s, "")
	w.header()
	w.event()

	s.HoldEvents(true)
	s.Publish("a_event", nil)
	s.HoldEvents(false)
	s.DropEvents(true)
	s.Publish("lost_event", nil)
	s.DropEvents(false)
	s.Publish("b_event", nil)
	for _, want := range []string{"a_event", "b_event"} {
		if got, _ := w.event(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}

	s.SetStreams(StreamsSilent)
	s.Publish("c_event", nil)
	silent := dialEvents(t, s, "")
	silent.header()
	awaitType(t, s, s.LastSeq()-1, "event_stream_attached", "")
	if n := s.CutStreams(); n != 2 {
		t.Errorf("cut %d streams, want 2", n)
	}
	w.end()
	silent.end()

	s.SetStreams(StreamsEnd)
	w = dialEvents(t, s, "")
	w.header()
	w.end()
}

func TestSlowConsumerIsDisconnected(t *testing.T) {
	t.Parallel()
	s := Start(t, quick)
	w := dialEvents(t, s, "")
	w.header()
	w.event()
	filler := strings.Repeat("x", 1<<20)
	for range outstanding + 200 {
		if s.Streams() == 0 {
			break
		}
		s.Publish("big_event", map[string]any{"filler": filler[:64<<10]})
	}
	if n := s.Streams(); n != 0 {
		t.Errorf("%d streams, want 0", n)
	}
}

func TestEventLog(t *testing.T) {
	t.Parallel()
	var hooked []uint64
	opts := quick
	opts.OnEvent = func(e Event) { hooked = append(hooked, e.Seq) }
	s := Start(t, opts)
	for i := range 3 {
		s.Publish(fmt.Sprintf("e%d_event", i), map[string]any{"appId": "/a"})
	}
	log := s.Events()
	if len(log) != 3 || log[2].Seq != 3 || log[2].App != "/a" || log[2].Time.Before(log[0].Time) || len(hooked) != 3 {
		t.Errorf("log %+v, hook saw %v", log, hooked)
	}
	if e := awaitType(t, s, 1, "e2_event", ""); e.Seq != 3 {
		t.Errorf("AwaitEvent found %d", e.Seq)
	}
}
