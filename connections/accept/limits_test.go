package accept

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"relay/internal/questions"
	"relay/internal/ratelimit"
)

// There are limits of how many wait, and for how long. What is beyond is closed.
func TestLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 10, Instances: instances(1)}, func(l *Limits) { l.PerPort, l.InAll = 100, 150 })
		for n := range 60 {
			w.connect(t.Context(), fmt.Sprint("one client ", n), "192.0.2.1")
		}
		if d := w.Depth("/db", 0).Waiting; d != 50 {
			t.Errorf("%d of one client wait", d)
		}
		for n := range 60 {
			w.connect(t.Context(), fmt.Sprint("others ", n), fmt.Sprintf("198.51.100.%d", n))
		}
		if d := w.Depth("/db", 0).Waiting; d != 100 {
			t.Errorf("%d wait", d)
		}
		if closed := w.count(full); closed != 19 {
			t.Errorf("%g were closed", closed)
		}
		w.all.Wait()
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 1, Instances: instances(1)}, func(l *Limits) { l.Wait = 10 * time.Second })
		for n := range 20 {
			w.connect(t.Context(), fmt.Sprint(n), fmt.Sprintf("198.51.100.%d", n))
		}
		if d := w.Depth("/db", 0).Waiting; d != 10 {
			t.Errorf("%d wait, of which each gets a turn in 10 s", d)
		}
		w.set(Port{AcceptRate: 1}) // no instance
		w.all.Wait()
		if n := len(w.ended); n < 18 || time.Since(w.began) > 11*time.Second {
			t.Errorf("%d were closed after %s", n, time.Since(w.began))
		}
	})
}

// everywhere has all ports alike.
type everywhere struct{ port Port }

func (e everywhere) Port(string, string, int) Port { return e.port }

// Floods of connections to some services leave places for those to another one. They get no more than it.
func TestFloodLeavesPlacesForOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{}, func(l *Limits) { l.PerPort, l.InAll = 100, 200 })
		w.apps = everywhere{Port{AcceptRate: 2, Instances: instances(1)}}
		var in atomic.Int32
		connect := func(app string, n int) {
			for i := range n {
				w.all.Go(func() {
					client := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
					if within, err := w.Connection(t.Context(), ratelimit.Question{Fleet: "edge", App: app, Client: client}); within && err == nil && app == "/calm" {
						in.Add(1)
					}
				})
				synctest.Wait()
			}
		}
		connect("/flood/a", 150)
		connect("/flood/b", 150)
		connect("/calm", 30)
		connect("/flood/a", 50)
		if a, b, calm := w.Depth("/flood/a", 0).Waiting, w.Depth("/flood/b", 0).Waiting, w.Depth("/calm", 0).Waiting; calm != 29 || a+b != 171 || a < 80 || b < 80 || w.Waiting() != 200 {
			t.Errorf("%d, %d and %d wait, %d in all", a, b, calm, w.Waiting())
		}
		w.all.Wait()
		if n := in.Load(); n != 30 || w.Waiting() != 0 {
			t.Errorf("%d of 30 are let in; %d wait", n, w.Waiting())
		}
	})
}

// A client may open so many a second, and as many at one moment.
func TestAddressRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AddressRate: 20})
		open := func(client string, n int) (in int) {
			for range n {
				if ok, err := w.ask(t.Context(), client); ok && err == nil {
					in++
				}
			}
			return in
		}
		if n := open("192.0.2.1", 100); n != 20 {
			t.Errorf("%d at one moment", n)
		}
		if n := open("192.0.2.2", 1); n != 1 {
			t.Error("another client is kept out")
		}
		time.Sleep(500 * time.Millisecond)
		if n := open("192.0.2.1", 100); n != 10 {
			t.Errorf("%d half a second later", n)
		}
		if n := open("", 100); n != 100 {
			t.Errorf("%d of clients without an address", n)
		}
		if n := open("2001:db8:1:2::1", 15) + open("2001:db8:1:2::2", 15); n != 20 {
			t.Errorf("%d of one network", n)
		}
		w.set(Port{AddressRate: 0.5})
		time.Sleep(time.Minute)
		if n := open("192.0.2.1", 3); n != 1 {
			t.Errorf("%d at one in two seconds", n)
		}
		time.Sleep(2 * time.Second)
		if n := open("192.0.2.1", 3); n != 1 {
			t.Errorf("%d two seconds later", n)
		}
	})
}

