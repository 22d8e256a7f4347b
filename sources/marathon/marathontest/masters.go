package marathontest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"
)

// Master is one more process of a Server's cluster: it has an address of its
// own and the same apps. The first process is the Server itself, with Up and
// Down. Masters that do not lead are standbys.
type Master struct {
	server *Server
	addr   string
	http   *http.Server // nil while down; guarded by server.mu
}

// AddMaster starts another process, as a standby.
func (s *Server) AddMaster() (*Master, error) {
	m := &Master{server: s, addr: "127.0.0.1:0"}
	if err := m.Up(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.masters = append(s.masters, m)
	return m, nil
}

// URL is the base URL, without trailing slash; it stays the same.
func (m *Master) URL() string { return m.server.urlOf(m.addr) }

// Up listens again after Down.
func (m *Master) Up() error {
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	srv, addr, err := m.server.listen(m.http, m.addr, func(w http.ResponseWriter, r *http.Request) { m.server.serve(m, w, r) })
	if err != nil {
		return err
	}
	m.http, m.addr = srv, addr
	return nil
}

// Down is a kill -9: every connection is cut. Deployments go on as soon as
// another process leads; here they do not even stop.
func (m *Master) Down() {
	m.server.mu.Lock()
	srv := m.http
	m.http = nil
	m.server.mu.Unlock()
	if srv != nil {
		_ = srv.Close()
	}
	if m.server.leads(m) {
		m.server.bus.cut()
	}
}

// Elect makes a process lead; nil is the Server itself. Like the real one, the
// new leader has no health results of Marathon's own, and tells nobody what
// happened meanwhile.
func (s *Server) Elect(m *Master) {
	s.faults.mu.Lock()
	s.faults.elected = m
	s.faults.mu.Unlock()
	s.bus.cut()
	s.ForgetHealth()
}

func (s *Server) leads(m *Master) bool {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return s.faults.elected == m
}

// leaderFor returns the base URL of the leader as a process sees it; "" when it leads itself.
func (s *Server) leaderFor(m *Master) string {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	switch {
	case m == nil && s.faults.leader != "":
		return s.faults.leader
	case m == s.faults.elected:
		return ""
	case s.faults.elected != nil:
		return s.faults.elected.URL()
	}
	return s.URL()
}

func (s *Server) urlOf(addr string) string {
	if s.opts.TLS != nil {
		return "https://" + addr
	}
	return "http://" + addr
}

// listen serves handler at an address, and returns the address with its port. The caller holds s.mu.
func (s *Server) listen(running *http.Server, addr string, handler http.HandlerFunc) (*http.Server, string, error) {
	if running != nil || s.closed {
		return nil, "", errors.New("marathontest: up already, or closed for good")
	}
	addr, err := s.hold(addr)
	if err != nil {
		return nil, "", err
	}
	ln, err := s.listenAt(addr)
	if err != nil {
		return nil, "", fmt.Errorf("marathontest: %w", err)
	}
	addr = ln.Addr().String()
	if s.opts.TLS != nil {
		ln = tls.NewListener(ln, s.opts.TLS)
	}
	srv := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	s.wg.Go(func() { _ = srv.Serve(ln) })
	return srv, addr, nil
}
