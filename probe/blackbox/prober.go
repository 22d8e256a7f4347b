// Package blackbox has the probers: those of the package edge for what targets say themselves, and those of
// Prometheus' blackbox_exporter for the modules of the settings.
package blackbox

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/blackbox_exporter/prober"
	"github.com/prometheus/client_golang/prometheus"

	"relay/probe"
	"relay/probe/connect"
	"relay/probe/edge"
)

// Probers returns those of http, tcp, grpc and dns, by the settings. The authorities of the settings are read here
// for the first time: if they cannot be, that is an error.
func Probers(s probe.Settings) (map[probe.Kind]probe.Prober, error) {
	shared := &edge.Prober{Place: s.Place, CAFile: s.CAFile}
	if err := shared.Check(); err != nil {
		return nil, err
	}
	m := modules{s}
	return map[probe.Kind]probe.Prober{
		probe.HTTP: choice{m, edge.HTTP{Prober: shared}},
		probe.TCP:  choice{m, edge.TCP{Prober: shared}},
		probe.GRPC: choice{m, edge.GRPC{Prober: shared}},
		probe.DNS:  m,
	}, nil
}

// choice asks by a module if the target names one.
type choice struct {
	modules modules
	plain   probe.Prober
}

// Probe implements probe.Prober.
func (c choice) Probe(ctx context.Context, t probe.Target) probe.Result {
	if t.Ask.Module != "" {
		return c.modules.Probe(ctx, t)
	}
	return c.plain.Probe(ctx, t)
}

// modules asks by the modules of the settings.
type modules struct{ settings probe.Settings }

// functions are those of blackbox_exporter.
var functions = map[probe.Kind]prober.ProbeFn{
	probe.HTTP: prober.ProbeHTTP, probe.TCP: prober.ProbeTCP, probe.GRPC: prober.ProbeGRPC, probe.DNS: prober.ProbeDNS,
}

// Probe implements probe.Prober.
func (m modules) Probe(ctx context.Context, t probe.Target) probe.Result {
	r := probe.Result{Target: t}
	module, ok := m.settings.Modules[t.Ask.Module]
	if !ok {
		r.Reason = fmt.Sprintf("the settings have no module %.80q", t.Ask.Module)
		return r
	}
	id := connect.NewRequestID()
	if module = m.aimed(module, t, id); probe.Kind(module.Prober) == probe.HTTP {
		r.RequestID = id
	}
	begin := time.Now()
	address, through := t.Address, (*passage)(nil)
	if needsPassage(module, t) {
		var err error
		if through, err = newPassage(ctx, t, passageLimit(module)); err != nil {
			r.Reason = "no connection can be made here: " + err.Error()
			return r
		}
		defer through.close()
		address = through.address()
	}
	seen := &lines{}
	registry := prometheus.NewRegistry()
	function := functions[probe.Kind(module.Prober)]
	r.OK = function(ctx, urlOf(module, t, address), module, registry, slog.New(seen))
	r.Duration = time.Since(begin)
	readMetrics(&r, registry)
	// What comes from a passage that did not reach the Envoy is a connection that ends.
	r.Answered = r.OK && probe.Kind(module.Prober) != probe.TCP || r.Status > 0 || through.answered()
	if !r.OK {
		r.Reason = reason(ctx, seen, through, module, r.Status)
	}
	r.Steps = []probe.Step{{Name: "module " + t.Ask.Module, Duration: r.Duration, OK: r.OK, Seen: r.Reason}}
	if within := t.Ask.Within; r.OK && within > 0 && r.Duration > within {
		r.OK, r.Late = false, true
		r.Reason = fmt.Sprintf("it took %v, and should take %v at most", r.Duration.Round(time.Millisecond), within)
	}
	return r
}

// needsPassage tells what blackbox_exporter cannot do alone: a header of the PROXY protocol, an end to what it reads by
// TCP, and an end to a call of gRPC.
func needsPassage(m config.Module, t probe.Target) bool {
	return t.ProxyProtocol || probe.Kind(m.Prober) == probe.TCP || probe.Kind(m.Prober) == probe.GRPC
}

func passageLimit(m config.Module) int64 {
	if probe.Kind(m.Prober) == probe.HTTP {
		return maxPassage + int64(m.HTTP.BodySizeLimit)
	}
	return maxPassage
}

// urlOf is what the function of a module wants as its target.
func urlOf(m config.Module, t probe.Target, address string) string {
	if probe.Kind(m.Prober) != probe.HTTP {
		return address
	}
	scheme, path := "http://", t.Ask.Path
	if t.TLS {
		scheme = "https://"
	}
	if path == "" {
		path = "/"
	}
	return scheme + address + path
}
