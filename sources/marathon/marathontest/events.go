package marathontest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Event is one event as it was published.
type Event struct {
	// Seq numbers the events of a Server from 1.
	Seq uint64
	// Time is when the event was handed to the event streams.
	Time time.Time
	// Type is the eventType, such as "status_update_event".
	Type string
	// App is the app id named by the event, if any.
	App string
	// Data is the JSON payload.
	Data []byte
}

const (
	// outstanding is how many events may wait for one client before Marathon
	// closes its stream (event_stream_max_outstanding_messages).
	outstanding = 1024
	// logged is how many events Events keeps at least.
	logged = 20000
)

// bus hands events to the streams, in order, and remembers them.
type bus struct {
	onEvent func(Event)
	quirks  Quirks

	mu      sync.Mutex
	closed  bool
	cuts    int // how often all streams were cut
	streams map[*stream]struct{}
	mode    StreamMode
	drop    bool
	hold    bool
	held    []Event
	seq     uint64
	log     []Event
	changed chan struct{} // closed and replaced at each event
}

func newBus(onEvent func(Event), quirks Quirks) *bus {
	return &bus{onEvent: onEvent, quirks: quirks, streams: map[*stream]struct{}{}, changed: make(chan struct{})}
}

// Publish sends an event to all streams, as Marathon would: eventType and
// timestamp are added to fields. Tests use it for events that the simulation
// itself never emits.
func (s *Server) Publish(eventType string, fields map[string]any) {
	s.bus.publish(eventType, fields)
}

func (b *bus) publish(eventType string, fields map[string]any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.publishLocked(eventType, fields, false)
}

// publishLocked is publish for callers that hold b.mu. An urgent event is
// neither dropped nor held.
func (b *bus) publishLocked(eventType string, fields map[string]any, urgent bool) {
	now := time.Now()
	payload := map[string]any{"eventType": eventType, "timestamp": stamp(now)}
	for k, v := range fields {
		payload[k] = v
	}
	data, err := json.Marshal(payload)
	if err != nil {
		panic(fmt.Sprintf("marathontest: event %s has a field that is no JSON: %v", eventType, err))
	}
	b.seq++
	e := Event{Seq: b.seq, Time: now, Type: eventType, App: appOf(fields), Data: data}
	b.log = append(b.log, e)
	if len(b.log) > 2*logged {
		b.log = slices.Clone(b.log[logged:])
	}
	close(b.changed)
	b.changed = make(chan struct{})
	switch {
	case b.drop && !urgent:
	case b.hold && !urgent:
		b.held = append(b.held, e)
	default:
		b.send(e)
	}
	if b.onEvent != nil {
		b.onEvent(e)
	}
}

func appOf(fields map[string]any) string {
	for _, key := range []string{"appId", "runSpecId"} {
		if id, ok := fields[key].(string); ok {
			return id
		}
	}
	return ""
}

// send queues e for each stream. A client whose queue is full is disconnected,
// or loses e.
func (b *bus) send(e Event) {
	for st := range b.streams {
		if st.silent.Load() {
			continue
		}
		select {
		case st.queue <- e:
		default:
			if b.quirks.DropSilently {
				continue
			}
			delete(b.streams, st)
			st.close()
		}
	}
}

// Events returns the events published so far, dropped and held ones included,
// oldest first. Only the last 20000 are sure to be there.
func (s *Server) Events() []Event {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return slices.Clone(s.bus.log)
}

// LastSeq is the Seq of the newest event, to be given to AwaitEvent.
func (s *Server) LastSeq() uint64 {
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	return s.bus.seq
}

// AwaitEvent returns the first event after Seq after for which match is true,
// waiting for it as long as ctx allows.
func (s *Server) AwaitEvent(ctx context.Context, after uint64, match func(Event) bool) (Event, error) {
	for {
		s.bus.mu.Lock()
		log, changed := s.bus.log, s.bus.changed
		s.bus.mu.Unlock()
		for _, e := range log {
			if e.Seq <= after {
				continue
			}
			if match(e) {
				return e, nil
			}
			after = e.Seq
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("marathontest: no such event until Seq %d: %w", after, ctx.Err())
		}
	}
}
