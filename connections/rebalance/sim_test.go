package rebalance

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relay/sources"
)

// sim is some Envoys, instances and clients in the time of a test. It is the Loads, the View and the Sink of
// a Balancer.
type sim struct {
	mu     sync.Mutex // between the test and the Balancer
	t      *testing.T
	random *rand.Rand
	app    *sources.App // as it is read
	shown  *sources.App // as it is routed
	stage  *Stage
	envoys []*simEnvoy
	doubt  string
	// refuses are instances to which no connection comes, though they count as healthy; unreachable those of
	// which Envoys say so.
	refuses, unreachable map[netip.AddrPort]bool
	// back are clients that connect anew, by when.
	back []time.Time
	// shed is when connections ended by the rule.
	shed []time.Time
	// ping is how often clients send something; silent is the share of those that never do.
	ping     time.Duration
	silent   float64
	balancer *Balancer
}

type simEnvoy struct {
	id uint64
	// conns are in order of arrival: what happens by chance is the same each time.
	conns   []*simConn
	told    map[netip.AddrPort]uint64
	counts  map[netip.AddrPort]uint64
	reports int // the second of ten in which it reports
}

type simConn struct {
	id       uint64
	began    time.Time
	instance netip.AddrPort
	next     time.Time
	silent   bool
	ended    bool
}

func simAddress(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 8883)
}

// startSim runs a Balancer for an app with so many instances.
func startSim(t *testing.T, seed uint64, envoys, instances int, rate float64) *sim {
	s := &sim{t: t, random: rand.New(rand.NewPCG(seed, 1)), ping: 20 * time.Second, refuses: map[netip.AddrPort]bool{}, unreachable: map[netip.AddrPort]bool{}}
	for i := range envoys {
		s.envoys = append(s.envoys, &simEnvoy{id: s.random.Uint64N(1e6), told: map[netip.AddrPort]uint64{}, counts: map[netip.AddrPort]uint64{}, reports: (i * 7) % 10})
	}
	s.stage = NewStage(s)
	s.balancer = New(Config{Loads: s, View: s}, s.stage)
	s.scale(instances, rate)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.balancer.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// scale has the app have so many healthy instances.
func (s *sim) scale(instances int, rate float64) {
	p := sources.Port{TCP: &sources.TCP{Port: 8883, Rebalance: rate}}
	for i := range instances {
		p.Endpoints = append(p.Endpoints, sources.Endpoint{Address: simAddress(i)})
	}
	s.read(p)
}

func (s *sim) read(p sources.Port) {
	s.app = &sources.App{ID: "/imp", Ports: []sources.Port{p}}
	s.stage.SyncApps([]*sources.App{s.app})
}

func (s *sim) SyncApps(apps []*sources.App)              { s.show(apps[0]) }
func (s *sim) UpdateApps(set []*sources.App, _ []string) { s.show(set[0]) }

func (s *sim) show(app *sources.App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = app
}

func (s *sim) Routed(id string) (string, *sources.App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return id, s.shown
}

func (s *sim) Serving(string, int) []string { return []string{"external"} }
func (s *sim) Unreachable(string) map[netip.AddrPort]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.unreachable)
}

func (s *sim) Cluster(app string, _ int) string { return app + "_0" }
func (s *sim) Counting(string) (nodes []string, doubt string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.envoys {
		nodes = append(nodes, string(rune('a'+e.reports)))
	}
	return nodes, s.doubt
}

func (s *sim) FollowOpen(string, string) (map[netip.AddrPort]uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := make(map[netip.AddrPort]uint64)
	for _, e := range s.envoys {
		for address, n := range e.told {
			sum[address] += n
		}
	}
	return sum, true
}

