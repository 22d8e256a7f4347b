package envoy_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/sources"
	"relay/xds/envoytest"
)

// devices are clients of a service and its instances, which answer what they are told.
type devices struct {
	e    *realEnvoy
	port uint16
	// open is how many connections each instance has.
	open map[string]*atomic.Int64
	app  *sources.App
}

func (e *realEnvoy) devices(id string, tcp sources.TCP) *devices {
	tcp.Port = envoytest.FreePort(e.t)
	return &devices{e: e, port: tcp.Port, open: make(map[string]*atomic.Int64), app: serviceApp(id, tcp)}
}

// add returns the address of one more instance.
func (d *devices) add() string {
	open := new(atomic.Int64)
	address := d.e.instance(func(conn *net.TCPConn) {
		open.Add(1)
		_, _ = io.Copy(conn, conn)
		open.Add(-1)
	})
	d.open[address] = open
	return address
}

// with is the service with these endpoints.
func (d *devices) with(change func(es []sources.Endpoint), addresses ...string) *sources.App {
	return changed(d.app, func(p *sources.Port) {
		p.Endpoints = endpoints(addresses...)
		if change != nil {
			change(p.Endpoints)
		}
	})
}

// connect opens so many connections, and waits until each is with an instance.
func (d *devices) connect(t *testing.T, n int) []net.Conn {
	t.Helper()
	all := make([]net.Conn, n)
	for i := range all {
		all[i] = dial(t, d.port)
		if err := pinged(all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// pinged is nil if an instance answers.
func pinged(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "ping"); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 4))
	return err
}

// pingAll has all clients say something, and returns those that are still connected.
func pingAll(t *testing.T, conns []net.Conn) (left []net.Conn) {
	t.Helper()
	alive := make([]bool, len(conns))
	var wg sync.WaitGroup
	for i, conn := range conns {
		wg.Go(func() {
			err := pinged(conn)
			alive[i] = err == nil
			if err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("a connection did not end in order: %v", err)
			}
		})
	}
	wg.Wait()
	for i, conn := range conns {
		if alive[i] {
			left = append(left, conn)
		}
	}
	return left
}

// spread is how far the instance that is furthest from its share is from it, in percent.
func (d *devices) spread() float64 {
	var sum, furthest float64
	for _, n := range d.open {
		sum += float64(n.Load())
	}
	share := sum / float64(len(d.open))
	for _, n := range d.open {
		furthest = max(furthest, float64(n.Load())-share, share-float64(n.Load()))
	}
	return furthest / share * 100
}

// Connections go to the instance with the fewest: after a fourth comes to three, as many more
// connections make it even.
func TestConnectionsGoToTheFewest(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		d := e.devices("/imp", sources.TCP{})
		first := []string{d.add(), d.add(), d.add()}
		e.apply(t, d.with(nil, first...))
		e.opens(t, d.port)
		d.connect(t, 400)
		if got := d.spread(); got > 5 {
			t.Errorf("of three instances one is %.1f %% from its share", got)
		}
		e.apply(t, d.with(nil, append(first, d.add())...))
		d.connect(t, 400)
		if got := d.spread(); got > 5 {
			t.Errorf("of four instances one is %.1f %% from its share", got)
		}
	})
}

// While all instances drain, no connection comes to one, and those that are open stay.
func TestNoConnectionToDrainingInstances(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		d := e.devices("/imp", sources.TCP{})
		all := []string{d.add(), d.add()}
		e.apply(t, d.with(nil, all...))
		e.opens(t, d.port)
		conns := d.connect(t, 20)
		e.apply(t, d.with(func(es []sources.Endpoint) {
			for i := range es {
				es[i].Health = sources.Draining
			}
		}, all...))
		e.until(t, "Envoy knows", func() bool { return strings.Count(e.clusters(t), "eds_status_draining") == 2 })
		for range 20 {
			if err := pinged(dial(t, d.port)); err == nil {
				t.Fatal("a connection came to an instance that drains")
			}
		}
		if left := pingAll(t, conns); len(left) != len(conns) {
			t.Errorf("%d of %d connections are left", len(left), len(conns))
		}
		e.apply(t, d.with(func(es []sources.Endpoint) { es[0].Health = sources.Draining }, all...))
		e.until(t, "one takes connections again", func() bool { return pinged(dial(t, d.port)) == nil })
	})
}

