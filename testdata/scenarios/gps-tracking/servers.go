package gpstracking

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

// position is where a vehicle was. Number counts the positions of all vehicles from 1.
type position struct {
	Number  int     `json:"number"`
	Vehicle string  `json:"vehicle"`
	Lat     float64 `json:"lat"`
	Lon     float64 `json:"lon"`
}

// system is all servers, and the database that they share.
type system struct {
	figures   *scenario.Figures
	positions scenario.Log[position]
}

// positionsServer takes positions of vehicles, and sends those of all to browsers as they come.
func (s *system) positionsServer(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	sockets := scenario.NewSockets(p, counts, 5*time.Millisecond)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /positions", func(w http.ResponseWriter, r *http.Request) {
		var at position
		if err := json.NewDecoder(io.LimitReader(r.Body, 1024)).Decode(&at); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.positions.Add(at)
	})
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		sockets.Serve(w, r, "", func(ctx context.Context, conn *websocket.Conn) error {
			return s.follow(conn.CloseRead(ctx), after(r), func(at position) error { return wsjson.Write(ctx, conn, at) })
		})
	})
	scenario.ServeHTTP(p, mux, sockets)
}

// historyServer answers what was.
func (s *system) historyServer(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /history", func(w http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		list := []position{}
		_ = s.follow(expired(), after(r), func(at position) error {
			list = append(list, at)
			return nil
		})
		_ = json.NewEncoder(w).Encode(list)
	})
	scenario.ServeHTTP(p, mux, nil)
}

// expired is a context in which nothing waits.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// follow hands out the positions after the first n, and those that come, until the context ends.
func (s *system) follow(ctx context.Context, n int, each func(position) error) error {
	for {
		list, err := s.positions.After(ctx, n)
		if err != nil {
			return err
		}
		for _, at := range list {
			n++
			at.Number = n
			if err := each(at); err != nil {
				return err
			}
		}
	}
}

func after(r *http.Request) int {
	n, _ := strconv.Atoi(r.URL.Query().Get("after"))
	return max(0, n)
}

// message is one of the protocol graphql-transport-ws.
type message struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// ofVehicle is the one query that graphqlServer knows.
var ofVehicle = regexp.MustCompile(`^subscription\s*\{\s*positions\(vehicle:\s*"([^"]*)"\)`)

// graphqlServer speaks graphql-transport-ws: subscriptions to one vehicle each.
func (s *system) graphqlServer(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	sockets := scenario.NewSockets(p, counts, 5*time.Millisecond)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /graphql", func(w http.ResponseWriter, r *http.Request) {
		sockets.Serve(w, r, "graphql-transport-ws", s.graphql)
	})
	scenario.ServeHTTP(p, mux, sockets)
}

// graphql is one client's session.
func (s *system) graphql(ctx context.Context, conn *websocket.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		var m message
		if err := wsjson.Read(ctx, conn, &m); err != nil {
			return err
		}
		switch m.Type {
		case "connection_init":
			m = message{Type: "connection_ack"}
		case "ping":
			m = message{Type: "pong"}
		case "subscribe":
			var payload struct{ Query string }
			_ = json.Unmarshal(m.Payload, &payload)
			asked := ofVehicle.FindStringSubmatch(payload.Query)
			if asked == nil {
				m = message{ID: m.ID, Type: "error", Payload: json.RawMessage(`[{"message":"only positions(vehicle) can be subscribed to"}]`)}
				break
			}
			go func() { _ = s.subscription(ctx, conn, m.ID, asked[1]) }()
			continue
		default:
			return conn.Close(4400, "a message of an unknown type")
		}
		if err := wsjson.Write(ctx, conn, m); err != nil {
			return err
		}
	}
}

// subscription sends what comes of a vehicle from now on.
func (s *system) subscription(ctx context.Context, conn *websocket.Conn, id, vehicle string) error {
	return s.follow(ctx, s.positions.Len(), func(at position) error {
		if at.Vehicle != vehicle {
			return nil
		}
		payload, err := json.Marshal(map[string]any{"data": map[string]any{"positions": at}})
		if err != nil {
			return err
		}
		return wsjson.Write(ctx, conn, message{ID: id, Type: "next", Payload: payload})
	})
}
