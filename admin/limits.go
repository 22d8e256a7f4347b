package admin

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"relay/internal/guard"
)

// Limits keep slow, large and many requests from delaying others. A zero limit is that
// of DefaultLimits.
type Limits struct {
	// Header is how long a client may take from connecting until its first
	// request has come, but for the body; Request how long a body may take.
	Header, Request time.Duration
	// Idle is how many connections without a request there may be, and
	// IdlePerAddress how many of them from one address; the oldest are closed.
	Idle, IdlePerAddress int
	// Requests is how many may be answered at a time. Hooks and health checks
	// are not counted.
	Requests int
}

// DefaultLimits are far above what people, monitoring and marathon-acme do.
func DefaultLimits() Limits {
	return Limits{Header: 5 * time.Second, Request: 10 * time.Second, Idle: 1000, IdlePerAddress: 100, Requests: 50}
}

// limitBodies refuses a body that is said to be large; one that is not said to be is
// cut off.
func (s *Server) limitBodies(next http.Handler) http.Handler {
	limited := http.MaxBytesHandler(next, maxBody)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			s.refusals.Refuse(r.RemoteAddr, guard.Refusal{Kind: guard.Request, Reason: fmt.Sprintf(
				"its request has a body of %d bytes, %d are allowed: nothing here needs one", r.ContentLength, maxBody)})
			w.Header().Set("Connection", "close")
			plain(w, http.StatusRequestEntityTooLarge, "nothing here needs a body")
			return
		}
		limited.ServeHTTP(w, r)
	})
}

// streaming are the paths whose answers go on until the reader goes, or may take as long as it
// likes. Each has a limit of its own, so that they take no place of a request.
var streaming = []string{eventsPath, tailPath, dumpPath}

// limitRequests answers at most Limits.Requests at a time.
func (s *Server) limitRequests(next http.Handler) http.Handler {
	places := make(chan struct{}, s.cfg.Limits.Requests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, hookPrefix) || slices.Contains(open, r.URL.Path) || slices.Contains(streaming, r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		default:
			s.refusals.Refuse(r.RemoteAddr, guard.Refusal{Kind: guard.TooMany, Who: "requests", Reason: fmt.Sprintf(
				"%d requests are being answered: see what asks so often, or does not read the answers", cap(places))})
			w.Header().Set("Retry-After", "1")
			plain(w, http.StatusServiceUnavailable, "too many requests")
		}
	})
}

// inUse marks connections as such while a request is answered.
func inUse(l *guard.Listener, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer l.Use(r.RemoteAddr)()
		next.ServeHTTP(w, r)
	})
}

// errorLog takes what net/http has to say: which TLS handshakes failed, once
// for each host and reason, and all else as it is.
type errorLog struct {
	refusals *guard.Log
	log      *slog.Logger
}

// metricsLog takes what is wrong with metrics when they are asked for.
type metricsLog struct{ log *slog.Logger }

// Println implements promhttp.Logger.
func (m metricsLog) Println(v ...any) {
	m.log.Warn("not all metrics can be told", "event", "metrics_failed", "error", strings.TrimSpace(fmt.Sprintln(v...)))
}

// Write takes a line.
func (e errorLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	failed, ok := strings.CutPrefix(text, "http: TLS handshake error from ")
	remote, reason, cut := strings.Cut(failed, ": ")
	if !ok || !cut {
		e.log.Warn("net/http has a complaint", "event", "http_error", "error", text)
		return len(line), nil
	}
	if refusal, ok := guard.Handshake(errors.New(reason), "admin"); ok {
		e.refusals.Refuse(remote, refusal)
	}
	return len(line), nil
}
