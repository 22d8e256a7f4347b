package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"relay/internal/guard"
)

// Limits keep the public from the rest of the process: what is beyond them waits, or is refused.
type Limits struct {
	// Head is how long a client may take for the head of a request, Write how long for reading an answer.
	Head, Write time.Duration
	// Connections is how many may be idle, and PerAddress how many of them of one address, which may be that of a
	// proxy; the oldest are closed.
	Connections, PerAddress int
	// Accepts is how many connections are accepted a second; others wait with the kernel. With TLS each costs
	// a handshake.
	Accepts int
	// Requests is how many are answered a second, and AtOnce how many at the same time, of which one address gets half at
	// most; others get 503.
	Requests, AtOnce int
}

// DefaultLimits are some times what a busy page needs.
func DefaultLimits() Limits {
	return Limits{Head: 5 * time.Second, Write: 10 * time.Second, Connections: 2000, PerAddress: 1000, Accepts: 1000, Requests: 4000, AtOnce: 500}
}

// maxHead bounds the head of a request: browsers and proxies send one or two kilobytes.
const maxHead = 8 << 10

// Listen answers on a listener until the context ends, and closes it. A tls of nil is plain text. It is HTTP/1.1 alone:
// one connection is one request at a time, which the limits go by.
func (p *Page) Listen(ctx context.Context, l net.Listener, config *tls.Config) error {
	limits := p.cfg.Limits
	// What the public does is counted, and not logged: it would be a line for each address.
	refusals := guard.NewLog(slog.New(slog.DiscardHandler), func(kind guard.Kind) { p.metrics.refused.WithLabelValues(string(kind)).Inc() })
	guarded := guard.Listen(paced{l, ctx, rate.NewLimiter(rate.Limit(limits.Accepts), limits.Accepts/4+1)},
		guard.Limits{First: limits.Head, PerAddress: limits.PerAddress, InAll: limits.Connections}, refusals)
	var listener net.Listener = guarded
	if config != nil {
		listener = tls.NewListener(guarded, config)
	}
	server := &http.Server{
		Handler:           p.limited(guarded),
		ReadHeaderTimeout: limits.Head + limits.Head/2, // the first one is cut off before
		ReadTimeout:       limits.Head * 2,
		WriteTimeout:      limits.Write,
		IdleTimeout:       30 * time.Second,
		// "OPTIONS *" would be answered beside the limits.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               maxHead,
		ErrorLog:                     log.New(discard{}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("the status page on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		_ = server.Close()
	}
	<-served
	return nil
}

// discard takes what net/http has to say of clients.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// paced accepts no more connections a second than it may: a storm of them waits in the kernel, and not in the process.
type paced struct {
	net.Listener
	ctx   context.Context
	limit *rate.Limiter
}

func (p paced) Accept() (net.Conn, error) {
	if err := p.limit.Wait(p.ctx); err != nil {
		return nil, net.ErrClosed
	}
	return p.Listener.Accept()
}

// limited answers requests within the limits.
func (p *Page) limited(l *guard.Listener) http.Handler {
	places := &places{free: p.cfg.Limits.AtOnce, taken: make(map[netip.Prefix]int)}
	limit := rate.NewLimiter(rate.Limit(p.cfg.Limits.Requests), p.cfg.Limits.Requests/4+1)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer l.Use(r.RemoteAddr)()
		if network := guard.NetworkOf(r.RemoteAddr); places.take(network) {
			defer places.leave(network)
			if limit.Allow() {
				p.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("Connection", "close")
		w.Header().Set("Retry-After", "5")
		p.say(w, r, http.StatusServiceUnavailable, "There are too many requests at the moment. Try again in some seconds.")
	})
}

// places are those of requests that are answered at the same time. A network gets no more than are free besides: clients that
// read slowly keep theirs for long, and others need some.
type places struct {
	mu    sync.Mutex
	free  int
	taken map[netip.Prefix]int
}

func (p *places) take(network netip.Prefix) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 || p.taken[network] > 0 && p.taken[network] >= p.free {
		return false
	}
	p.free--
	p.taken[network]++
	return true
}

func (p *places) leave(network netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free++
	if p.taken[network]--; p.taken[network] == 0 {
		delete(p.taken, network)
	}
}

// statuses are those that are counted.
var statuses = []string{"200", "304", "404", "405", "503"}

// ServeHTTP answers with the files of the page; "/" is index.html. Nothing but GET and HEAD is taken.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy+"; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.ContentLength != 0 { // nothing here needs a body, so none is read
		h.Set("Connection", "close")
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		p.say(w, r, http.StatusMethodNotAllowed, "The status page can be read only.")
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = "index.html"
	}
	file, ok := (*p.content.Load())[name]
	if !ok {
		p.say(w, r, http.StatusNotFound, "There is no such page. The status page is at /")
		return
	}
	p.send(w, r, file)
}

// send answers with a file, or that the client has it.
func (p *Page) send(w http.ResponseWriter, r *http.Request, f *File) {
	h := w.Header()
	body, tag := f.Body, f.ETag
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "public, max-age=10")
	if f.open() {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	if takesGzip(r.Header.Get("Accept-Encoding")) {
		body, tag = f.Gzip, f.GzipETag
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", tag)
	if hasTag(r.Header.Values("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		p.metrics.requests.WithLabelValues("304").Inc()
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.Type)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	p.metrics.requests.WithLabelValues("200").Inc()
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went
	}
}

// say answers in plain text.
func (p *Page) say(w http.ResponseWriter, r *http.Request, status int, text string) {
	p.metrics.requests.WithLabelValues(strconv.Itoa(status)).Inc()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(text + "\n")) // the client went
	}
}

// open reports whether pages of other sites may read the file: feeds and JSON are for that.
func (f *File) open() bool { return !strings.HasPrefix(f.Type, "text/html") }

// takesGzip reports whether a client names gzip, and does not refuse it.
func takesGzip(accepted string) bool {
	for one := range strings.SplitSeq(accepted, ",") {
		coding, quality, _ := strings.Cut(one, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q := strings.TrimPrefix(strings.ReplaceAll(quality, " ", ""), "q=")
			value, err := strconv.ParseFloat(q, 64)
			return err != nil || value > 0
		}
	}
	return false
}

// hasTag reports whether a client has what a tag names. Proxies may have made tags weak.
func hasTag(headers []string, tag string) bool {
	for _, header := range headers {
		for one := range strings.SplitSeq(header, ",") {
			if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
				return true
			}
		}
	}
	return false
}
