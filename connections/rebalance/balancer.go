package rebalance

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/sources"
)

const (
	// lookEvery is how often the ports are looked at: about as often as Envoys report.
	lookEvery = 10 * time.Second
	// maxPorts is how many ports are looked at. Of more, none ends.
	maxPorts = 500
)

// Balancer decides which connections end.
type Balancer struct {
	config  Config
	stage   *Stage
	metrics *metrics

	mu    sync.Mutex
	ports map[key]*port
}

// key is a port of an app, by the routed name.
type key struct {
	app  string
	port int
}

type port struct{ state state }

// New returns a Balancer of the apps that a Stage has.
func New(config Config, stage *Stage) *Balancer {
	b := &Balancer{config: config, stage: stage, ports: make(map[key]*port)}
	b.metrics = newMetrics(config.Registerer, b)
	return b
}

// Serve looks at the ports again and again, until ctx ends. What is known stays when it is called again.
func (b *Balancer) Serve(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		b.look(time.Now())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// look decides about each port, and has the Stage hand it on.
func (b *Balancer) look(now time.Time) {
	members := make(map[string][]string) // ids of apps, by routed name
	routed := make(map[string]*sources.App)
	for _, id := range b.stage.ids() {
		if name, app := b.config.View.Routed(id); app != nil {
			members[name] = append(members[name], id)
			routed[name] = app
		}
	}
	decided := make(map[string]portSheds)
	seen := make(map[key]bool)
	for _, name := range slices.Sorted(maps.Keys(routed)) {
		for i, p := range routed[name].Ports {
			if !wants(p) {
				continue
			}
			k := key{name, i}
			seen[k] = true
			for address, shed := range b.decide(k, p, now, len(seen) > maxPorts) {
				for _, id := range members[name] {
					if decided[id] == nil {
						decided[id] = make(portSheds)
					}
					if decided[id][i] == nil {
						decided[id][i] = make(map[netip.AddrPort]sources.Shed)
					}
					decided[id][i][address] = shed
				}
			}
		}
	}
	b.mu.Lock()
	maps.DeleteFunc(b.ports, func(k key, _ *port) bool { return !seen[k] })
	b.mu.Unlock()
	b.stage.set(decided)
}

// decide has the rule decide about a port.
func (b *Balancer) decide(k key, p sources.Port, now time.Time, tooMany bool) map[netip.AddrPort]sources.Shed {
	in := b.input(k, p, now, tooMany)
	b.mu.Lock()
	defer b.mu.Unlock()
	to := b.ports[k]
	if to == nil {
		to = new(port)
		b.ports[k] = to
	}
	to.state = next(to.state, in)
	if in.doubt == "" {
		b.metrics.count(&to.state, now)
	}
	return to.state.sheds()
}

// input gathers what the rule decides by.
func (b *Balancer) input(k key, p sources.Port, now time.Time, tooMany bool) *input {
	in := &input{now: now, rate: p.TCP.Rebalance}
	if tooMany {
		in.doubt = "more services ask for rebalancing than are looked at"
		return in
	}
	cluster := b.config.View.Cluster(k.app, k.port)
	open := make(map[netip.AddrPort]uint64)
	var from []string
	for _, fleet := range b.config.View.Serving(k.app, k.port) {
		at, known := b.config.Loads.FollowOpen(fleet, cluster)
		for address, n := range at {
			open[plain(address)] += n
		}
		nodes, doubt := b.config.View.Counting(fleet)
		if doubt == "" && !known {
			doubt = "not all Envoys of the fleet " + fleet + " have told yet"
		}
		if doubt != "" {
			in.doubt = doubt
		}
		for _, node := range nodes {
			from = append(from, fleet+" "+node)
		}
	}
	slices.Sort(from)
	in.from, in.envoys = strings.Join(from, "\n"), len(from)
	unreachable := b.config.View.Unreachable(cluster)
	for _, e := range p.Endpoints {
		address := plain(e.Address)
		in.instances = append(in.instances, instance{
			address: address, open: float64(open[address]), takes: e.Health == sources.Healthy && !unreachable[address],
		})
	}
	return in
}
