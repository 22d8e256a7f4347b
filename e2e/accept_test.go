package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const acceptLabel, addressRateLabel = "RELAY_0_ACCEPT_RATE", "RELAY_0_ADDRESS_RATE"

// deviceServer holds connections of devices. It greets each, and knows when it came.
type deviceServer struct {
	net.Listener
	mu   sync.Mutex
	open map[net.Conn]struct{}
	came []time.Time
}

func startDeviceServer(t *testing.T) *deviceServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &deviceServer{Listener: l, open: make(map[net.Conn]struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came := arrived(conn.(*net.TCPConn))
			s.mu.Lock()
			s.open[conn] = struct{}{}
			s.came = append(s.came, came)
			s.mu.Unlock()
			all.Go(func() {
				_, _ = io.WriteString(conn, "hello\n")
				// Not by io.Copy alone: between two connections that takes two more descriptors, for a pipe.
				_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, make([]byte, 64))
				_ = conn.Close()
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.open, conn)
			})
		}
	})
	t.Cleanup(func() { s.die(); all.Wait() })
	return s
}

// arrived is when the system took a connection on which nothing was said yet. A server on a busy machine
// hears of it later, and then of many at once.
func arrived(conn *net.TCPConn) time.Time {
	now := time.Now()
	raw, err := conn.SyscallConn()
	if err != nil {
		return now
	}
	var info *unix.TCPInfo
	failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || failed != nil {
		return now
	}
	return now.Add(-time.Duration(info.Last_ack_recv) * time.Millisecond)
}

func (s *deviceServer) address() string { return s.Addr().String() }