// connect opens a connection by a random Envoy, which takes the instance with the fewest.
func (s *sim) connect() {
	e := s.envoys[s.random.IntN(len(s.envoys))]
	var best netip.AddrPort
	ties := 0
	for _, ep := range s.shown.Ports[0].Endpoints {
		if ep.Health != sources.Healthy || s.refuses[ep.Address] || s.unreachable[ep.Address] {
			continue
		}
		switch n := e.counts[ep.Address]; {
		case ties == 0 || n < e.counts[best]:
			best, ties = ep.Address, 1
		case n == e.counts[best]:
			if ties++; s.random.IntN(ties) == 0 {
				best = ep.Address
			}
		}
	}
	if ties == 0 {
		s.back = append(s.back, time.Now().Add(time.Second))
		return
	}
	e.id += 2
	e.counts[best]++
	e.conns = append(e.conns, &simConn{
		id: e.id, began: time.Now(), instance: best, silent: s.random.Float64() < s.silent,
		next: time.Now().Add(time.Duration(s.random.Int64N(int64(s.ping)))),
	})
}

func (s *sim) end(e *simEnvoy, c *simConn) {
	c.ended = true
	e.counts[c.instance]--
}

// number is what shedCondition of collator/envoy makes of a connection.
func number(id uint64, before int64) float64 {
	return float64((id+uint64(before))%(1<<32)*2654435761%(1<<32)) * 100 / (1 << 32)
}

// run lets time pass. Each second so many of a thousand connections leave and as many come.
func (s *sim) run(d time.Duration, churn float64) {
	for range int(d / time.Second) {
		time.Sleep(time.Second)
		synctest.Wait()
		s.second(churn)
	}
}

// second is one of run.
func (s *sim) second(churn float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	sheds := make(map[netip.AddrPort]sources.Shed)
	for _, e := range s.shown.Ports[0].Endpoints {
		sheds[e.Address] = e.Shed
	}
	due := s.back
	s.back = nil
	for _, at := range due {
		if at.After(now) {
			s.back = append(s.back, at)
			continue
		}
		s.connect()
	}
	for _, e := range s.envoys {
		for _, c := range e.conns {
			switch {
			case s.random.Float64() < churn/1000:
				s.end(e, c)
				s.back = append(s.back, now.Add(time.Second))
			case !c.silent && !now.Before(c.next):
				c.next = c.next.Add(s.ping)
				if shed := sheds[c.instance]; number(c.id, shed.Before) < shed.Percent && c.began.Unix() < shed.Before {
					s.end(e, c)
					s.shed = append(s.shed, now)
					s.back = append(s.back, now.Add(time.Second))
				}
			}
		}
		e.conns = slices.DeleteFunc(e.conns, func(c *simConn) bool { return c.ended })
		if now.Unix()%10 == int64(e.reports) {
			clear(e.told)
			for address, n := range e.counts {
				e.told[address] = n
			}
		}
	}
}

// open is how many connections each instance has.
func (s *sim) open() (at map[netip.AddrPort]float64, sum float64) {
	at = make(map[netip.AddrPort]float64)
	for _, ep := range s.shown.Ports[0].Endpoints {
		at[ep.Address] = 0
	}
	for _, e := range s.envoys {
		for address, n := range e.counts {
			at[address] += float64(n)
			sum += float64(n)
		}
	}
	return at, sum
}

// spread is how far the instance that is furthest from its share is from it, in percent.
func (s *sim) spread() float64 {
	at, sum := s.open()
	share, furthest := sum/float64(len(at)), 0.0
	for _, n := range at {
		furthest = max(furthest, math.Abs(n-share))
	}
	return furthest / share * 100
}

// mostAMinute is how many connections ended by the rule within any minute.
func (s *sim) mostAMinute() (most int) {
	for i, j := 0, 0; i < len(s.shed); i++ {
		for s.shed[i].Sub(s.shed[j]) >= time.Minute {
			j++
		}
		most = max(most, i-j+1)
	}
	return most
}

func (s *sim) text() string {
	story, _ := s.balancer.Story("/imp", 0)
	return story.Text
}