// Of one instance, some connections end, each when its client says something: those of its endpoint's
// metadata, and no others.
func TestConnectionsAreShed(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			e.c.SyncCertificates("vault", nil, nil)
			d := e.devices("/imp", sources.TCP{Rebalance: 10})
			all := []string{d.add(), d.add(), d.add()}
			e.apply(t, d.with(nil, all...))
			e.opens(t, d.port)
			conns := d.connect(t, 600)
			before := time.Now().Unix() + 1
			e.until(t, "a second passes", func() bool { return time.Now().Unix() > before })
			later := d.connect(t, 30)
			taken := e.listenersTaken(t)
			shed := func(percent float64, before int64) {
				t.Helper()
				e.apply(t, d.with(func(es []sources.Endpoint) { es[0].Shed = sources.Shed{Percent: percent, Before: before} }, all...))
			}
			had := d.open[all[0]].Load()
			shed(20, before)
			if n := d.open[all[0]].Load(); n != had {
				t.Errorf("%d of %d connections ended before their clients said anything", had-n, had)
			}
			conns = pingAll(t, conns)
			gone := 600 - len(conns)
			if gone < 12 || gone > 68 { // of about 200, 40 are meant, give or take 5 standard deviations: less than one in a million tests fails
				t.Errorf("%d of %d connections ended, of 20 %%", gone, had)
			}
			for _, other := range all[1:] {
				if n := d.open[other].Load(); n < 200 {
					t.Errorf("the others lost connections: %d", n)
				}
			}
			// The same share again ends no more, and a smaller one neither.
			shed(10, before)
			if left := pingAll(t, conns); len(left) != len(conns) {
				t.Errorf("%d more ended", len(conns)-len(left))
			}
			shed(100, before)
			conns = pingAll(t, conns)
			if len(conns) > 420 || len(conns) < 390 {
				t.Errorf("%d connections are left, of two instances", len(conns))
			}
			if left := pingAll(t, later); len(left) != len(later) {
				t.Errorf("%d connections ended that are younger", len(later)-len(left))
			}
			if n := e.listenersTaken(t); n != taken {
				t.Errorf("Envoy took in %d listeners", n-taken)
			}
		})
	}
}

// Whatever the metadata says, Envoy lives on, and ends no connection that it should not.
func TestOddSheds(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version)
			e.c.SyncCertificates("vault", nil, nil)
			d := e.devices("/imp", sources.TCP{Rebalance: 10})
			all := []string{d.add()}
			e.apply(t, d.with(nil, all...))
			e.opens(t, d.port)
			conns := d.connect(t, 20)
			for name, shed := range map[string]sources.Shed{
				"none": {}, "negative": {Percent: -1, Before: 1 << 40}, "tiny": {Percent: 1e-300, Before: 1 << 40}, "long ago": {Percent: 100, Before: 1},
				"before 1970": {Percent: 100, Before: -1 << 62}, "never": {Percent: 100},
			} {
				e.apply(t, d.with(func(es []sources.Endpoint) { es[0].Shed = sources.Shed{Percent: 1e-9, Before: 7} }, all...))
				e.apply(t, d.with(func(es []sources.Endpoint) { es[0].Shed = shed }, all...))
				if left := pingAll(t, conns); len(left) != len(conns) {
					t.Errorf("%s: %d of %d connections ended", name, len(conns)-len(left), len(conns))
				}
			}
			for _, shed := range []sources.Shed{{Percent: 1e300, Before: 1 << 62}, {Percent: 100, Before: 1 << 53}} {
				e.apply(t, d.with(func(es []sources.Endpoint) { es[0].Shed = shed }, all...))
				pingAll(t, conns[:1])
			}
			if _, err := e.envoy.Get(t.Context(), "/ready"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Connections end at their age, not all at the same moment.
func TestMaxConnectionAge(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		d := e.devices("/imp", sources.TCP{MaxConnectionAge: 3 * time.Second})
		other := e.devices("/other", sources.TCP{})
		e.c.SyncApps([]*sources.App{d.with(nil, d.add()), other.with(nil, other.add())})
		e.opens(t, d.port)
		e.opens(t, other.port)
		kept := other.connect(t, 1)
		// A machine that stands still as they end sees all of them end at the moment at which it goes on. It does not
		// do so each time.
		for tries := 1; ; tries++ {
			shortest, longest := d.ages(t, 50)
			if shortest >= 2500*time.Millisecond && longest <= 6*time.Second && longest-shortest >= 100*time.Millisecond {
				break
			}
			if tries == 5 {
				t.Errorf("connections lasted from %s to %s", shortest, longest)
				break
			}
		}
		if len(pingAll(t, kept)) != 1 {
			t.Error("a connection of another service ended")
		}
	})
}

// ages opens so many connections, and returns how long they lasted, each from the moment at which it was opened.
func (d *devices) ages(t *testing.T, n int) (shortest, longest time.Duration) {
	t.Helper()
	ages := make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range ages {
		began := time.Now()
		conn := d.connect(t, 1)[0]
		wg.Go(func() {
			_, _ = conn.Read(make([]byte, 1))
			ages[i] = time.Since(began)
		})
	}
	wg.Wait()
	return slices.Min(ages), slices.Max(ages)
}

// Connections that come all at once are spread evenly, too.
func TestConnectionsAtOnceAreEven(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		e := startVersion(t, version)
		e.c.SyncCertificates("vault", nil, nil)
		d := e.devices("/imp", sources.TCP{Rebalance: 10})
		e.apply(t, d.with(nil, d.add(), d.add(), d.add()))
		e.opens(t, d.port)
		var wg sync.WaitGroup
		for range 600 {
			conn := dial(t, d.port) // Envoy accepts them when it likes
			wg.Go(func() {
				if err := pinged(conn); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := d.spread(); got > 5 {
			t.Errorf("one is %.1f %% from its share", got)
		}
	})
}
