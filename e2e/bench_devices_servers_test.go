package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"relay/proxytlv"
)

// benchServerKind, in the environment, has this program be a server in place of running tests: so servers
// have descriptors of their own, and die as servers do.
const benchServerKind = "RELAY_BENCH_SERVER"

// The kinds of servers. Those of devices answer each line with their name. With the header of the PROXY
// protocol they let nobody in who has not shown a certificate.
const (
	plainServer   = "plain"
	whoServer     = "proxy-protocol"
	webSocketEcho = "websocket"
)

// benchServer is a server in a process of its own.
type benchServer struct {
	b       *testing.B
	address string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// startBenchServer starts a server that ends with the benchmark, or with kill.
func startBenchServer(b *testing.B, kind string) *benchServer {
	b.Helper()
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	s := &benchServer{b: b, cmd: exec.Command(path)}
	s.cmd.Env = append(os.Environ(), benchServerKind+"="+kind)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.kill)
	s.address = s.line()
	return s
}

// kill ends the process. The kernel ends its connections.
func (s *benchServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *benchServer) line() string {
	s.b.Helper()
	text, err := s.out.ReadString('\n')
	if err != nil {
		s.b.Fatalf("a server: %v", err)
	}
	return strings.TrimSpace(text)
}

// connections are how many are open, and how many came in the second with the most, since it was asked
// last.
func (s *benchServer) connections() (open, busiest int) {
	s.b.Helper()
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		s.b.Fatal(err)
	}
	if _, err := fmt.Sscan(s.line(), &open, &busiest); err != nil {
		s.b.Fatal(err)
	}
	return open, busiest
}

// childServer is what runs in the process.
type childServer struct {
	kind string
	name string
	mu   sync.Mutex
	open int
	came []time.Time
}

// serveAsChild serves until its input ends. It prints its address, and a line of figures for each that
// it reads.
func serveAsChild(kind string) (status int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s := &childServer{kind: kind, name: l.Addr().String()}
	fmt.Println(s.name)
	if kind == webSocketEcho {
		go func() { _ = http.Serve(l, http.HandlerFunc(echoWebSocket)) }()
	} else {
		go s.accept(l)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		s.mu.Lock()
		fmt.Println(s.open, busiestSecond(s.came))
		s.came = nil
		s.mu.Unlock()
	}
	return 0
}

func (s *childServer) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open++
		s.came = append(s.came, time.Now())
		s.mu.Unlock()
		go func() {
			err := s.serve(conn)
			_ = conn.Close()
			s.mu.Lock()
			s.open--
			s.mu.Unlock()
			if err != nil {
				fmt.Fprintln(os.Stderr, "a server:", err)
			}
		}()
	}
}

// serve returns an error if a client came who should not have.
func (s *childServer) serve(conn net.Conn) error {
	if s.kind == whoServer {
		header, err := proxytlv.Read(conn)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !strings.HasPrefix(header.URI(), benchTenant):
			return fmt.Errorf("%q came", header.URI())
		}
	}
	in := make([]byte, 64)
	for {
		if _, err := conn.Read(in); err != nil {
			return nil
		}
		if _, err := io.WriteString(conn, s.name+"\n"); err != nil {
			return nil
		}
	}
}

// busiestSecond is how many of the times are within the second with the most.
func busiestSecond(came []time.Time) (most int) {
	first := 0
	for i, at := range came {
		for at.Sub(came[first]) >= time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

func echoWebSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	echoMessages(r.Context(), c)
}
