package rebalance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources"
)

// After a scale-up all instances get even, within about the time that the rate allows, and never faster than
// the rate. Then nothing ends any more.
func TestScaleUp(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		envoys, connections, from, to int
		rate                          float64
		ping                          time.Duration
		churn                         float64
	}{
		{1, 400, 3, 4, 10, 20 * time.Second, 0},
		{1, 400, 3, 4, 10, 60 * time.Second, 0},
		{1, 2000, 3, 4, 5, 20 * time.Second, 0},
		{2, 1000, 3, 5, 10, 20 * time.Second, 0.1},
		{4, 3000, 2, 4, 10, 30 * time.Second, 0.2},
		{1, 3000, 9, 10, 2, 60 * time.Second, 0.1},
		{1, 12, 2, 3, 50, 5 * time.Second, 0},
	} {
		for seed := range uint64(2) {
			t.Run(fmt.Sprintf("%+v %d", tt, seed), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := startSim(t, seed, tt.envoys, tt.from, tt.rate)
					s.ping = tt.ping
					for range tt.connections {
						s.connect()
					}
					s.run(3*time.Minute, tt.churn)
					if len(s.shed) > 0 {
						t.Fatalf("%d connections ended though it was even", len(s.shed))
					}
					s.scale(tt.to, tt.rate)
					excess := float64(tt.to-tt.from) / float64(tt.to) * 100 // percent of all
					allowed := time.Duration(excess / tt.rate * float64(time.Minute))
					s.run(2*allowed+2*tt.ping+patience+time.Minute, tt.churn)
					tolerance := max(5, 200/float64(tt.connections/tt.to)) // two connections of few
					if got := s.spread(); got > tolerance {
						t.Errorf("after the time that the rate allows, one is %.1f %% from its share: %s", got, s.text())
					}
					if most, want := s.mostAMinute(), tt.rate/100*float64(tt.connections); float64(most) > want+0.5 {
						t.Errorf("%d connections ended within a minute, and the rate is %.1f", most, want)
					}
					if n, most := len(s.shed), excess/100*float64(tt.connections); float64(n) > 1.1*most+3 {
						t.Errorf("%d connections ended to move %.0f", n, most)
					}
					s.run(10*time.Minute, tt.churn)
					ended := len(s.shed)
					s.run(30*time.Minute, tt.churn)
					if n := len(s.shed) - ended; n > 0 {
						t.Errorf("%d ended later, when it was even: %s", n, s.text())
					}
				})
			})
		}
	}
}

// What never sends anything ends never, and keeps nothing from getting even if there are others.
func TestSilentClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 1, 3, 20)
		s.silent = 0.4
		for range 600 {
			s.connect()
		}
		s.run(time.Minute, 0)
		s.scale(4, 20)
		s.run(2*time.Hour, 0)
		if got := s.spread(); got > 5 {
			t.Errorf("one is %.1f %% from its share: %s", got, s.text())
		}
		if most := s.mostAMinute(); most > 120 {
			t.Errorf("%d connections ended within a minute", most)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 1, 3, 20)
		s.silent = 1
		for range 600 {
			s.connect()
		}
		s.run(time.Minute, 0)
		s.scale(4, 20)
		s.run(3*time.Minute, 0)
		if len(s.shed) > 0 || !strings.Contains(s.text(), "end when their clients send something") {
			t.Errorf("%d ended: %s", len(s.shed), s.text())
		}
	})
}

// Clients that all send at the same moment, seldom, end no more than the rate a minute.
func TestClientsInStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 1, 3, 10)
		s.ping = 5 * time.Minute
		for range 600 {
			s.connect()
		}
		for _, c := range s.envoys[0].conns {
			c.next = time.Now().Add(s.ping)
		}
		s.run(time.Minute, 0)
		s.scale(4, 10)
		s.run(time.Hour, 0)
		if most := s.mostAMinute(); most > 60+20 { // which ones end is a matter of chance
			t.Errorf("%d connections ended within a minute", most)
		}
		if got := s.spread(); got > 5 {
			t.Errorf("one is %.1f %% from its share: %s", got, s.text())
		}
	})
}

