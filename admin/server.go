// Package admin is the HTTP endpoint for people, monitoring and marathon-acme:
// the reload hooks of marathon-lb, health, metrics, a status page and the same
// facts as JSON. It changes nothing but by asking for a reload, for a step of a deployment or for a text of an incident. Whom it is for
// is decided by where it listens, and by Access.
package admin

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"relay/admin/page"
	"relay/internal/guard"
	"relay/scaling/peers"
)

const (
	maxBody        = 64 << 10
	maxHeader      = 32 << 10
	shutdownPeriod = 5 * time.Second
)

// Config says what the endpoint offers. All funcs and interfaces are required.
type Config struct {
	// ReloadCertificates reads the certificates again (POST /_mlb_signal/usr1 and
	// hup). It returns when the change is applied, or with the error that kept a
	// source from being read.
	ReloadCertificates func(context.Context) error
	// ReloadApps does so with the apps (POST /_mlb_signal/hup).
	ReloadApps func(context.Context) error

	Views Views
	// Load, Failures and History are what is known of traffic and changes; any may be nil, and
	// then nothing is said of it.
	Load     Load
	Failures Failures
	History  History
	// Rebalance may be nil.
	Rebalance Rebalance
	// Waiting may be nil.
	Waiting Waiting
	// Scaling is nil if Relay may not change the number of instances.
	Scaling Scaling
	// Deployments are deployment groups; nil says nothing of them.
	Deployments Deployments
	// Incidents are those of the status page; nil if there is none.
	Incidents Incidents
	// Peer answers other Relays; nil if Relay may not change the number of instances.
	Peer func(peers.Question) peers.Answer
	// Probing is what may be asked from outside; nil says nothing of it.
	Probing Probing
	// Tails lets people follow requests; nil lets nobody.
	Tails Tails

	Gatherer prometheus.Gatherer
	Log      *slog.Logger
	// Version is the build, for the status page.
	Version string
	// AnyMethod lets scripts written for marathon-lb call the hooks with GET.
	AnyMethod bool
	// Pprof offers /debug/pprof/.
	Pprof bool
	// Access says who may use what.
	Access Access
	// TLS secures the listener; nil serves in plain text. HTTP/1.1 is all that is
	// spoken.
	TLS    *tls.Config
	Limits Limits
	// Refused, unless nil, is told of each client that is refused.
	Refused func(guard.Kind)
}

// hookPrefix is that of marathon-lb.
const hookPrefix = "/_mlb_signal/"

// Server serves the endpoint on one listener, once.
type Server struct {
	cfg       Config
	listener  net.Listener
	handler   http.Handler
	reloads   []*reload
	refusals  *guard.Log
	shared    sharedStatus
	problems  sharedProblems
	probesSum sharedProbes
	hub       *hub
	// dumps counts those that are being read.
	dumps atomic.Int64

	stopping context.Context
	stop     context.CancelFunc
}

// New returns a Server for an open listener, which Serve closes.
func New(cfg Config, l net.Listener) *Server {
	s := newServer(cfg, l)
	s.handler = s.routes()
	return s
}

func newServer(cfg Config, l net.Listener) *Server {
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits()
	}
	s := &Server{cfg: cfg, listener: l, refusals: guard.NewLog(cfg.Log, cfg.Refused)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.hub = newHub(s)
	return s
}

// Handler returns the whole endpoint.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers requests until ctx ends, then lets those in progress finish
// for a few seconds. Reloads that run are cancelled.
func (s *Server) Serve(ctx context.Context) error {
	limits := s.cfg.Limits
	guarded := guard.Listen(s.listener, guard.Limits{First: limits.Header, PerAddress: limits.IdlePerAddress, InAll: limits.Idle}, s.refusals)
	var listener net.Listener = guarded
	if s.cfg.TLS != nil {
		listener = tls.NewListener(guarded, s.cfg.TLS)
	}
	srv := &http.Server{
		Handler: inUse(guarded, s.handler),
		// The first one is cut off before, and logged.
		ReadHeaderTimeout: limits.Header + limits.Header/2,
		ReadTimeout:       limits.Request,
		WriteTimeout:      90 * time.Second, // long enough for a CPU profile
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(errorLog{s.refusals, s.cfg.Log}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		s.stop()
		return fmt.Errorf("admin endpoint on %s: %w", s.listener.Addr(), err)
	case <-ctx.Done():
	}

	s.stop()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownPeriod)
	defer cancel()
	if err := srv.Shutdown(limit); err != nil {
		srv.Close()
	}
	<-served
	for _, r := range s.reloads {
		r.Wait(limit)
	}
	return ctx.Err()
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	certificates, apps := s.reload("certificates", s.cfg.ReloadCertificates), s.reload("apps", s.cfg.ReloadApps)
	s.handle(mux, hookPrefix+"usr1", hook{certificates})
	s.handle(mux, hookPrefix+"hup", hook{certificates, apps})

	s.health(mux)
	mux.HandleFunc("GET /readyz", s.readyz)
	s.api(mux, s.table())
	page.New(newPageData(s), s.cfg.Version, s.cfg.Log).Register(mux)
	if s.cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		// Without the command line: it may hold a token.
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return s.protected(mux)
}

// health adds what says that the program runs, and its metrics.
func (s *Server) health(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{ErrorLog: metricsLog{s.cfg.Log}}))
}

// protected lets in whom Access does, and keeps to the limits.
func (s *Server) protected(mux *http.ServeMux) http.Handler {
	answered := s.limitBodies(s.limitRequests(http.NewCrossOriginProtection().Handler(mux)))
	allowed := s.cfg.Access.restrictHosts(s.cfg.Access.restrict(answered, s.refusals), s.refusals)
	return restrictBrowsers(cleanPath(allowed))
}

func (s *Server) reload(name string, run func(context.Context) error) *reload {
	r := newReload(s.stopping, name, run, s.cfg.Log)
	s.reloads = append(s.reloads, r)
	return r
}

func (s *Server) handle(mux *http.ServeMux, path string, h hook) {
	if s.cfg.AnyMethod {
		mux.Handle(path, sameOrigin(h))
		return
	}
	mux.Handle("POST "+path, h)
}

// sameOrigin refuses pages of other sites whatever the method: GET is otherwise
// taken to change nothing.
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asPost := *r
		asPost.Method = http.MethodPost
		if err := protection.Check(&asPost); err != nil {
			plain(w, http.StatusForbidden, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cleanPath makes "//_mlb_signal/usr1", which is what a base URL with a
// trailing slash gives, mean the hook. A ServeMux would answer with a redirect,
// which callers of hooks do not follow.
func cleanPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := path.Clean("/" + r.URL.Path)
		if p != "/" && strings.HasSuffix(r.URL.Path, "/") {
			p += "/"
		}
		if p != r.URL.Path {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = p, ""
		}
		next.ServeHTTP(w, r)
	})
}

// restrictBrowsers keeps browsers from running scripts of an answer, and from showing it in
// a page of another site. The pages allow themselves what is served beside them.
func restrictBrowsers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if reasons := s.notReady(); len(reasons) > 0 {
		plain(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n"))
		return
	}
	plain(w, http.StatusOK, "ready")
}

func (s *Server) notReady() []string {
	var reasons []string
	if s.stopping.Err() != nil {
		reasons = append(reasons, errStopping.Error())
	}
	for _, reason := range s.cfg.Views.NotReady() {
		reasons = append(reasons, redact(reason))
	}
	return reasons
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}
