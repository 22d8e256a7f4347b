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

// attemptHeader names an attempt to deliver a message: no two have the same.
const attemptHeader = "X-Attempt"

// system is all servers, and the ledger that they share.
type system struct {
	figures *scenario.Figures
	// out is how the webhook calls the bank.
	out *http.Client

	mu sync.Mutex
	// arrived counts how often each attempt came to an instance; stored has the messages.
	arrived, stored map[string]int
	// deaf are closed when a task is to take no more connections, though it runs.
	deaf map[string]chan struct{}
}

// webhook takes messages: for each it calls the bank, which is slow, and only then says that it has it.
func (s *system) webhook(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	deaf := s.ears(p.Task)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /messages", func(w http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		select {
		case <-deaf:
			w.Header().Set("Connection", "close")
		default:
		}
		id, err := io.ReadAll(io.LimitReader(r.Body, 100))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.arrive(r.Header.Get(attemptHeader))
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
	go func() {
		select {
		case <-deaf:
			_ = p.Listeners[0].Close()
		case <-p.Context().Done():
		}
	}()
	scenario.ServeHTTP(p, mux, nil)
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

// ears is closed when a task is to take no more connections.
func (s *system) ears(task string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deaf[task] == nil {
		s.deaf[task] = make(chan struct{})
	}
	return s.deaf[task]
}

func (s *system) arrive(attempt string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived[attempt]++
}

func (s *system) store(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stored[id]++
}

// ledger says how many messages are stored, how many of them more than once, and which attempt came
// to an instance more than once.
func (s *system) ledger() (messages, again int, twice string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.stored {
		if n > 1 {
			again++
		}
	}
	for attempt, n := range s.arrived {
		if n > 1 {
			twice = attempt
		}
	}
	return len(s.stored), again, twice
}
