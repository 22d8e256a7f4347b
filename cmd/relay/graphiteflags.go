package main

import (
	"os"
	"time"

	"relay/internal/graphite"
)

// GraphiteFlags say whether Relay sends its metrics to Graphite.
type GraphiteFlags struct {
	Graphite         string        `group:"Monitoring" placeholder:"HOST:PORT" help:"Send Relay's metrics to this carbon, by its plaintext protocol (TCP, mostly port 2003). One that is away costs nothing but what it should have got."`
	GraphitePrefix   string        `group:"Monitoring" default:"relay.{host}" placeholder:"PREFIX" help:"What names in Graphite begin with; {host} is the name of this machine, without its domain. Each Relay needs one of its own (default ${default})."`
	GraphiteInterval time.Duration `group:"Monitoring" default:"1m" help:"Time between two sends: the first retention in Graphite's storage-schemas.conf."`
	GraphiteTags     bool          `group:"Monitoring" help:"Send labels as tags (Graphite 1.1 or newer) in place of parts of the path."`
}

// graphiteConfig is what the flags make of the program.
func (f *GraphiteFlags) graphiteConfig() graphite.Config {
	host, _ := os.Hostname()
	return graphite.Config{Address: f.Graphite, Prefix: graphite.Prefix(f.GraphitePrefix, host), Interval: f.GraphiteInterval, Tags: f.GraphiteTags}
}