// A new instance that no connection reaches costs the others what would have come to it, once, and not again
// and again.
func TestInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 1, 3, 10)
		for range 300 {
			s.connect()
		}
		s.run(time.Minute, 0)
		s.refuses[simAddress(3)] = true
		s.scale(4, 10)
		s.run(8*time.Hour, 0)
		if n := len(s.shed); n == 0 || n > 1400 {
			t.Errorf("%d connections ended in eight hours", n)
		}
		if text := s.text(); !strings.Contains(text, "as uneven as before") || !strings.Contains(text, "10.0.0.3:8883") {
			t.Errorf("the story: %s", text)
		}
		s.refuses = map[netip.AddrPort]bool{}
		s.run(5*time.Hour, 0)
		if got := s.spread(); got > 5 {
			t.Errorf("one is %.1f %% from its share: %s", got, s.text())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 1, 3, 10)
		for range 300 {
			s.connect()
		}
		s.unreachable[simAddress(3)] = true
		s.scale(4, 10)
		s.run(time.Hour, 0)
		if n := len(s.shed); n > 0 {
			t.Errorf("%d connections ended though Envoys cannot reach the new instance", n)
		}
	})
}

// What drains is left alone, and counts for nothing.
func TestDraining(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 1, 4, 10)
		for range 400 {
			s.connect()
		}
		s.run(time.Minute, 0)
		p := s.app.Ports[0]
		p.Endpoints = append([]sources.Endpoint{}, p.Endpoints...)
		p.Endpoints[0].Health, p.Endpoints[1].Health = sources.Draining, sources.Draining
		s.read(p)
		s.run(10*time.Minute, 0)
		if len(s.shed) > 0 {
			t.Errorf("%d connections ended", len(s.shed))
		}
		for _, e := range s.shown.Ports[0].Endpoints {
			if e.Shed != (sources.Shed{}) {
				t.Errorf("%s is to shed", e.Address)
			}
		}
	})
}

// While it is not known who has how many, no more ends than was decided, and after a while nothing.
func TestUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 1, 3, 5)
		for range 2000 {
			s.connect()
		}
		s.run(time.Minute, 0)
		s.scale(4, 5)
		s.run(2*time.Minute, 0)
		if len(s.shed) == 0 {
			t.Fatal("none ended")
		}
		s.doubt = "Envoy edge-1 has not reported its load lately"
		s.run(time.Minute, 0)
		ended := len(s.shed)
		s.run(time.Hour, 0)
		if n := len(s.shed) - ended; n > 50 {
			t.Errorf("%d ended", n)
		}
		if !strings.Contains(s.text(), s.doubt) {
			t.Errorf("the story: %s", s.text())
		}
		for _, e := range s.shown.Ports[0].Endpoints {
			if e.Shed != (sources.Shed{}) {
				t.Errorf("%s is to shed", e.Address)
			}
		}
		s.doubt = ""
		s.run(15*time.Minute, 0)
		if got := s.spread(); got > 5 {
			t.Errorf("one is %.1f %% from its share: %s", got, s.text())
		}
	})
}

// An Envoy that comes or goes is no reason to end anything at once.
func TestEnvoysComeAndGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := startSim(t, 1, 2, 3, 10)
		for range 900 {
			s.connect()
		}
		s.run(time.Minute, 0)
		gone := s.envoys[1]
		s.envoys = s.envoys[:1]
		for range gone.conns {
			s.connect()
		}
		s.run(10*time.Minute, 0)
		if n := len(s.shed); n > 0 {
			t.Errorf("%d ended when an Envoy went", n)
		}
		s.envoys = append(s.envoys, gone)
		s.run(5*time.Minute, 0)
		if most := s.mostAMinute(); most > 90 {
			t.Errorf("%d ended within a minute", most)
		}
	})
}
