package scenario

import (
	"net/http"
	"sync"

	"relay/sources/marathon/marathontest"
)

// Ears say which tasks take no more connections though they run, as servers do that are overloaded
// or hang. The zero value is ready.
type Ears struct {
	mu   sync.Mutex
	deaf map[string]chan struct{}
}

// Close has a task take no more connections; those that it has end after their next answer.
func (e *Ears) Close(task string) { close(e.of(task)) }

func (e *Ears) of(task string) chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deaf == nil {
		e.deaf = make(map[string]chan struct{})
	}
	if e.deaf[task] == nil {
		e.deaf[task] = make(chan struct{})
	}
	return e.deaf[task]
}

// Listen makes a process deaf when its task is to be, and its answers say so.
func (e *Ears) Listen(p *marathontest.Process, next http.Handler) http.Handler {
	deaf := e.of(p.Task)
	go func() {
		select {
		case <-deaf:
			_ = p.Listeners[0].Close()
		case <-p.Context().Done():
		}
	}()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-deaf:
			w.Header().Set("Connection", "close")
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// AttemptHeader names an attempt of a client: no two have the same.
const AttemptHeader = "X-Attempt"

// Arrivals count how often each attempt came to an instance. The zero value is ready.
type Arrivals struct {
	mu    sync.Mutex
	times map[string]int
	twice string
}

// Note counts a request.
func (a *Arrivals) Note(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.times == nil {
		a.times = make(map[string]int)
	}
	attempt := r.Header.Get(AttemptHeader)
	if a.times[attempt]++; a.times[attempt] > 1 {
		a.twice = attempt
	}
}

// Twice is an attempt that came to instances more than once; empty if none did.
func (a *Arrivals) Twice() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.twice
}
