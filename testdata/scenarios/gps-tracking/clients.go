package gpstracking

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"relay/testdata/scenarios/scenario"
)

// reportEvery is how often a vehicle says where it is.
const reportEvery = 250 * time.Millisecond

// vehicle reports positions until the context ends or it is parked.
type vehicle struct {
	name   string
	parked atomic.Bool
	failed atomic.Int32
}

func (v *vehicle) drive(ctx context.Context, r *scenario.Run, client *http.Client) {
	at := position{Vehicle: v.name, Lat: -33.9 + rand.Float64()/10, Lon: 18.4 + rand.Float64()/10}
	for scenario.Pause(ctx, reportEvery) && !v.parked.Load() {
		at.Lat += (rand.Float64() - 0.5) / 1000
		at.Lon += (rand.Float64() - 0.5) / 1000
		text, _ := json.Marshal(at) // it is made of numbers and a name
		if _, err := r.Ask(ctx, client, http.MethodPost, "https://gps.test/positions", string(text)); err != nil && ctx.Err() == nil {
			v.failed.Add(1)
		}
	}
}

// socket is a client that has a WebSocket open all the time.
type socket struct {
	// open connects, and read reads until the connection ends; it calls came with each message.
	open func(ctx context.Context) (*websocket.Conn, error)
	read func(ctx context.Context, conn *websocket.Conn, came func()) error

	mu        sync.Mutex
	connected bool
	messages  int   // since it connected last
	told, cut int   // how its connections ended: by close code 1001, or otherwise
	wrong     error // what must not be
}

// stay connects again, after up to a third of a second, whenever the connection ends.
func (s *socket) stay(ctx context.Context, r *scenario.Run) {
	for ctx.Err() == nil {
		start := time.Now()
		conn, err := s.open(ctx)
		if ctx.Err() == nil {
			r.Figures.Request(time.Since(start), err)
		}
		if err == nil {
			s.note(func() { s.connected, s.messages = true, 0 })
			err = s.read(ctx, conn, func() { s.note(func() { s.messages++ }) })
			_ = conn.CloseNow()
			if ctx.Err() != nil {
				return
			}
			r.Figures.Closed()
			s.note(func() {
				s.connected = false
				if websocket.CloseStatus(err) == websocket.StatusGoingAway {
					s.told++
				} else {
					s.cut++
				}
			})
		}
		scenario.Pause(ctx, rand.N(time.Second/3))
	}
}

func (s *socket) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// browser shows the positions of all vehicles: when it comes back, from where it was.
func browser(r *scenario.Run, client *http.Client) (*socket, *atomic.Int32) {
	s, seen := &socket{}, new(atomic.Int32)
	s.open = func(ctx context.Context) (*websocket.Conn, error) {
		return r.WebSocket(ctx, client, fmt.Sprintf("wss://gps.test/live?after=%d", seen.Load()))
	}
	s.read = func(ctx context.Context, conn *websocket.Conn, came func()) error {
		for {
			var at position
			if err := wsjson.Read(ctx, conn, &at); err != nil {
				return err
			}
			if want := int(seen.Add(1)); at.Number != want {
				s.note(func() { s.wrong = fmt.Errorf("a browser got position %d, want %d", at.Number, want) })
			}
			came()
		}
	}
	return s, seen
}

// subscriber follows one vehicle by GraphQL, and pings as the libraries do.
func subscriber(r *scenario.Run, client *http.Client, vehicle string) *socket {
	s := &socket{}
	s.open = func(ctx context.Context) (*websocket.Conn, error) {
		conn, err := r.WebSocket(ctx, client, "wss://gps.test/graphql", "graphql-transport-ws")
		if err != nil {
			return nil, err
		}
		var ack message
		if err := errors.Join(wsjson.Write(ctx, conn, message{Type: "connection_init"}), wsjson.Read(ctx, conn, &ack)); err != nil || ack.Type != "connection_ack" {
			_ = conn.CloseNow()
			return nil, fmt.Errorf("%q in place of connection_ack: %v", ack.Type, err)
		}
		query, _ := json.Marshal(map[string]string{"query": fmt.Sprintf("subscription { positions(vehicle: %q) { number lat lon } }", vehicle)})
		return conn, wsjson.Write(ctx, conn, message{ID: "1", Type: "subscribe", Payload: query})
	}
	s.read = func(ctx context.Context, conn *websocket.Conn, came func()) error {
		for {
			var m message
			if err := wsjson.Read(ctx, conn, &m); err != nil {
				return err
			}
			var payload struct{ Data struct{ Positions position } }
			if err := json.Unmarshal(m.Payload, &payload); err != nil || m.Type != "next" || payload.Data.Positions.Vehicle != vehicle {
				s.note(func() { s.wrong = fmt.Errorf("a subscriber of %s got %s %s", vehicle, m.Type, m.Payload) })
			}
			came()
		}
	}
	return s
}
