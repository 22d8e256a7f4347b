package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// benchmarkSockets measures how long an echo takes by WebSockets through Envoy, and by as many directly at the
// same moment, while endpoints change and apps are deployed.
func benchmarkSockets(b *testing.B) {
	const pairs, deployed = 500, 10
	w := newDeviceWorld(b)
	echo := startBenchServer(b, webSocketEcho)
	host, port, _ := net.SplitHostPort(echo.address)
	chat := func(port string) {
		w.apps.rawAppQuietly("/chat", "chat.test", host, port)
		w.apps.taskChanged("/chat")
	}
	chat(port)
	for i := range deployed {
		w.apply(app(fmt.Sprint("/deployed-", i), fmt.Sprintf("deployed-%d.test", i), 2))
	}
	w.startWorkers(2)
	w.await("deployed-0.test")
	s := w.openPairs(pairs, "ws://"+echo.address, "ws://"+w.config.Fleets[0].HTTP.String())
	draining := w.stat(`^listener_manager\.total_filter_chains_draining$`)
	const rounds = 500
	w.updateEndpoints(rounds, 100*time.Millisecond, func(round int) {
		chat([]string{port, "1"}[round%2]) // away, and back: new sockets would fail, those that are open do not
		if round%(rounds/deployed) == 0 {
			i := round / (rounds / deployed)
			if err := w.marathon.Apply(fmt.Sprintf(`{"id":"/deployed-%d","env":{"VERSION":"2"}}`, i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	w.within(w.marathon.WaitIdle)
	direct, through := s.end()
	of := func(p int) (of [2]float64) {
		return [2]float64{milliseconds(percentile(direct, p)), milliseconds(percentile(through, p))}
	}
	b.Logf("%d echoes; ms directly and through Envoy: p50 %.2f, p90 %.2f, p99 %.2f, most %.1f", len(through), of(50), of(90), of(99), of(100))
	p99 := of(99)
	b.ReportMetric(p99[0], "ms-p99-direct")
	b.ReportMetric(p99[1], "ms-p99")
	atMost(b, p99[1]-p99[0], 5, "ms-p99-more")
	atMost(b, float64(len(s.closed)), 0, "closed")
	if n := w.stat(`^listener_manager\.total_filter_chains_draining$`); n != draining {
		b.Errorf("%d filter chains drain", n-draining)
	}
	for _, err := range s.closed[:min(3, len(s.closed))] {
		b.Log(err)
	}
}

// socketPairs are WebSockets, each with one to the same server that is direct.
type socketPairs struct {
	stop func()
	wg   sync.WaitGroup

	mu              sync.Mutex
	direct, through []time.Duration
	closed          []error
}

// openPairs opens pairs, and has them used twice a second until end.
func (w *deviceWorld) openPairs(n int, direct, through string) *socketPairs {
	w.b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &socketPairs{stop: cancel}
	dial := func(url string) (conn *websocket.Conn) {
		eventually(w.b, "a WebSocket at "+url, func() (err error) {
			conn, _, err = websocket.Dial(ctx, url, &websocket.DialOptions{Host: "chat.test"})
			return err
		})
		return conn
	}
	w.b.Cleanup(func() { s.end() })
	for range n {
		both := [2]*websocket.Conn{dial(direct), dial(through)}
		s.wg.Go(func() { s.use(ctx, both) })
	}
	return s
}

// use uses both sockets of a pair, at the same moment, again and again.
func (s *socketPairs) use(ctx context.Context, both [2]*websocket.Conn) {
	const every = 500 * time.Millisecond
	defer func() { _, _ = both[0].CloseNow(), both[1].CloseNow() }()
	for wait := rand.N(every); ; wait = every {
		pause(ctx, wait)
		if ctx.Err() != nil {
			return
		}
		var took [2]time.Duration
		var errs [2]error
		var wg sync.WaitGroup
		for i := range both {
			wg.Go(func() { took[i], errs[i] = roundTrip(both[i]) })
		}
		wg.Wait()
		s.mu.Lock()
		err := errors.Join(errs[:]...)
		if err != nil {
			s.closed = append(s.closed, err)
		} else {
			s.direct, s.through = append(s.direct, took[0]), append(s.through, took[1])
		}
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// roundTrip is how long a message takes, there and back.
func roundTrip(conn *websocket.Conn) (took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		return 0, err
	}
	_, _, err = conn.Read(ctx)
	return time.Since(began), err
}

// end stops using them, and returns how long echoes took.
func (s *socketPairs) end() (direct, through []time.Duration) {
	s.stop()
	s.wg.Wait()
	return s.direct, s.through
}
