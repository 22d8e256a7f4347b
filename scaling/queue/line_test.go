package queue

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"relay/sources"
)

func address(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 80)
}

func port(concurrency, length int, numbers ...int) Port {
	p := Port{Queue: &sources.Queue{Concurrency: concurrency, Length: length}}
	for _, n := range numbers {
		p.Endpoints = append(p.Endpoints, address(n))
	}
	return p
}

// modelLine checks a line against what must hold, whatever happens to it.
type modelLine struct {
	t          *testing.T
	line       *line
	port       Port
	inProgress []*ticket
	waiting    []*ticket
}

func (m *modelLine) enter() {
	before := m.line.depth()
	t, v := m.line.enter(time.Now())
	switch v {
	case granted:
		if before.Waiting > 0 {
			m.t.Fatal("a request overtook those that wait")
		}
		m.took(t)
	case wait:
		m.waiting = append(m.waiting, t)
		if len(m.waiting) > m.port.Queue.Length {
			m.t.Fatalf("%d wait, in a queue of %d", len(m.waiting), m.port.Queue.Length)
		}
	case busy:
		if before.Waiting < m.port.Queue.Length {
			m.t.Fatalf("refused, and only %d of %d wait", before.Waiting, m.port.Queue.Length)
		}
	case through:
		if m.port.Queue != nil && (len(m.port.Endpoints) > 0 || !m.port.Stopped) {
			m.t.Fatal("let through uncounted")
		}
	}
}

// took notes a request that was given an instance.
func (m *modelLine) took(t *ticket) {
	if !slices.Contains(m.port.Endpoints, t.address) {
		m.t.Fatalf("%s takes no requests, and got one", t.address)
	}
	m.inProgress = append(m.inProgress, t)
	load, least := 0, 1<<30
	for _, e := range m.port.Endpoints {
		n := 0
		for _, other := range m.inProgress {
			if other.address == e {
				n++
			}
		}
		if e == t.address {
			load, n = n, n-1
		}
		least = min(least, n)
	}
	if load > m.port.Queue.Concurrency {
		m.t.Fatalf("%s has %d requests, %d are allowed", t.address, load, m.port.Queue.Concurrency)
	}
	if load-1 > least {
		m.t.Fatalf("%s had %d requests and got one more, another instance had %d", t.address, load-1, least)
	}
}

// settle takes in what was decided for those that wait, which must be in order.
func (m *modelLine) settle() {
	for len(m.waiting) > 0 {
		select {
		case v := <-m.waiting[0].verdict:
			if v == granted {
				m.took(m.waiting[0])
			}
			m.waiting = m.waiting[1:]
			continue
		default:
		}
		break
	}
	for i, t := range m.waiting {
		if len(t.verdict) > 0 {
			m.t.Fatalf("number %d in the queue was decided before the first", i)
		}
	}
	d := m.line.depth()
	if d.InProgress != len(m.inProgress) || d.Waiting != len(m.waiting) {
		m.t.Fatalf("the line says %+v, %d are in progress and %d wait", d, len(m.inProgress), len(m.waiting))
	}
	m.line.mu.Lock()
	defer m.line.mu.Unlock()
	if len(m.waiting) > 0 && (!m.line.limits() || m.line.hasRoom()) {
		m.t.Fatal("a request waits though it could go")
	}
}

func (m *modelLine) set(p Port) {
	m.port = p
	m.line.set(p, time.Now())
}

// finish ends a request; the first of those that wait must be next.
func (m *modelLine) finish(r *rand.Rand) {
	if len(m.inProgress) == 0 {
		return
	}
	at := r.IntN(len(m.inProgress))
	t := m.inProgress[at]
	m.inProgress = slices.Delete(m.inProgress, at, at+1)
	t.leave()
}

// abandon has a client leave, or wait for too long.
func (m *modelLine) abandon(r *rand.Rand) {
	if len(m.waiting) == 0 {
		return
	}
	at := r.IntN(len(m.waiting))
	t := m.waiting[at]
	m.waiting = slices.Delete(m.waiting, at, at+1)
	if r.IntN(2) == 0 {
		t.leave()
		return
	}
	want := busy
	if len(m.port.Endpoints) == 0 {
		want = through
	}
	if v := t.giveUp(); v != want {
		m.t.Fatalf("waited too long, and got verdict %d, not %d", v, want)
	}
	t.leave()
}

// replace begins a new line, as one is closed that has no queue any more.
func (m *modelLine) replace(r *rand.Rand) {
	m.settle()
	if len(m.waiting) > 0 {
		m.t.Fatal("some wait without a queue")
	}
	for len(m.inProgress) > 0 {
		m.finish(r)
	}
	if t, v := m.line.enter(time.Now()); t != nil || v != gone {
		m.t.Fatalf("the line is not closed: verdict %d", v)
	}
	m.port = port(1+r.IntN(3), r.IntN(6), 0, 1)
	m.line = newLine(m.port)
}

// randomPort returns some instances of eight, with other limits now and then.
func randomPort(r *rand.Rand, now Port) Port {
	p := Port{Queue: now.Queue, Stopped: r.IntN(4) == 0}
	if r.IntN(5) == 0 {
		p.Queue = nil
	} else if r.IntN(5) == 0 {
		p.Queue = &sources.Queue{Concurrency: 1 + r.IntN(3), Length: r.IntN(6)}
	}
	for n := range 8 {
		if r.IntN(3) == 0 {
			p.Endpoints = append(p.Endpoints, address(n))
		}
	}
	return p
}

// Whatever comes, ends and changes: no instance gets more than it may, the order holds, and
// nobody waits while there is room.
func TestLine(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			p := port(1+r.IntN(3), r.IntN(6), 0, 1)
			m := &modelLine{t: t, line: newLine(p), port: p}
			for range 400 {
				switch n := r.IntN(20); {
				case n < 9:
					m.enter()
				case n < 16:
					m.finish(r)
				case n < 18:
					m.abandon(r)
				default:
					m.set(randomPort(r, m.port))
					if m.port.Queue == nil {
						m.replace(r)
					}
				}
				m.settle()
			}
			m.set(port(1, 0, 1, 2))
			m.settle()
			for len(m.inProgress) > 0 {
				m.finish(r)
				m.settle()
			}
			if l := m.line; len(l.instances) != 2 || l.inProgress != 0 || l.free[0].inProgress != 0 || l.free[1].inProgress != 0 {
				t.Errorf("in the end: %+v", l)
			}
		})
	}
}

// An instance that goes and comes back while it is busy is as busy as before.
func TestInstanceComesBack(t *testing.T) {
	t.Parallel()
	l := newLine(port(1, 10, 1))
	first, v := l.enter(time.Now())
	if v != granted {
		t.Fatal(v)
	}
	l.set(port(1, 10), time.Now())
	l.set(port(1, 10, 1), time.Now())
	second, v := l.enter(time.Now())
	if v != wait {
		t.Fatalf("verdict %d: the instance has two requests", v)
	}
	l.set(port(1, 10, 1, 2), time.Now())
	if len(second.verdict) != 1 || second.address != address(2) {
		t.Error("the new instance did not take the one that waits")
	}
	first.leave()
	second.leave()
}
