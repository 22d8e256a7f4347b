package device

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"relay/internal/guard"
	"relay/probe"
)

// callbacks is the HTTP server that agents call. Each run that waits has a path of its own, which nobody can guess.
type callbacks struct {
	settings probe.CallbackSettings
	log      *slog.Logger

	mu      sync.Mutex
	waiting map[string]chan struct{} // by token

	// serving tells that the server takes requests; unknown counts those to a path of no run that waits.
	serving atomic.Bool
	up      chan struct{} // closed when it does for the first time
	upOnce  sync.Once
	unknown atomic.Int64
}

// expect returns the URL for a run, and what is closed by the first call. Forget must be called.
func (c *callbacks) expect() (url string, called <-chan struct{}, forget func()) {
	var b [16]byte
	_, _ = rand.Read(b[:])
	token := hex.EncodeToString(b[:])
	came := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[token] = came
	return strings.TrimSuffix(c.settings.URL, "/") + "/" + token, came, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, token)
	}
}

// ServeHTTP takes a call. The second one of a run finds nothing, as do those of strangers and those that come late.
func (c *callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := path.Base(r.URL.Path)
	c.mu.Lock()
	came, known := c.waiting[token]
	delete(c.waiting, token)
	c.mu.Unlock()
	if !known {
		c.unknown.Add(1)
		http.NotFound(w, r)
		return
	}
	close(came)
	w.WriteHeader(http.StatusNoContent)
}

// serve takes calls until the context ends.
func (c *callbacks) serve(ctx context.Context, l net.Listener) error {
	const patience = 5 * time.Second
	// All agents may call from one address, and at once.
	limited := guard.Listen(l, guard.Limits{First: patience, Idle: patience, PerAddress: probe.MaxDevices, InAll: 2 * probe.MaxDevices}, guard.NewLog(c.log, func(guard.Kind) {}))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer limited.Use(r.RemoteAddr)()
		c.ServeHTTP(w, r)
	})
	server := &http.Server{
		Handler: http.MaxBytesHandler(handler, 64<<10), ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience,
		MaxHeaderBytes: 16 << 10, ErrorLog: log.New(io.Discard, "", 0),
	}
	if c.settings.Certificate != "" {
		server.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return readPair(ctx, c.settings.Certificate, c.settings.Key)
		}}
	}
	ended := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer ended()
	c.serving.Store(true)
	c.upOnce.Do(func() { close(c.up) })
	defer c.serving.Store(false)
	var err error
	if server.TLSConfig != nil {
		err = server.ServeTLS(limited, "", "")
	} else {
		err = server.Serve(limited)
	}
	_ = server.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}
