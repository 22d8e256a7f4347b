package main

import "relay/internal/relay"

// ProbeFlags have Relay ask from outside, as users and devices do.
type ProbeFlags struct {
	Probes     bool   `group:"Monitoring" help:"Ask through every Envoy for the domains and services that have RELAY_{n}_PROBE, and as --probe-file says, and show what was found: see docs/monitoring.md. Better from another machine: relay probe."`
	ProbeFile  string `group:"Monitoring" placeholder:"FILE" help:"YAML file with the settings of probes: how often, at which rate, a sample of the other domains, virtual devices. Read at start."`
	ProbePlace string `group:"Monitoring" placeholder:"NAME" help:"The name of where it is asked from. Default: that in the file, or of the machine."`
}

func (f *ProbeFlags) probesConfig() relay.Probes {
	return relay.Probes{Enabled: f.Probes, File: f.ProbeFile, Place: f.ProbePlace}
}
