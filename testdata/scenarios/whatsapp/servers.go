package whatsapp

import (
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

// system is all servers, and the ledger that they share.
type system struct {
	figures *scenario.Figures
	// out is how the webhook calls the bank.
	out      *http.Client
	ears     scenario.Ears
	arrivals scenario.Arrivals

	mu     sync.Mutex
	stored map[string]int // how often, by message
}

// webhook takes messages: for each it calls the bank, which is slow, and only then says that it has it.
func (s *system) webhook(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /messages", func(w http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		id, err := io.ReadAll(io.LimitReader(r.Body, 100))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.arrivals.Note(r)
		req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, "https://bank.test/balance", nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		resp, err := s.out.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			http.Error(w, "the bank does not answer", http.StatusBadGateway)
			return
		}
		s.store(string(id))
	})
	scenario.ServeHTTP(p, s.ears.Listen(p, mux), nil)
}

// bank is somebody else's, and takes its time.
func (s *system) bank(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /balance", func(_ http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		scenario.Pause(r.Context(), 50*time.Millisecond+rand.N(50*time.Millisecond))
	})
	scenario.ServeHTTP(p, mux, nil)
}

func (s *system) store(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[id]++
}

// ledger says how many messages are stored, and how many of them more than once.
func (s *system) ledger() (messages, again int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.stored {
		if n > 1 {
			again++
		}
	}
	return len(s.stored), again
}