// What is kept of clients is limited.
func TestAddressesAreBounded(t *testing.T) {
	t.Parallel()
	var a addresses
	now := time.Now()
	for n := range maxAddresses + 1000 {
		client := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		if !a.take(questions.Client(client), 1, now) {
			t.Fatal("the first one is kept out")
		}
	}
	if len(a.free) > maxAddresses {
		t.Errorf("%d are kept", len(a.free))
	}
	if a.take(questions.Client(netip.MustParseAddr("10.0.0.9")), 1, now.Add(time.Minute)); len(a.free) > 2 {
		t.Errorf("%d are kept a minute later", len(a.free))
	}
}

// Who asks for nothing that is limited goes on at once; and Envoys of other fleets.
func TestUnlimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Port{AcceptRate: 0.1, Instances: instances(1)})
	for _, q := range []ratelimit.Question{{Fleet: "edge", App: "/web"}, {Fleet: "edge", App: "/db", Port: 1}, {Fleet: "other", App: "/db"}} {
		if _, err := w.ask(t.Context(), "192.0.2.1"); err != nil && q.Fleet == "edge" {
			t.Fatal(err)
		}
		for range 3 {
			if within, err := w.Connection(t.Context(), q); !within || err != nil {
				t.Errorf("%+v: %t, %v", q, within, err)
			}
		}
		w.set(Port{AddressRate: 1, AcceptRate: 1000, Instances: instances(1)})
	}
}

// A Relay that does not know the apps yet has connections wait for a while, and then another one asked.
func TestStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 10, Instances: instances(1)})
		ready := make(chan struct{})
		w.Ready = ready
		w.connect(t.Context(), "early", "192.0.2.1")
		time.Sleep(6 * time.Second)
		w.connect(t.Context(), "later", "192.0.2.1")
		time.Sleep(time.Second)
		close(ready)
		w.all.Wait()
		if w.ended["early"] != codes.Unavailable.String() || w.went["later"] != 7*time.Second {
			t.Errorf("%v, %v", w.ended, w.went)
		}
	})
}

// App ports that nobody connects to are forgotten.
func TestForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{AcceptRate: 10, Instances: instances(1)})
		w.connect(t.Context(), "one", "192.0.2.1")
		time.Sleep(2 * forgetAfter)
		w.Service.mu.Lock()
		w.forget(time.Now())
		if len(w.ports) != 0 {
			t.Error("it is kept")
		}
		w.Service.mu.Unlock()
	})
}

// inFleet has a port in one fleet.
type inFleet struct {
	name string
	port Port
}

func (f *inFleet) Port(fleet, _ string, _ int) Port {
	if fleet != f.name {
		return Port{}
	}
	return f.port
}

// An app that goes from one fleet to another one keeps its limits there.
func TestLimitsInAnotherFleet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Port{})
		apps := &inFleet{"edge", Port{AddressRate: 2}}
		w.apps = apps
		in := func(fleet string) (n int) {
			for range 10 {
				q := ratelimit.Question{Fleet: fleet, App: "/db", Client: netip.MustParseAddr("192.0.2.1")}
				if within, err := w.Connection(t.Context(), q); within && err == nil {
					n++
				}
			}
			return n
		}
		if n := in("edge"); n != 2 {
			t.Errorf("%d of 10 are let in", n)
		}
		apps.name = "inner"
		time.Sleep(10 * time.Second)
		if n := in("inner"); n != 2 {
			t.Errorf("%d of 10 are let in by the other fleet", n)
		}
	})
}
