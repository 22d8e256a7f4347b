package traffic

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
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

// Connections keeps the instances to which Envoys could not connect lately.
type Connections struct {
	mu        sync.Mutex
	instances map[Instance]*Unreachable
}

// NewConnections returns a Connections without any.
func NewConnections() *Connections { return &Connections{instances: make(map[Instance]*Unreachable)} }

// add notes that an Envoy could not connect to an instance.
func (c *Connections) add(i Instance, node, reason string, n uint64, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.instances[i]
	if u == nil {
		if len(c.instances) >= maxInstances && !c.forget(at) {
			return
		}
		u = &Unreachable{Instance: i, Since: at}
		c.instances[i] = u
	}
	if at.Sub(u.Last) > forgetAfter {
		*u = Unreachable{Instance: i, Since: at}
	}
	u.Last, u.Reason = at, strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "?")
	u.Failures += n
	if at, known := slices.BinarySearch(u.Envoys, node); !known && len(u.Envoys) < maxNodes {
		u.Envoys = slices.Insert(u.Envoys, at, node)
	}
}

// forget removes what does not count any more, and reports whether there was any.
func (c *Connections) forget(now time.Time) bool {
	before := len(c.instances)
	for i, u := range c.instances {
		if now.Sub(u.Last) > forgetAfter {
			delete(c.instances, i)
		}
	}
	return len(c.instances) < before
}

// Unreachable returns the instances to which Envoys could not connect lately, by fleet,
// cluster and address.
func (c *Connections) Unreachable() []Unreachable {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(time.Now())
	all := make([]Unreachable, 0, len(c.instances))
	for _, u := range c.instances {
		one := *u
		one.Envoys = slices.Clone(u.Envoys)
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Unreachable) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Cluster, b.Cluster), a.Address.Compare(b.Address))
	})
	return all
}

// Log takes attempts to connect that failed. Envoy logs them as TCP, also where it serves
// requests.
func (c *Connections) Log(node *corev3.Node, message *alsv3.StreamAccessLogsMessage, stands uint64) {
	for _, entry := range message.GetTcpLogs().GetLogEntry() {
		c.report(node, entry, stands, time.Now())
	}
}

// report takes an entry of the access log. An entry of a connection that was made in the end
// has the flag of a failure before, too.
func (c *Connections) report(node *corev3.Node, entry *accesslogv3.TCPAccessLogEntry, stands uint64, now time.Time) {
	p := entry.GetCommonProperties()
	if !p.GetResponseFlags().GetUpstreamConnectionFailure() || p.GetUpstreamLocalAddress() != nil {
		return
	}
	address, ok := addressOf(p.GetUpstreamRemoteAddress())
	if !ok || len(p.GetUpstreamCluster()) > maxName {
		return
	}
	c.add(Instance{node.GetCluster(), p.GetUpstreamCluster(), address}, node.GetId(), p.GetUpstreamTransportFailureReason(), stands, now)
}

// addressOf returns an address that Envoy reports.
func addressOf(a *corev3.Address) (netip.AddrPort, bool) {
	socket := a.GetSocketAddress()
	ip, err := netip.ParseAddr(socket.GetAddress())
	return netip.AddrPortFrom(ip.Unmap(), uint16(socket.GetPortValue())), err == nil
}
