package deploy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// StatsD says where an Envoy sends its stats, and which. See
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/metrics/v3/stats.proto#config-metrics-v3-statsdsink
type StatsD struct {
	// Address is HOST:PORT of what takes the protocol of StatsD. By UDP it is an IP address, as Envoy looks up no
	// name for that.
	Address string
	// TCP is in place of UDP.
	TCP bool
	// Prefix is what each name begins with; {fleet} and {node} are replaced.
	Prefix string
	// Tags tells to send what varies in a name as tags of Graphite, such as that of a listener.
	Tags bool
	// Apps tells to send, and to keep, the stats of each app too: about a hundred for each port.
	Apps bool
	// Interval is the time between two sends; 10 s if it is 0, which is what StatsD flushes by.
	Interval time.Duration
}

// keptStats are the beginnings of those stats that do not grow with the number of apps. Those of the collector's
// own cluster must be kept: Envoy counts by them how much waits for a collector that takes nothing, and ends the
// connection at 16 MB. Without them it would keep all.
var keptStats = []string{
	"cluster.statsd.", "http.", "listener.", "listener_manager.", "tcp.", "tls_inspector.", "cluster_manager.", "control_plane.", "server.", "overload.", "main_thread.", "cluster.relay-xds.",
}

// collector is what the bootstrap has of a StatsD.
type collector struct {
	hostPort
	TCP, Tags, Apps bool
	Prefix          string
	Interval        string
	Kept            []string
}

// collector says what is wrong, too.
func (s StatsD) collector(b Bootstrap) (c collector, err error) {
	if s.Address == "" {
		return c, nil
	}
	c = collector{TCP: s.TCP, Tags: s.Tags, Apps: s.Apps, Kept: keptStats, Interval: "10s"}
	if c.hostPort, err = parseHostPort(s.Address); err != nil {
		return c, fmt.Errorf("StatsD address %w", err)
	}
	if _, err := netip.ParseAddr(c.Host); err != nil && !s.TCP {
		return c, fmt.Errorf("StatsD address %q: Envoy looks up no names for UDP: give an IP address, or tcp://%s", s.Address, s.Address)
	}
	if s.TCP && s.Tags {
		return c, errors.New("tags go by UDP only: leave out tcp://")
	}
	if s.Interval != 0 {
		if s.Interval < time.Second {
			return c, fmt.Errorf("stats each %s: give at least 1s", s.Interval)
		}
		c.Interval = fmt.Sprintf("%gs", s.Interval.Seconds())
	}
	c.Prefix = strings.NewReplacer("{fleet}", statName(b.Fleet), "{node}", statName(b.NodeID)).Replace(s.Prefix)
	if strings.ContainsFunc(c.Prefix, func(r rune) bool { return r != '.' && statRune(r) != r }) {
		return c, fmt.Errorf("prefix %q: write letters, digits, dots, _ and -", s.Prefix)
	}
	c.Prefix = strings.Trim(c.Prefix, ".")
	return c, nil
}

// statName makes one part of a name of a text.
func statName(text string) string { return strings.Map(statRune, text) }

func statRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
		return r
	}
	return '_'
}
