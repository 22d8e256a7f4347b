package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/collator"
	"relay/collator/routing"
	"relay/sources"
	"relay/xds"
)

const (
	fleetName = "external"
	// hostsFilter is the collator's extension configuration.
	hostsFilter = "hosts"
)

// app makes an application of a usual form: one port, one domain, two
// endpoints, of which the second moves with the serial.
func app(i, serial int) *sources.App {
	team := fmt.Sprintf("team-%02d", i%40)
	name := fmt.Sprintf("service-%05d", i)
	endpoint := func(n int, port uint16) sources.Endpoint {
		return sources.Endpoint{
			Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(n), byte(i >> 8), byte(i)}), port),
			Task:    fmt.Sprintf("%s_%s.instance-%d._app.1", team, name, n),
		}
	}
	return &sources.App{ID: "/" + team + "/" + name, Version: "1", Ports: []sources.Port{{
		Groups: []string{fleetName}, Domains: []string{name + "." + team + ".example.test"},
		Endpoints: []sources.Endpoint{endpoint(1, 31000), endpoint(2, uint16(31000+serial%30000))},
	}}}
}

func apps(n, serial int) []*sources.App {
	all := make([]*sources.App, n)
	for i := range all {
		all[i] = app(i, serial)
	}
	return all
}

// recorder is a publisher that hands over what is published.
type recorder chan xds.Change

func (r recorder) Apply(c xds.Change) uint64 {
	r <- c
	return 0
}

// resources builds what the collator makes of n apps, and then single changes
// of one endpoint set each.
func resources(n, changes int) (all xds.Change, single []xds.Change, err error) {
	if changes > n {
		return xds.Change{}, nil, errors.New("a change for each app at most: a later one would replace an earlier one on its way")
	}
	published := make(recorder)
	c, err := newCollator(netip.MustParseAddrPort("127.0.0.1:8080"), false, published)
	if err != nil {
		return xds.Change{}, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Serve(ctx) }()
	defer func() { cancel(); <-done }()

	c.SyncApps(apps(n, 0))
	all = <-published
	if changes == 0 {
		return all, nil, nil
	}
	c.UpdateApps(apps(changes, 1), nil)
	changed := <-published
	if len(changed.Set) != changes {
		return xds.Change{}, nil, fmt.Errorf("%d apps changed, but %d resources did", changes, len(changed.Set))
	}
	for _, r := range changed.Set {
		single = append(single, xds.Change{Set: []xds.Resource{r}})
	}
	return all, single, nil
}

func newCollator(http netip.AddrPort, onDemand bool, publisher collator.Publisher) (*collator.Collator, error) {
	return collator.New(collator.Config{
		Fleets: []routing.Fleet{{Name: fleetName, HTTP: http, ClustersOnDemand: onDemand, Options: routing.DefaultOptions()}},
	}, map[string]collator.Publisher{fleetName: publisher}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// paced calls f count times, at the given rate in 1/s.
func paced(count int, rate float64, f func(i int)) {
	next := time.Now()
	for i := range count {
		time.Sleep(time.Until(next))
		f(i)
		next = next.Add(time.Duration(float64(time.Second) / rate))
	}
}
