package accept

import (
	"math"
	"net/netip"
	"time"
)

// Instance is one that takes new connections.
type Instance struct {
	Address netip.AddrPort
	// Connections is how many it has, as far as that is known; else 0.
	Connections int
}

// pace says when the next connection may go to an app port. Each instance takes so many a second.
// Envoy gives a connection to the instance that has the fewest. So one that has just come gets all of
// them for a while, and the others none: it is the pace of that one that counts then.
type pace struct {
	rate      float64 // a second and instance
	instances []instance
}

// instance has credit for connections, which grows with time.
type instance struct {
	Instance
	// told is how many connections it was last said to have: those that went on since count besides.
	told   int
	credit float64
	at     time.Time // as of when
}

// evenWithin is by how many connections instances may differ and still take turns, at least: what is
// known of them is some seconds old.
const evenWithin = 10

// burst is how many connections an instance may get at one moment.
func (p *pace) burst() float64 { return max(1, p.rate/10) }

// set takes what there is from now on. What is known of an instance stays.
func (p *pace) set(rate float64, instances []Instance, now time.Time) {
	before := p.instances
	p.rate, p.instances = rate, make([]instance, 0, len(instances))
	for n, i := range instances {
		next := instance{i, i.Connections, p.burst(), now}
		if old := find(before, i.Address, n); old != nil {
			next.credit, next.at = min(old.credit, p.burst()), old.at
			if next.told == old.told {
				next.Connections = old.Connections
			}
		}
		p.instances = append(p.instances, next)
	}
}

// find returns the instance with an address, which is likely at a place.
func find(all []instance, address netip.AddrPort, likely int) *instance {
	if likely < len(all) && all[likely].Address == address {
		return &all[likely]
	}
	for i := range all {
		if all[i].Address == address {
			return &all[i]
		}
	}
	return nil
}

// next returns the instance that is to be thought to get the next connection: of those that have the
// fewest the one with the most credit, and of those with as much the one with the fewest, as Envoy does. It is
// nil if there is none.
func (p *pace) next(now time.Time) *instance {
	fewest := math.MaxInt
	for i := range p.instances {
		fewest = min(fewest, p.instances[i].Connections)
	}
	var best *instance
	within := max(evenWithin, int(p.rate))
	for n := range p.instances {
		i := &p.instances[n]
		if i.Connections-fewest > within {
			continue
		}
		i.credit = min(p.burst(), i.credit+p.rate*max(0, now.Sub(i.at).Seconds()))
		i.at = now
		if best == nil || i.credit > best.credit || i.credit == best.credit && i.Connections < best.Connections {
			best = i
		}
	}
	return best
}

// never is a wait of which no end is known: there is no instance.
const never = time.Duration(math.MaxInt64)

// take lets a connection go on if one may now. If not, it returns after how long one may.
func (p *pace) take(now time.Time) (wait time.Duration) {
	i := p.next(now)
	if i == nil {
		return never
	}
	// What is left of rounding must not cost a wait.
	if missing := 1 - i.credit; missing > 1e-9 {
		return max(time.Microsecond, time.Duration(missing/p.rate*float64(time.Second)))
	}
	i.credit--
	i.Connections++
	return 0
}

// perSecond is how many connections go on a second if all instances have as many.
func (p *pace) perSecond() float64 { return p.rate * float64(len(p.instances)) }
