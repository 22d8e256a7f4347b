package wake

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeApps are apps whose state a test sets.
type fakeApps struct {
	mu      sync.Mutex
	states  map[string]State
	changed map[string]chan struct{}
	woken   []string
	used    int
	// onWake is called in Wake, if it is set.
	onWake func(app string)
}

func newFakeApps() *fakeApps {
	return &fakeApps{states: make(map[string]State), changed: make(map[string]chan struct{})}
}

func (f *fakeApps) State(app string, _ int) (State, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changed[app] == nil {
		f.changed[app] = make(chan struct{})
	}
	return f.states[app], f.changed[app]
}

func (f *fakeApps) Used(string, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used++
}

func (f *fakeApps) Wake(app string, _ int, _ Client) {
	f.mu.Lock()
	f.woken = append(f.woken, app)
	on := f.onWake
	f.mu.Unlock()
	if on != nil {
		on(app)
	}
}

func (f *fakeApps) set(app string, state State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[app] = state
	if c := f.changed[app]; c != nil {
		close(c)
		delete(f.changed, app)
	}
}

func (f *fakeApps) wokenApps() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.woken)
}

// fakeEnvoys are Envoys that have an app when a test says so.
type fakeEnvoys struct {
	mu    sync.Mutex
	has   map[string]chan struct{} // by node and app: closed when it has; all have if nil
	calls int
	err   error
	gone  map[string]bool
}

func (f *fakeEnvoys) Serves(_, node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.gone[node]
}

func (f *fakeEnvoys) WaitFor(ctx context.Context, _, node, app string, _ int) error {
	f.mu.Lock()
	f.calls++
	has, err := f.has[node+app], f.err
	f.mu.Unlock()
	if has == nil {
		return err
	}
	select {
	case <-has:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// world is a service with apps and Envoys of the test.
type world struct {
	*Service
	t     *testing.T
	apps  *fakeApps
	fleet *fakeEnvoys
}

// newWorld is to be called in a bubble: Run ends with the test.
func newWorld(t *testing.T, config Config) *world {
	t.Helper()
	w := &world{t: t, apps: newFakeApps(), fleet: &fakeEnvoys{has: make(map[string]chan struct{}), gone: make(map[string]bool)}}
	if config.WaitingInAll == 0 {
		config = Config{WaitingPerApp: 2000, WaitingInAll: 20_000, Rate: 20, Ignored: config.Ignored, Known: config.Known, Of: config.Of}
	}
	w.Service = New(config, w.apps, w.fleet, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	return w
}

// run runs the service until stop is called.
func (w *world) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	return func() { cancel(); <-done }
}

// asked is a request that was asked about.
type asked struct {
	cancel context.CancelFunc
	done   chan struct{}
	answer *authv3.CheckResponse
	err    error
	at     time.Time
}

func (w *world) ask(r request) *asked {
	ctx, cancel := context.WithCancel(context.Background())
	a := &asked{cancel: cancel, done: make(chan struct{})}
	if r.came.IsZero() {
		r.came = time.Now()
	}
	go func() {
		var sent func()
		a.answer, sent, a.err = w.decide(ctx, r)
		a.at = time.Now()
		sent()
		close(a.done)
	}()
	synctest.Wait()
	return a
}

// result is what became of it: "held", "ok", "unavailable" or the status of the page.
func (a *asked) result() any {
	select {
	case <-a.done:
	default:
		return "held"
	}
	switch {
	case status.Code(a.err) == codes.Unavailable:
		return "unavailable"
	case a.err != nil:
		return a.err.Error()
	case a.answer.GetDeniedResponse() != nil:
		return int(a.answer.GetDeniedResponse().GetStatus().GetCode())
	}
	return "ok"
}

func (w *world) want(a *asked, want any) {
	w.t.Helper()
	synctest.Wait()
	if got := a.result(); got != want {
		w.t.Errorf("a request is %v, want %v", got, want)
	}
}

// empty checks that nothing is kept of requests that were answered.
func (w *world) empty() {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held != 0 || len(w.waiting) != 0 || len(w.turns.networks) != 0 || w.turns.order.Len() != 0 || w.turns.queued != 0 {
		w.t.Errorf("left: %d held, %d apps, %d networks, %d of them wait, %d queued", w.held, len(w.waiting), len(w.turns.networks), w.turns.order.Len(), w.turns.queued)
	}
}

func get(app string) request {
	return request{fleet: "edge", node: "edge-1", app: app, client: netip.MustParseAddr("192.0.2.1")}
}

func from(app, client string) request {
	r := get(app)
	r.client = netip.MustParseAddr(client)
	return r
}
