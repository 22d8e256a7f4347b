package relay

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"relay/admin"
	"relay/admin/api"
	"relay/probe"
	"relay/probe/blackbox"
	"relay/probe/device"
	"relay/probe/discover"
	"relay/probe/edge"
	"relay/probe/websocket"
	"relay/statuspage"
)

// probeParts ask from outside: what is to be asked, who asks, and where agents of virtual devices call.
type probeParts struct {
	place     string
	engine    *probe.Engine
	devices   *device.Prober
	discovery *discover.Discovery
}

// newProbeParts builds what asks what these Relays say. Authorities that cannot be read are an error.
func newProbeParts(s probe.Settings, relays []discover.Relay, log *slog.Logger, registerer prometheus.Registerer) (*probeParts, error) {
	log = log.With("part", "probes")
	probers, err := probersOf(s)
	if err != nil {
		return nil, err
	}
	trusted := &edge.Prober{CAFile: s.CAFile}
	p := &probeParts{place: s.Place, devices: device.New(device.Options{Devices: s.Devices, Callback: s.Callback, Roots: trusted.Roots, Place: s.Place, Log: log})}
	maps.Copy(probers, map[probe.Kind]probe.Prober{
		probe.Device:    p.devices,
		probe.WebSocket: websocket.New(websocket.Options{Roots: trusted.Roots, Place: s.Place}),
	})
	p.engine = probe.New(probe.Options{Settings: s, Probers: probers, Log: log, Registerer: registerer, OnResult: func(s probe.State) { p.discovery.Saw(s) }})
	p.discovery = discover.New(discover.Options{
		Settings: s, Relays: relays, Log: log, Registerer: registerer, Set: func(targets []probe.Target) { p.engine.SetTargets(targets) },
	})
	return p, nil
}

// probersOf builds those that ask by modules, and reads the authorities for the first time.
func probersOf(s probe.Settings) (map[probe.Kind]probe.Prober, error) {
	probers, err := blackbox.Probers(s)
	if err != nil {
		return nil, fmt.Errorf("--probe-file: %w", err)
	}
	return probers, nil
}

// found is what was found last; false without probes.
func (p *probeParts) found(q admin.ProbeQuery) (api.Probes, bool) {
	if p == nil {
		return api.Probes{}, false
	}
	return p.engine.Answer(probe.Query(q)), true
}

// newProbes builds the probes of this Relay, if there are to be any. They learn of what to ask by no other way than
// those of another machine, but without a request.
func (r *Relay) newProbes(registerer prometheus.Registerer) error {
	var err error
	if r.knownEnvoys, err = r.newKnownEnvoys(); err != nil || !r.config.Probes.Enabled {
		return err
	}
	s, err := r.config.Probes.settings()
	if err != nil {
		return err
	}
	own := discover.Relay{Name: "this", Read: func(_ context.Context, q discover.Query) (api.ProbeTargets, error) {
		return probing{r}.Targets(admin.TargetQuery{Sample: q.Sample, Epoch: q.Epoch}), nil
	}}
	r.probes, err = newProbeParts(s, []discover.Relay{own}, r.log, registerer)
	return err
}

// own is what the status page takes from this process; nil without probes.
func (p *probeParts) own() statuspage.Probes {
	if p == nil {
		return nil
	}
	return func(context.Context) (api.Probes, error) { return p.engine.Answer(probe.Query{Limit: maxOwn}), nil }
}

// maxOwn is how many results there are at most: as many as targets.
const maxOwn = 50_000
