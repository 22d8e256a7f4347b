package routing

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"relay/certs"
)

// AppPort is a port of an app, by its index.
type AppPort struct {
	App  string
	Port int
}

// String names the port in problems.
func (p AppPort) String() string { return fmt.Sprintf("port %d of %s", p.Port, p.App) }

// Compare orders ports by app id, then by index.
func (p AppPort) Compare(other AppPort) int {
	return cmp.Or(cmp.Compare(p.App, other.App), cmp.Compare(p.Port, other.Port))
}

// Cluster is the name of the cluster of the port.
func (p AppPort) Cluster() string { return ClusterName(p.App, p.Port) }

// ClusterName is the name of an app port in Envoy. It stays the same over
// releases and scaling, so that those are endpoint updates only.
func ClusterName(app string, port int) string { return app + "_" + strconv.Itoa(port) }

// SplitClusterName is the reverse of ClusterName, also of an IgnoredCluster and a MirrorCluster. The port of a name that
// is none is -1.
func SplitClusterName(name string) (app string, port int) {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ignoredSuffix), mirrorSuffix)
	i := strings.LastIndexByte(name, '_')
	port, err := strconv.Atoi(name[i+1:])
	if i < 0 || err != nil {
		return name, -1
	}
	return name[:i], port
}

// The listeners that a fleet always has, or may have.
const (
	HTTPListener   = "http"
	HTTPSListener  = "https"
	HealthListener = "health"
	// tcpPrefix begins the names of the listeners of TCP services.
	tcpPrefix = "tcp/"
)

// TCPListener is the name of the listener that opens a TCP port.
func TCPListener(port uint16) string { return tcpPrefix + strconv.Itoa(int(port)) }

// TCPPort returns the port of a TCPListener.
func TCPPort(listener string) (port uint16, ok bool) {
	text, ok := strings.CutPrefix(listener, tcpPrefix)
	n, err := strconv.ParseUint(text, 10, 16)
	return uint16(n), ok && err == nil
}

const (
	// HostsFilter is the extension configuration that finds the scope of hosts that
	// are not themselves the key of one.
	HostsFilter = "hosts"
	// ScalingFilter is the extension configuration that has Envoys ask Relay before requests
	// to apps that sleep, QueueFilter the one by which requests wait for an instance.
	ScalingFilter = "scaling"
	QueueFilter   = "queue"
	// wakePrefix begins the names of the extension configurations by which connections to TCP
	// services wait.
	wakePrefix = "tcp-wake/"
	// acceptPrefix begins the names of those by which new connections to TCP services wait for their turn.
	acceptPrefix = "tcp-accept/"
	// holdPrefix begins the names of those by which they wait while there is no instance.
	holdPrefix = "tcp-hold/"
	// WildcardsScope is the scope that leads to the scopes of the wildcard domains.
	// No domain is called so; and "*" alone would mean everything by xDS.
	WildcardsScope = "*.*"
)

// WakeFilter is the name of the extension configuration that has connections to a TCP service
// wait until its app is awake.
func WakeFilter(cluster string) string { return wakePrefix + cluster }

// WakesCluster returns the cluster of a WakeFilter.
func WakesCluster(filter string) (cluster string, ok bool) {
	return strings.CutPrefix(filter, wakePrefix)
}

// AcceptFilter is the name of the extension configuration that has new connections to a TCP service
// wait for their turn.
func AcceptFilter(cluster string) string { return acceptPrefix + cluster }

// AcceptsCluster returns the cluster of an AcceptFilter.
func AcceptsCluster(filter string) (cluster string, ok bool) {
	return strings.CutPrefix(filter, acceptPrefix)
}

// HoldFilter is the name of the extension configuration that has new connections to a TCP service wait
// while it has no instance.
func HoldFilter(cluster string) string { return holdPrefix + cluster }

// HoldsCluster returns the cluster of a HoldFilter.
func HoldsCluster(filter string) (cluster string, ok bool) {
	return strings.CutPrefix(filter, holdPrefix)
}

// SecretName is the name of the secret of a certificate. A renewal has the same name, so
// that the listener that names it stays as it is.
func SecretName(c *certs.Certificate) string { return c.Source + "/" + c.Name }

// The secrets of a fleet that are no certificates. With certificates on demand Envoy asks
// for secrets by the server name that a client sent: these have a slash, which no server
// name has. No source of certificates is called "fleet".
const (
	// ClientCASecret has the authorities of clients.
	ClientCASecret = "fleet/client-ca"
	// TicketKeysSecret has the keys of session tickets.
	TicketKeysSecret = "fleet/session-ticket-keys"
)
