package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"relay/admin/api"
	"relay/xds/envoytest"
)

// fieldDevices are clients of a TCP service that say something every few seconds, and connect anew at once when
// their connection ends.
type fieldDevices struct {
	address string
	every   time.Duration
	stop    chan struct{}
	wg      sync.WaitGroup

	mu    sync.Mutex
	at    map[string]int // by instance
	ended []time.Time
}

func startDevices(t *testing.T, address string, every time.Duration) *fieldDevices {
	d := &fieldDevices{address: address, every: every, stop: make(chan struct{}), at: make(map[string]int)}
	t.Cleanup(func() { close(d.stop); d.wg.Wait() })
	return d
}

func (d *fieldDevices) add(n int) {
	for range n {
		d.wg.Go(func() {
			for d.connection() {
			}
		})
	}
}

// connection is one, until it ends. It is false if the test has ended.
func (d *fieldDevices) connection() (again bool) {
	conn, err := net.DialTimeout("tcp", d.address, 10*time.Second)
	if err != nil {
		select {
		case <-d.stop:
			return false
		case <-time.After(100 * time.Millisecond):
			return true
		}
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	name, err := in.ReadString('\n')
	if err != nil {
		return true
	}
	d.count(name, 1)
	defer d.count(name, -1)
	next := time.NewTimer(rand.N(d.every))
	defer next.Stop()
	for {
		select {
		case <-d.stop:
			return false
		case <-next.C:
		}
		next.Reset(d.every)
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, "ping\n")
		if _, err := in.ReadString('\n'); err != nil {
			d.mu.Lock()
			d.ended = append(d.ended, time.Now())
			d.mu.Unlock()
			return true
		}
	}
}

func (d *fieldDevices) count(name string, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at[name] += n
}

// spread is how far the instance that is furthest from its share is from it, in percent. It is an error
// until so many are connected.
func (d *fieldDevices) spread(connected, instances int) (percent float64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	share, sum := float64(connected)/float64(instances), 0
	for _, n := range d.at {
		sum += n
		percent = max(percent, math.Abs(float64(n)-share)/share*100)
	}
	if sum != connected || len(d.at) != instances {
		return 0, fmt.Errorf("connected: %v", d.at)
	}
	return percent, nil
}

// mostAMinute is how many connections ended within any minute, and in all.
func (d *fieldDevices) mostAMinute() (most, all int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := 0
	for i, at := range d.ended {
		for at.Sub(d.ended[first]) >= time.Minute {
			first++
		}
		most = max(most, i-first+1)
	}
	return most, len(d.ended)
}

// After a fourth server comes to three, connections of those with too many end, never more than the rate
// allows, and their devices connect anew until all is even. Nothing of other services ends. RELAY_TEST_REBALANCE
// sets another rate, in percent a minute: 10 takes five minutes.
func TestRebalancing(t *testing.T) {
	const devices = 400
	rate := 60.0
	if text := os.Getenv("RELAY_TEST_REBALANCE"); text != "" {
		var err error
		if rate, err = strconv.ParseFloat(text, 64); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld(t)
	client := w.relay.secure()
	w.relay.start()
	label := []string{"RELAY_0_REBALANCE", fmt.Sprintf("%g%%/min", rate)}
	var servers []string
	for _, name := range []string{"a", "b", "c", "d"} {
		servers = append(servers, w.tcp.lines(name, nil))
	}
	service := func(id string, tasks []string, labels ...string) *fieldDevices {
		port, address := w.tcp.port()
		w.marathon.service(id, tasks, append([]string{portLabel, port}, labels...)...)
		return startDevices(t, address, 3*time.Second)
	}
	imp := service("/imp", servers[:3], label...)
	plain, other := service("/plain", servers[:2]), service("/other", servers[:2], label...)
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, TLS: client})
	w.envoy.ready()
	for _, d := range []*fieldDevices{imp, plain, other} {
		// One that stays and says nothing could not be moved.
		_ = w.tcp.greeted(d.address, "a").Close()
	}
	imp.add(devices)
	plain.add(20)
	other.add(20)
	rebalance := func() api.Rebalance {
		var s api.AppStory
		if !w.admin.read("/api/v1/apps/imp", &s) || len(s.Ports) == 0 || s.Ports[0].Rebalance == nil {
			return api.Rebalance{}
		}
		return *s.Ports[0].Rebalance
	}
	w.eventually("three are even", func() error {
		if p, err := imp.spread(devices, 3); err != nil || p > 5 || rebalance().Phase != "even" {
			return fmt.Errorf("%.1f %%, %w; %+v", p, err, rebalance())
		}
		return nil
	})
	if _, n := imp.mostAMinute(); n > 0 {
		t.Errorf("%d connections ended while it was even", n)
	}
	listeners := func() int64 {
		const stat = "listener_manager.lds.update_success"
		stats, err := w.envoy.Stats(t.Context(), regexp.MustCompile("^"+regexp.QuoteMeta(stat)+"$"))
		if err != nil {
			t.Fatal(err)
		}
		return stats[stat]
	}
	taken := listeners()
	began := time.Now()
	port := imp.address[len("127.0.0.1:"):]
	w.marathon.service("/imp", servers, append([]string{portLabel, port}, label...)...)
	// A quarter moves. With what is waited for, it takes less than twice the time. What does not end, by
	// chance, is chosen anew a minute later, and that may happen several times.
	limit := time.Duration(2*25/rate*float64(time.Minute)) + 5*time.Minute
	var even time.Duration
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		p, err := imp.spread(devices, 4)
		if even == 0 && err == nil && p <= 5 {
			even = time.Since(began)
		}
		if even > 0 && rebalance().Phase == "even" {
			break
		}
		if time.Since(began) > limit {
			t.Fatalf("after %s: %.1f %%, %v; %+v", limit, p, err, rebalance())
		}
	}
	most, all := imp.mostAMinute()
	t.Logf("within 5 %% after %s; %d connections ended, at most %d a minute; %+v", even.Round(time.Second), all, most, rebalance())
	if allowed := rate / 100 * devices; float64(most) > allowed || all > 115 {
		t.Errorf("%d connections ended, %d within a minute; the rate is %.0f", all, most, allowed)
	}
	for name, d := range map[string]*fieldDevices{"/plain": plain, "/other": other} {
		if _, n := d.mostAMinute(); n > 0 {
			t.Errorf("%d connections of %s ended", n, name)
		}
	}
	if n := listeners(); n != taken {
		t.Errorf("Envoy took in %d listeners", n-taken)
	}
	if ended, _ := w.admin.metric("relay_rebalancing_ended_total"); ended == 0 {
		t.Error("the metric counts none")
	}
	w.envoy.nothingRejected()
}
