package nurseconnect

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

// message is one of the channel. To is empty if it is for all; Number counts all from 1.
type message struct {
	Number int
	From   string
	To     string
	Text   string
}

// system is all servers, and the database that they share.
type system struct {
	figures  *scenario.Figures
	messages scenario.Log[message]
	// opened counts sessions, strangers requests to a server that does not have their session; held is how
	// many polls wait, and answered how many have not to any more.
	opened, strangers, held, answered atomic.Int64
	// homes are the tasks that have sessions, by session.
	homes sync.Map
}

// server is an instance of the channel: it has sessions in its memory, so that clients must come to
// the one that has theirs.
type server struct {
	*system
	process *marathontest.Process
	counts  *scenario.Server
	sockets *scenario.Sockets
	longest time.Duration // how long a poll waits

	mu       sync.Mutex
	sessions map[string]string // the mother of each
}

func (s *system) run(p *marathontest.Process) {
	i := &server{system: s, process: p, counts: s.figures.Server(p), sessions: make(map[string]string)}
	defer i.counts.Left()
	i.sockets = scenario.NewSockets(p, i.counts, 5*time.Millisecond)
	i.longest, _ = time.ParseDuration(p.Env["POLL"])
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /sessions", i.open)
	mux.HandleFunc("GET /socket", i.known(i.socket))
	mux.HandleFunc("GET /messages", i.known(i.poll))
	mux.HandleFunc("POST /messages", i.known(i.say))
	scenario.ServeHTTP(p, mux, i.sockets)
}

func (i *server) open(w http.ResponseWriter, r *http.Request) {
	id := strconv.FormatInt(i.opened.Add(1), 10)
	i.mu.Lock()
	i.sessions[id] = r.URL.Query().Get("mother")
	i.mu.Unlock()
	i.homes.Store(id, i.process.Task)
	_, _ = io.WriteString(w, id)
}

// known answers 410 to who has no session here.
func (i *server) known(next func(w http.ResponseWriter, r *http.Request, mother string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		mother, ok := i.sessions[r.URL.Query().Get("session")]
		i.mu.Unlock()
		if !ok {
			i.strangers.Add(1)
			http.Error(w, "no such session here", http.StatusGone)
			return
		}
		next(w, r, mother)
	}
}

func (i *server) say(w http.ResponseWriter, r *http.Request, mother string) {
	text, err := io.ReadAll(io.LimitReader(r.Body, 1024))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	i.messages.Add(message{From: mother, To: helpdesk, Text: string(text)})
}

// socket sends what comes for a mother.
func (i *server) socket(w http.ResponseWriter, r *http.Request, mother string) {
	i.sockets.Serve(w, r, "", func(ctx context.Context, conn *websocket.Conn) error {
		ctx = conn.CloseRead(ctx)
		for n := after(r); ; {
			list, next, err := i.next(ctx, n, mother)
			if err != nil {
				return err
			}
			n = next
			for _, m := range list {
				if err := wsjson.Write(ctx, conn, m); err != nil {
					return err
				}
			}
		}
	})
}

// polled is the answer to a poll.
type polled struct {
	Messages []message
	// Moved tells the client to open a session elsewhere: this server ends.
	Moved bool
}

// poll waits for messages: until there are some, the time is over, or the server is told to end.
func (i *server) poll(w http.ResponseWriter, r *http.Request, mother string) {
	defer i.counts.Opened()()
	longest := i.longest
	if d, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
		longest = min(d, longest)
	}
	ctx, cancel := context.WithTimeout(r.Context(), longest)
	defer cancel()
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		select {
		case <-i.process.Terminated():
			if scenario.Pause(ctx, scenario.Settle) {
				cancel()
			}
		case <-i.process.Context().Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	i.held.Add(1)
	list, _, _ := i.next(ctx, after(r), mother)
	i.held.Add(-1)
	cancel()
	<-waiting
	answer := polled{Messages: list}
	select {
	case <-i.process.Terminated():
		answer.Moved = true
	default:
	}
	i.answered.Add(1)
	_ = json.NewEncoder(w).Encode(answer)
}

// next waits until there are messages for a mother after the first n of all, and says how many have
// been looked at then.
func (i *server) next(ctx context.Context, n int, mother string) (list []message, next int, err error) {
	for len(list) == 0 {
		all, err := i.messages.After(ctx, n)
		if err != nil {
			return nil, n, err
		}
		for _, m := range all {
			n++
			if m.Number = n; m.To == mother || m.To == "" {
				list = append(list, m)
			}
		}
	}
	return list, n, nil
}

func after(r *http.Request) int {
	n, _ := strconv.Atoi(r.URL.Query().Get("after"))
	return max(0, n)
}
