// Package marathontest simulates Marathon, 1.8 or an older release, for tests, benchmarks
// and demonstrations: the HTTP API, the event stream, deployments that go
// through their steps, tasks that are real HTTP servers on the loopback
// interface, and faults on demand.
//
//	m := marathontest.Start(t, marathontest.Options{})
//	err := m.Apply(`{"id":"/shop/web","instances":2,"labels":{"HAPROXY_GROUP":"external"}}`)
//	err = m.WaitIdle(ctx)                         // the deployment is over
//	m.Crash(m.Tasks("/shop/web")[0].ID)           // TASK_FAILED, then a replacement
//	m.Inject(marathontest.KindList, marathontest.Fault{Status: 503, Times: 2})
//
// The same works from a shell:
//
//	curl -X PUT URL/v2/apps/shop/web -d '{"instances":3}'
//	curl -X DELETE URL/v2/apps/shop/web
//	curl -N -H 'Accept: text/event-stream' URL/v2/events
//
// What differs from a real Marathon: a rolling deployment starts all new tasks
// at once whatever upgradeStrategy says; health is told by call instead of
// being measured; taskKillGracePeriodSeconds is shown but Options.KillGrace
// rules, unless tasks run an Options.Program; pods are shown as they are given; there are no label selectors.
package marathontest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Options configures a Server. The zero value is good for tests.
type Options struct {
	// Addr is the address to listen on; 127.0.0.1 with a free port by default.
	Addr string
	// Credentials, as "user:password", are required by every path when set.
	Credentials string
	// Authorized, when set, takes the place of Credentials: it is given the
	// Authorization header and says whether to let the request in.
	Authorized func(authorization string) bool
	// TLS, when set, makes the API https.
	TLS *tls.Config
	// LaunchDelay is the time between two states of a starting task, and
	// before its first health result; 10 ms by default.
	LaunchDelay time.Duration
	// Boot is the time from the start of a task until it serves. A task that has a health check
	// runs meanwhile, is not healthy, and answers 503; one without runs only then. SetBoot, and
	// BOOT in the env of a definition, say it for an app.
	Boot time.Duration
	// KillGrace is how long a task serves on after it was told to stop; 300 ms
	// by default.
	KillGrace time.Duration
	// PublishLag is how long a deployment has been announced by deployment_info
	// before its new definitions can be read; 5 ms by default. When negative,
	// definitions are visible first and deployment_info follows
	// group_change_success.
	PublishLag time.Duration
	// Heartbeat is the interval of blank lines on an event stream; 10 s by default.
	Heartbeat time.Duration
	// NoTaskKilling turns the feature task_killing off: the first sign of a
	// kill is then TASK_KILLED.
	NoTaskKilling bool
	// ManualHealth leaves tasks of apps with health checks without result until
	// SetHealth. Otherwise they turn healthy by themselves.
	ManualHealth bool
	// ManualReadiness leaves tasks of apps with a readiness check without
	// result until SetReadiness. Otherwise they turn ready by themselves.
	ManualReadiness bool
	// Version is the release to simulate, such as "1.4.11": it sets Quirks,
	// unless they are given. "" is the newest.
	Version string
	// Quirks are the differences from the newest release, one by one.
	Quirks *Quirks
	// Phantom, when set, places tasks instead of starting real servers: it
	// returns the host and as many host ports as asked. See PhantomTasks.
	Phantom func(app string, ports int) (host string, hostPorts []int)
	// Program, when set, returns what the tasks of an app run; nil is the server that echoes requests.
	// How long a program may go on after it was told to stop is up to taskKillGracePeriodSeconds of its
	// app, 3 s by default, in place of KillGrace.
	Program func(app string) Program
	// OnEvent is called with each event at the moment it is published. It must
	// return fast and must not call the Server.
	OnEvent func(Event)
}

