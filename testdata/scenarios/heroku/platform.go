package heroku

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"relay/sources/marathon/marathontest"
	"relay/testdata/scenarios/scenario"
)

// system is the servers of all apps.
type system struct{ figures *scenario.Figures }

// web answers with the name of its app, after as much work as its env says.
func (s *system) web(p *marathontest.Process) {
	counts := s.figures.Server(p)
	defer counts.Left()
	work, _ := time.ParseDuration(p.Env["WORK"])
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		defer counts.Opened()()
		scenario.Pause(r.Context(), work)
		_, _ = io.WriteString(w, p.App)
	})
	scenario.ServeHTTP(p, mux, nil)
}

// visitors visit an app, one after the other each.
type visitors struct {
	run    *scenario.Run
	client *http.Client
	app    string
	every  time.Duration // the time between an answer and the next request

	mu   sync.Mutex
	took []time.Duration
	bad  error
	stop context.CancelFunc
	gone sync.WaitGroup
}

func newVisitors(r *scenario.Run, app string, every time.Duration) *visitors {
	return &visitors{run: r, client: r.Client(), app: app, every: every}
}

// come has so many visit until they leave.
func (v *visitors) come(n int) {
	ctx, cancel := context.WithCancel(v.run.Context())
	v.stop = cancel
	for range n {
		v.gone.Go(func() {
			for ctx.Err() == nil {
				v.visit(ctx)
				scenario.Pause(ctx, v.every)
			}
		})
	}
}

// leave ends the visits, and says what went wrong with any.
func (v *visitors) leave() error {
	v.stop()
	v.gone.Wait()
	v.client.CloseIdleConnections()
	return v.bad
}

func (v *visitors) visit(ctx context.Context) {
	start := time.Now()
	err := visit(ctx, v.run, v.client, v.app)
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.took = append(v.took, time.Since(start))
	v.bad = errors.Join(v.bad, err)
}

// times are those of the visits since the last call.
func (v *visitors) times() []time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	took := v.took
	v.took = nil
	return took
}

// visit asks an app for its page, which it must answer itself.
func visit(ctx context.Context, r *scenario.Run, client *http.Client, app string) error {
	answer, err := r.Ask(ctx, client, http.MethodGet, "http://"+app+".apps.test/", "")
	if err == nil && (answer.Status != http.StatusOK || answer.Body != "/apps/"+app) {
		err = fmt.Errorf("%s answers %d %.100s", app, answer.Status, answer.Body)
	}
	return err
}

// atLeast says how many visits are still missing.
func (v *visitors) atLeast(n int) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.took) < n {
		return fmt.Errorf("there were %d", len(v.took))
	}
	return nil
}
