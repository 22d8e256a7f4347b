package main

import (
	"fmt"
	"net/netip"
	"os"

	"relay/deploy"
)

type bootstrapCmd struct {
	Fleet    string         `default:"external" help:"The fleet that the Envoy belongs to."`
	XDS      []string       `name:"xds" default:"127.0.0.1:18000" placeholder:"HOST:PORT" help:"Where Relay is. With several, Envoy uses one at a time (default ${default})."`
	NodeID   string         `name:"node-id" placeholder:"NAME" help:"The Envoy's name on Relay's status page. Default: the host name."`
	Clusters string         `default:"all" enum:"all,on-demand" help:"all, or on-demand as in the fleet's configuration."`
	XDSCA    string         `name:"xds-ca" placeholder:"FILE" help:"Reach Relay by TLS; its certificate must be of the authorities in this PEM file on the Envoy's machine."`
	XDSName  string         `name:"xds-server-name" placeholder:"NAME" help:"The name that Relay's certificate must have."`
	XDSCert  string         `name:"xds-cert" placeholder:"FILE" help:"PEM certificate that Envoy shows to Relay. Envoy reads this, its key and the authorities again when they are replaced by renaming (mv)."`
	XDSKey   string         `name:"xds-key" placeholder:"FILE" help:"Its private key."`
	Output   string         `placeholder:"DIR" help:"Write envoy.yaml to this directory in place of printing it; with TLS, beside it what lets Envoy take over renewed certificates without a restart."`
	Admin    netip.AddrPort `name:"envoy-admin" default:"127.0.0.1:9901" placeholder:"IP:PORT" help:"Where Envoy's own admin endpoint listens (default ${default})."`

	StatsDFlags `embed:""`
	AccessLog   string `name:"access-log-collector" placeholder:"HOST:PORT" help:"Where Envoy sends its access logs by OpenTelemetry's protocol (gRPC, mostly port 4317), if its fleet has access-log: collector."`

	MaxConnections *uint64 `placeholder:"N" help:"How many clients Envoy lets connect at the same time; 0: any number. Default: what the descriptors of this machine are enough for (ulimit -Hn), so run the command where and as Envoy is run."`
	MaxHeap        *uint64 `placeholder:"MB" help:"How much memory Envoy may use before it turns clients away; 0: any. Default: 80 % of what the machine or this cgroup has."`
}

// Run prints the bootstrap, or writes it.
func (b *bootstrapCmd) Run(s streams) error {
	id := b.NodeID
	if id == "" {
		var err error
		if id, err = os.Hostname(); err != nil {
			return err
		}
	}
	limits, err := b.limits(s)
	if err != nil {
		return err
	}
	b.warnOfFiles(s)
	bootstrap := deploy.Bootstrap{
		NodeID: id, Fleet: b.Fleet, XDS: b.XDS, Admin: b.Admin, ClustersOnDemand: b.Clusters == onDemand,
		TLS:    deploy.ClientTLS{CA: b.XDSCA, Cert: b.XDSCert, Key: b.XDSKey, ServerName: b.XDSName},
		Limits: limits, StatsD: b.statsD(), AccessLog: b.AccessLog,
	}
	if b.Output == "" {
		text, err := bootstrap.YAML()
		if err != nil {
			return err
		}
		_, err = s.out.Write(text)
		return err
	}
	path, err := bootstrap.Write(b.Output)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "wrote %s; start Envoy with: envoy --config-path %s\n", path, path)
	return err
}

// warnOfFiles says which files that the bootstrap names are not on this machine, without
// which an Envoy here would not connect. The bootstrap may be for another machine.
func (b *bootstrapCmd) warnOfFiles(s streams) {
	for _, f := range []struct{ flag, path string }{{"--xds-ca", b.XDSCA}, {"--xds-cert", b.XDSCert}, {"--xds-key", b.XDSKey}} {
		if f.path == "" {
			continue
		}
		info, err := os.Stat(f.path)
		switch {
		case err != nil:
			_, _ = fmt.Fprintf(s.err, "relay: %s: %v: Envoy cannot connect to Relay without this file; put it there on the Envoy's machine\n", f.flag, err)
		case info.IsDir():
			_, _ = fmt.Fprintf(s.err, "relay: %s: %s is a directory: give a PEM file\n", f.flag, f.path)
		}
	}
}

// fewConnections are so few that clients could use up all descriptors by HTTP/2, before they use up the memory:
// see docs/edge.md.
const fewConnections = 1 << 17

// limits are those that were given, and else those of this machine.
func (b *bootstrapCmd) limits(s streams) (limits deploy.Limits, err error) {
	if b.MaxConnections == nil || b.MaxHeap == nil {
		if limits, err = deploy.LimitsOfMachine(); err != nil {
			return limits, fmt.Errorf("%w; give --max-connections and --max-heap", err)
		}
	}
	if b.MaxConnections != nil {
		limits.MaxConnections = *b.MaxConnections
	} else if limits.MaxConnections < fewConnections {
		_, _ = fmt.Fprintf(s.err, "relay: only %d clients can connect to this Envoy at the same time: processes may have few descriptors here (ulimit -Hn). "+
			"By HTTP/2 clients can use up all of them, and an Envoy with TCP services ends then; allow more, such as with LimitNOFILE=1048576 in systemd's unit, and run this again\n", limits.MaxConnections)
	}
	if b.MaxHeap != nil {
		limits.MaxHeap = *b.MaxHeap << 20
	}
	return limits, nil
}
