// Package traffic has what Envoys report of the traffic that they serve: for now, the
// instances to which they could not connect.
package traffic

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Instance is an instance of an app, as a cluster of a fleet has it.
type Instance struct {
	Fleet, Cluster string
	Address        netip.AddrPort
}

// Unreachable is an instance to which Envoys could not connect lately.
type Unreachable struct {
	Instance
	// Envoys have the node ids of those that reported it, sorted; the first maxNodes.
	Envoys []string
	// Since is when the first of the failures was reported, and Last when the last was.
	Since, Last time.Time
	// Failures is how many there were.
	Failures uint64
	// Reason is that of the last failure, in Envoy's words.
	Reason string
}

const (
	// forgetAfter is how long a failure counts. Envoys tell of failures, and not of connections
	// that they make. An Envoy that has taken an instance out tries it again sooner.
	forgetAfter = 10 * time.Minute
	// maxInstances is how many instances are kept. An instance more is not.
	maxInstances = 10_000
	// maxNodes is how many Envoys are kept for each instance.
	maxNodes = 20
	// maxReason is how many bytes are kept of a reason, and maxName the longest name of a
	// cluster.
	maxReason, maxName = 200, 2048
)

// Failures keeps the instances to which Envoys could not connect lately.
type Failures struct {
	mu        sync.Mutex
	instances map[Instance]*Unreachable
}

// NewFailures returns a Failures without any.
func NewFailures() *Failures { return &Failures{instances: make(map[Instance]*Unreachable)} }

// add notes that an Envoy could not connect to an instance.
func (f *Failures) add(i Instance, node, reason string, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.instances[i]
	if u == nil {
		if len(f.instances) >= maxInstances && !f.forget(at) {
			return
		}
		u = &Unreachable{Instance: i, Since: at}
		f.instances[i] = u
	}
	if at.Sub(u.Last) > forgetAfter {
		*u = Unreachable{Instance: i, Since: at}
	}
	u.Last, u.Reason = at, strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "?")
	u.Failures++
	if at, known := slices.BinarySearch(u.Envoys, node); !known && len(u.Envoys) < maxNodes {
		u.Envoys = slices.Insert(u.Envoys, at, node)
	}
}

// forget removes what does not count any more, and reports whether there was any.
func (f *Failures) forget(now time.Time) bool {
	before := len(f.instances)
	for i, u := range f.instances {
		if now.Sub(u.Last) > forgetAfter {
			delete(f.instances, i)
		}
	}
	return len(f.instances) < before
}

// Unreachable returns the instances to which Envoys could not connect lately, by fleet,
// cluster and address.
func (f *Failures) Unreachable() []Unreachable {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forget(time.Now())
	all := make([]Unreachable, 0, len(f.instances))
	for _, u := range f.instances {
		one := *u
		one.Envoys = slices.Clone(u.Envoys)
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Unreachable) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Cluster, b.Cluster), a.Address.Compare(b.Address))
	})
	return all
}
