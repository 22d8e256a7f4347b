package agents

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

// system is all servers.
type system struct {
	figures *scenario.Figures
	// out is how agents call others.
	out      *http.Client
	ears     scenario.Ears
	arrivals scenario.Arrivals
}

// answer is what an agent says: which instance it is in, and how many messages it remembers.
type answer struct {
	Task  string
	Turns int
}

// memory is the agents that an instance has, with what each remembers.
type memory struct {
	task  string
	mu    sync.Mutex
	turns map[string]int
}

func (m *memory) next(id string) answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turns[id]++
	return answer{m.task, m.turns[id]}
}

// agent has agents at /agents/ID, or at ID.agents.test.
func (s *system) agent(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	m := &memory{task: p.Task, turns: make(map[string]int)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /agents/{id}/messages", func(w http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		_ = json.NewEncoder(w).Encode(m.next(r.PathValue("id")))
	})
	mux.HandleFunc("POST /messages", func(w http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		id, _, _ := strings.Cut(r.Host, ".")
		_ = json.NewEncoder(w).Encode(m.next(id))
	})
	mux.HandleFunc("POST /agents/{id}/webhook", func(_ http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		s.arrivals.Note(r)
	})
	mux.HandleFunc("POST /agents/{id}/calls", func(w http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "https://partner.test/think?for="+r.URL.Query().Get("for"), nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		resp, err := s.out.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		_ = resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
	})
	scenario.ServeHTTP(p, s.ears.Listen(p, mux), nil)
}

// partner is somebody else's, and thinks for as long as it is asked to.
func (s *system) partner(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /think", func(_ http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		d, _ := time.ParseDuration(r.URL.Query().Get("for"))
		scenario.Pause(r.Context(), d)
	})
	scenario.ServeHTTP(p, mux, nil)
}