// die ends all connections, as the end of a process does.
func (s *deviceServer) die() {
	_ = s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

func (s *deviceServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// busiest returns how many connections came to servers in the second with the most, since a moment.
func busiest(since time.Time, servers ...*deviceServer) (most int) {
	return busiestIn(time.Second, since, servers...)
}

// busiestIn is busiest for a longer time, in which it matters less that Envoys on a busy machine connect late.
func busiestIn(span time.Duration, since time.Time, servers ...*deviceServer) (most int) {
	came, first := arrivals(since, servers...), 0
	for i, at := range came {
		for at.Sub(came[first]) > span {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// arrivals are when connections came to servers since a moment, in their order.
func arrivals(since time.Time, servers ...*deviceServer) (came []time.Time) {
	for _, s := range servers {
		s.mu.Lock()
		for _, at := range s.came {
			if at.After(since) {
				came = append(came, at)
			}
		}
		s.mu.Unlock()
	}
	slices.SortFunc(came, time.Time.Compare)
	return came
}

// tooMany says whether more connections have come to servers at some time than may until then, of those since a moment.
// Those that Envoys on a busy machine connect late, and then many at once, are not too many by that.
func tooMany(since time.Time, may func(after time.Duration) float64, servers ...*deviceServer) error {
	for i, at := range arrivals(since, servers...) {
		if after := at.Sub(since); float64(i+1) > may(after) {
			return fmt.Errorf("%d came within %s, and %.0f may", i+1, after, may(after))
		}
	}
	return nil
}

// atRate is how many may go on by a rate, a second: at first as many as in a tenth of a second may at once. The system
// tells when they came to some milliseconds.
func atRate(perSecond int) func(after time.Duration) float64 {
	return func(after time.Duration) float64 {
		return float64(perSecond) * (after + 150*time.Millisecond).Seconds()
	}
}

// newest is when the last connection came to servers.
func newest(servers ...*deviceServer) (at time.Time) {
	for _, s := range servers {
		s.mu.Lock()
		for _, came := range s.came {
			if came.After(at) {
				at = came
			}
		}
		s.mu.Unlock()
	}
	return at
}

// stormWorld is a service with three servers, of which each has as many devices.
func stormWorld(t *testing.T, devices int) (w *world, servers []*deviceServer, f *field, update func(rate string, servers ...*deviceServer)) {
	w = newWorldAlone(t)
	w.start()
	port, address := w.tcp.port()
	for range 3 {
		servers = append(servers, startDeviceServer(t))
	}
	update = func(rate string, servers ...*deviceServer) {
		t.Helper()
		var tasks []string
		for _, s := range servers {
			tasks = append(tasks, s.address())
		}
		w.marathon.service("/imp", tasks, modeLabel, "tcp", portLabel, port, "RELAY_0_IDLE_TIMEOUT", "0s", acceptLabel, rate)
	}
	// Not faster: Envoy gives what goes on at one moment to one server.
	update("400/s", servers...)
	w.eventually("the service", func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err == nil {
			_, err = conn.line()
			_ = conn.Close()
		}
		return err
	})
	f = openField(w, address, 3*devices, 0)
	f.used()
	for i, s := range servers {
		t.Logf("server %d has %d", i, s.count())
	}
	return w, servers, f, update
}

// paced waits until Relay paces a service by a rate.
func (w *world) paced(rate string) {
	w.t.Helper()
	w.eventually("the rate is "+rate, func() error {
		if status, text := w.admin.get("/api/v1/apps/imp"); status != http.StatusOK || !strings.Contains(text, rate) {
			return fmt.Errorf("%d: %s", status, text)
		}
		return nil
	})
	w.admin.settled()
}

// A server with 2000 devices dies. All are back on the others soon, at the rate that each of these takes.
func TestStorm(t *testing.T) {
	const devices, rate = 2000, 150
	w, servers, f, update := stormWorld(t, devices)
	listeners := w.envoy.stat(`^listener_manager\.lds\.update_success$`)
	update(fmt.Sprint(rate, "/s"), servers...)
	w.paced(fmt.Sprint(rate, "/s"))
	f.kept("with another rate")

	dead, left := servers[0], servers[1:]
	lost := dead.count()
	began := time.Now()
	dead.die()
	update(fmt.Sprint(rate, "/s"), left...)
	w.admin.settled()
	known := time.Now() // that the server is gone: until then its rate counts
	w.eventually("devices are cut", func() error {
		if f.cut.Load() < int64(lost) {
			return fmt.Errorf("%d", f.cut.Load())
		}
		return nil
	})
	w.eventually("all are back", func() error { return f.all(3 * devices) })
	took := newest(left...).Sub(began)
	t.Logf("%d devices were back after %s", lost, took)
	// It takes less than 10 s where nothing else wants the processors: what Envoy or Relay miss meanwhile is not made up for.
	if took > 20*time.Second {
		t.Errorf("all were back after %s", took)
	}
	if failed := f.failed.Load(); failed > 0 {
		t.Errorf("%d attempts failed: %q", failed, f.why)
	}
	for i, s := range left {
		if n := s.count(); n > 3*devices/len(left)*110/100 {
			t.Errorf("server %d has %d", i, n)
		}
		most := busiest(known, s)
		if t.Logf("server %d took %d in its busiest second", i, most); most < rate*80/100 {
			t.Errorf("server %d takes %d a second at most, of %d", i, most, rate)
		}
	}
	may := func(after time.Duration) float64 {
		before := min(after, known.Sub(began))
		return atRate(len(servers)*rate)(before) + float64(len(left)*rate)*(after-before).Seconds()
	}
	if err := tooMany(began, may, left...); err != nil {
		t.Error(err)
	}
	if n := w.envoy.stat(`^listener_manager\.lds\.update_success$`); n != listeners {
		t.Errorf("listeners were sent %d times", n-listeners)
	}
	w.envoy.nothingRejected()
}

// Relay ends while many wait: none is refused, and none is forgotten.
func TestRelayEndsInAStorm(t *testing.T) {
	const devices, rate = 500, 30
	w, servers, f, update := stormWorld(t, devices)
	update(fmt.Sprint(rate, "/s"), servers...)
	w.paced(fmt.Sprint(rate, "/s"))
	servers[0].die()
	began := time.Now()
	update(fmt.Sprint(rate, "/s"), servers[1:]...)
	w.eventually("devices wait", func() error {
		if n, _ := w.admin.metric("relay_accept_waiting"); n < 200 {
			return fmt.Errorf("%g", n)
		}
		return nil
	})
	w.relay.stop()
	w.relay.start()
	w.eventually("all are back", func() error { return f.all(3 * devices) })
	t.Logf("all were back after %s", time.Since(began))
	if failed := f.failed.Load(); failed > 0 {
		t.Errorf("%d attempts failed: %q", failed, f.why)
	}
	for i, s := range servers[1:] {
		t.Logf("server %d took %d in its busiest second", i, busiest(began, s))
	}
}

// A client that opens very many connections keeps nobody else out.
func TestFloodOfOneAddress(t *testing.T) {
	w := newWorld(t)
	w.start()
	port, address := w.tcp.port()
	server := startDeviceServer(t)
	w.marathon.service("/imp", []string{server.address()}, modeLabel, "tcp", portLabel, port, addressRateLabel, "5/s")
	w.eventually("the service", func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err == nil {
			_, err = conn.line()
		}
		return err
	})
	in := func(from net.IP) bool {
		conn, err := w.tcp.dial(address, from, "")
		if err != nil {
			return false
		}
		_, err = conn.line()
		return err == nil
	}
	began, got := time.Now(), 0
	for range 100 {
		if in(net.IPv4(127, 0, 0, 9)) {
			got++
		}
	}
	if most := 6 + int(5*time.Since(began).Seconds()); got < 5 || got > most {
		t.Errorf("%d connections of 100 got in, want 5 to %d", got, most)
	}
	for i := range 20 {
		if !in(net.IPv4(127, 0, 1, byte(i))) {
			t.Errorf("client %d is kept out", i)
		}
	}
	if n, _ := w.admin.metric(`relay_accept_connections_total{result="address_rate"}`); int(n) != 100-got {
		t.Errorf("%g were counted, of %d", n, 100-got)
	}
}