// Server is a simulated Marathon. All its methods are safe for concurrent use.
type Server struct {
	opts   Options
	addr   string
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	bus      *bus
	faults   faults
	requests requests

	// accepting serialises changes of definitions, as Marathon does.
	accepting sync.Mutex

	mu          sync.Mutex // guards all below
	closed      bool
	held        map[string]int // sockets, by address
	http        *http.Server   // nil while down
	apps        map[string]*app
	versions    map[string]map[string]*definition // by app id and version
	pods        map[string]podJSON
	masters     []*Master
	instances   map[string]*instance // by task id, current incarnations only
	deployments []*deployment
	idle        chan struct{} // closed when deployments becomes empty
	backends    map[*backend]struct{}
	behaviours  map[string]behaviour // by app id
	lastVersion time.Time
	nextPort    int
	nextIP      uint32
}

// New starts a simulated Marathon. The caller must Close it.
func New(opts Options) (*Server, error) {
	opts.Addr = defaultTo(opts.Addr, "127.0.0.1:0")
	opts.LaunchDelay = defaultTo(opts.LaunchDelay, 10*time.Millisecond)
	opts.KillGrace = defaultTo(opts.KillGrace, 300*time.Millisecond)
	opts.PublishLag = defaultTo(opts.PublishLag, 5*time.Millisecond)
	opts.Heartbeat = defaultTo(opts.Heartbeat, 10*time.Second)
	if opts.Quirks == nil {
		quirks := QuirksOf(opts.Version)
		opts.Quirks = &quirks
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		opts:       opts,
		addr:       opts.Addr,
		ctx:        ctx,
		cancel:     cancel,
		bus:        newBus(opts.OnEvent, *opts.Quirks),
		apps:       map[string]*app{},
		versions:   map[string]map[string]*definition{},
		pods:       map[string]podJSON{},
		instances:  map[string]*instance{},
		backends:   map[*backend]struct{}{},
		behaviours: map[string]behaviour{},
		nextPort:   10000,
		nextIP:     uint32(time.Now().UnixMicro()),
	}
	s.faults.changed = make(chan struct{})
	if err := s.Up(); err != nil {
		cancel()
		s.letGo()
		return nil, err
	}
	return s, nil
}

// Start is New for tests: it fails t on an error and closes the Server when t ends.
func Start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func defaultTo[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// URL is the base URL, without trailing slash. It stays the same after Down and Up.
func (s *Server) URL() string { return s.urlOf(s.addr) }

// Up listens again after Down, on the same address.
func (s *Server) Up() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	srv, addr, err := s.listen(s.http, s.addr, s.ServeHTTP)
	if err != nil {
		return err
	}
	s.http, s.addr = srv, addr
	return nil
}

// Down stops listening and cuts every connection. Tasks and deployments go on;
// their events reach nobody.
func (s *Server) Down() {
	s.mu.Lock()
	srv := s.http
	s.http = nil
	s.mu.Unlock()
	if srv != nil {
		_ = srv.Close()
	}
	if s.leads(nil) {
		s.bus.cut()
	}
}

// Close stops everything at once: the API, event streams, deployments, tasks.
// It returns when no goroutine is left.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	backends, masters := s.backends, s.masters
	s.backends = map[*backend]struct{}{}
	s.mu.Unlock()
	s.cancel()
	s.bus.close()
	s.Down()
	for _, m := range masters {
		m.Down()
	}
	s.bus.cut()
	for b := range backends {
		b.abort()
	}
	s.wg.Wait()
	s.letGo()
}

// spawn runs f in a goroutine that Close waits for. The caller holds s.mu;
// once the Server is closed nothing is started any more.
func (s *Server) spawn(f func()) {
	if !s.closed {
		s.wg.Go(f)
	}
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

const timeLayout = "2006-01-02T15:04:05.000Z"

func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }

// newVersion returns a version later than all before. The caller holds s.mu.
func (s *Server) newVersion() string {
	now := time.Now().Truncate(time.Millisecond)
	if !now.After(s.lastVersion) {
		now = s.lastVersion.Add(time.Millisecond)
	}
	s.lastVersion = now
	return stamp(now)
}

// WaitIdle waits until no deployment runs.
func (s *Server) WaitIdle(ctx context.Context) error {
	for {
		s.mu.Lock()
		n, idle := len(s.deployments), s.idle
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("marathontest: %d deployments still run: %w", n, ctx.Err())
		}
	}
}
