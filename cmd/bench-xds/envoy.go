package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/collator"
	"relay/sources"
	"relay/xds"
	"relay/xds/envoytest"
)

// restSeconds is how long an Envoy is watched that has nothing to do.
const restSeconds = 20

// newDomains is how many apps with a domain are added one after the other.
const newDomains = 21

// envoyRow is a real Envoy that holds so many apps. The limits: from start to the
// last app routed in s, its memory in MB, and from a new app to its first answer
// in ms; 0 is none.
type envoyRow struct {
	apps     int
	onDemand bool

	readyLimit, memoryLimit, newLimit float64
}

// runEnvoy measures how long it takes until a real Envoy routes what there is,
// and from the moment when an app with a new domain is noted until it routes that.
func runEnvoy(ctx context.Context, _ settings, r envoyRow) (figures []figure, err error) {
	n := r.apps
	fmt.Fprintf(os.Stderr, "%s: Envoy with %d apps\n", time.Now().Format(time.TimeOnly), n)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer backend.Close()
	front, err := freeAddress()
	if err != nil {
		return nil, err
	}
	relay, err := startRelay(ctx, front, r.onDemand)
	if err != nil {
		return nil, err
	}
	defer func() { cancel(); relay.wait() }()

	all := apps(n+newDomains, 0)
	for _, a := range all {
		a.Ports[0].Endpoints = []sources.Endpoint{{Address: netip.MustParseAddrPort(backend.Listener.Addr().String()), Task: "backend"}}
	}
	relay.collator.SyncApps(all[:n])
	for relay.store.Revision() == 0 {
		time.Sleep(time.Millisecond)
	}
	relay.store.Open()

	dir, err := os.MkdirTemp("", "bench-xds")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	start := time.Now()
	envoy, err := envoytest.Launch(ctx, envoytest.Options{
		Dir: dir, Fleet: fleetName, XDS: []string{relay.address}, ClustersOnDemand: r.onDemand,
	})
	if err != nil {
		return nil, err
	}
	defer envoy.Kill()
	if err := routed(ctx, front, all[n-1]); err != nil {
		return nil, err
	}
	ready := time.Since(start)
	memory, _ := resident(envoy.Pid())
	used := cpuTimeOf(envoy.Pid())
	time.Sleep(restSeconds * time.Second)
	rest := cpuTimeOf(envoy.Pid()) - used
	took, err := addDomains(ctx, relay, front, all[n:])
	if err != nil {
		return nil, err
	}
	return append(r.figures(ready, memory, took),
		figure{fmt.Sprintf("CPU of Envoy until routed, %d apps", n), "s", used.Seconds(), 0},
		figure{fmt.Sprintf("CPU of Envoy at rest, %d apps", n), "% of a core", 100 * rest.Seconds() / restSeconds, 0},
	), nil
}

// inProcess is a collator and an xDS server of this process. They run until the
// context ends that they were started with.
type inProcess struct {
	collator *collator.Collator
	store    *xds.Store
	server   *xds.Server
	address  string // of the server
	ended    sync.WaitGroup
}

func startRelay(ctx context.Context, front netip.AddrPort, clustersOnDemand bool) (*inProcess, error) {
	r := &inProcess{store: xds.NewStore()}
	r.store.ClustersOnDemand = clustersOnDemand
	var err error
	if r.collator, err = newCollator(front, clustersOnDemand, r.store); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.address = l.Addr().String()
	r.server = xds.NewServer(map[string]*xds.Store{fleetName: r.store}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	r.ended.Go(func() { _ = r.collator.Serve(ctx) })
	r.ended.Go(func() { _ = r.server.Serve(ctx, l) })
	return r, nil
}

func (r *inProcess) wait() { r.ended.Wait() }

// addDomains adds apps with new domains, one after the other. It returns how long
// each step took, sorted: those of steps, and until the domain is routed.
func addDomains(ctx context.Context, relay *inProcess, front netip.AddrPort, added []*sources.App) (took [4][]time.Duration, err error) {
	for _, a := range added {
		start := time.Now()
		relay.collator.UpdateApps([]*sources.App{a}, nil)
		if err := routed(ctx, front, a); err != nil {
			return took, err
		}
		for i, at := range append(steps(relay.server), time.Now()) {
			took[i] = append(took[i], at.Sub(start))
		}
	}
	for _, t := range took {
		slices.Sort(t)
	}
	return took, nil
}

func (r envoyRow) figures(ready time.Duration, memory uint64, took [4][]time.Duration) []figure {
	n := r.apps
	p50 := func(step int) float64 { return milliseconds(took[step][newDomains/2]) }
	holds := fmt.Sprintf(", a real Envoy with %d apps", n)
	if r.onDemand {
		holds += ", clusters on demand"
	}
	figures := []figure{
		{"from start to routed" + holds, "s", ready.Seconds(), r.readyLimit},
		{"RSS of Envoy" + holds, "MB", megabytes(memory), r.memoryLimit},
		{"new app and domain to routed, p50" + holds, "ms", p50(3), r.newLimit},
		{"new app and domain to routed, slowest of 21" + holds, "ms", milliseconds(took[3][newDomains-1]), 0},
	}
	if r.onDemand {
		// The cluster is sent when the first request asks for it.
		return figures
	}
	return append(figures,
		figure{"new app and domain to cluster sent, p50" + holds, "ms", p50(0), 0},
		figure{"new app and domain to cluster warm (ACK), p50" + holds, "ms", p50(1), 0},
		figure{"new app and domain to scope sent, p50" + holds, "ms", p50(2), 0},
	)
}

// steps returns when Envoy was sent clusters, acknowledged them, and was sent
// scopes.
func steps(server *xds.Server) []time.Time {
	at := make([]time.Time, 3)
	for _, stream := range server.Streams() {
		for _, t := range stream.Types {
			switch t.Type {
			case xds.Cluster:
				at[0], at[1] = t.SentAt, t.AckedAt
			case xds.Scope:
				at[2] = t.SentAt
			}
		}
	}
	return at
}

// routed sends requests for an app's domain, one a millisecond, until one is
// answered by the app.
func routed(ctx context.Context, front netip.AddrPort, a *sources.App) error {
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, front.String())
	}}
	defer transport.CloseIdleConnections()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.Ports[0].Domains[0]+"/", nil)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s is not routed: %w", a.ID, ctx.Err())
		}
	}
}

func freeAddress() (netip.AddrPort, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer func() { _ = l.Close() }()
	return netip.ParseAddrPort(l.Addr().String())
}
