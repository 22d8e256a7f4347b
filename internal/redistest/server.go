package redistest

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Server is a server of Redis that keeps keys in memory, and knows AUTH, PING, GET, SET, DEL, EXISTS, KEYS * and FLUSHALL.
type Server struct {
	// Address is where it listens, on loopback.
	Address string

	listener net.Listener
	served   sync.WaitGroup
	mu       sync.Mutex
	password string
	keys     map[string]string
	conns    map[net.Conn]struct{}
}

// Start runs a server until the test ends, or Stop. It asks for a password unless that is empty.
func Start(t testing.TB, password string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: l.Addr().String(), listener: l, password: password, keys: make(map[string]string), conns: make(map[net.Conn]struct{})}
	s.served.Go(s.accept)
	t.Cleanup(s.Stop)
	return s
}

// Stop ends it, as if its process had been killed.
func (s *Server) Stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.served.Wait()
}

// Keys returns its keys, sorted.
func (s *Server) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.keys))
}

// Forget takes all keys away.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
}

// SetPassword asks for another password, and ends the connections that it has.
func (s *Server) SetPassword(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.password = password
	for conn := range s.conns {
		_ = conn.Close()
	}
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[conn] = struct{}{}
		s.mu.Unlock()
		s.served.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	r, known := bufio.NewReader(conn), false
	for {
		text, err := read(r)
		if err != nil {
			return
		}
		if _, err := conn.Write([]byte(s.do(strings.Fields(text), &known))); err != nil {
			return
		}
	}
}

// do answers a command. No key or value of tests has a space.
func (s *Server) do(args []string, known *bool) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(args) == 0 {
		return "-ERR no command\r\n"
	}
	name := strings.ToUpper(args[0])
	if name == "AUTH" {
		if *known = args[len(args)-1] == s.password; !*known {
			return "-WRONGPASS invalid username-password pair\r\n"
		}
		return "+OK\r\n"
	}
	if !*known && s.password != "" {
		return "-NOAUTH Authentication required.\r\n"
	}
	switch value, there := s.keys[args[len(args)-1]]; {
	case name == "PING":
		return "+PONG\r\n"
	case name == "SET" && len(args) == 3:
		s.keys[args[1]] = args[2]
		return "+OK\r\n"
	case name == "GET" && !there:
		return "$-1\r\n"
	case name == "GET":
		return fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	case name == "DEL" || name == "EXISTS":
		if name == "DEL" {
			delete(s.keys, args[1])
		}
		if there {
			return ":1\r\n"
		}
		return ":0\r\n"
	case name == "KEYS":
		return string(command(slices.Sorted(maps.Keys(s.keys))))
	case name == "FLUSHALL":
		clear(s.keys)
		return "+OK\r\n"
	}
	return fmt.Sprintf("-ERR unknown command '%s'\r\n", name)
}
