package main

import (
	"strings"
	"time"

	"relay/deploy"
)

// StatsDFlags say whether an Envoy sends its stats to a collector.
type StatsDFlags struct {
	StatsD         string        `name:"statsd" placeholder:"IP:PORT" help:"Send Envoy's stats to this StatsD, or whatever speaks its protocol: by UDP, or by TCP with tcp://HOST:PORT. Without it nothing is sent, and Envoy goes through its stats only when it is asked for them."`
	GraphitePrefix string        `name:"graphite-prefix" default:"envoy.{fleet}.{node}" placeholder:"PREFIX" help:"What the names of its stats begin with; {fleet} and {node} are those of this Envoy (default ${default})."`
	StatsDTags     bool          `name:"statsd-tags" help:"Send parts of names that vary, such as that of a listener, as tags of Graphite. By UDP only."`
	StatsDApps     bool          `name:"statsd-apps" help:"Send the stats of each app port too, and keep them. That is much with many apps: docs/monitoring.md says what it costs."`
	StatsDInterval time.Duration `name:"statsd-interval" default:"10s" help:"Time between two sends: what the collector flushes by."`
}

// statsD is what the flags make of the bootstrap.
func (f *StatsDFlags) statsD() deploy.StatsD {
	if f.StatsD == "" {
		return deploy.StatsD{}
	}
	address, tcp := strings.CutPrefix(f.StatsD, "tcp://")
	return deploy.StatsD{
		Address: strings.TrimPrefix(address, "udp://"), TCP: tcp,
		Prefix: f.GraphitePrefix, Tags: f.StatsDTags, Apps: f.StatsDApps, Interval: f.StatsDInterval,
	}
}
