package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/xds"
)

// order is what the server process is told, a JSON object a line on standard
// input; it answers each with a report on standard output.
type order struct {
	// Changes are applied at Rate, in 1/s.
	Changes int
	Rate    float64
	// Profile starts a CPU profile of that file; EndProfile ends it.
	Profile    string
	EndProfile bool
	// Heap writes a profile of the memory in use.
	Heap string
}

type report struct {
	Address string
	// Keys are those of a client, of a server with TLS.
	Keys *keys
	// CPU is what the process has used so far.
	CPU time.Duration
	// RSS and Peak are resident bytes, now and since the resources were made.
	RSS, Peak uint64
	// Heap is what the Go heap held after the last collection.
	Heap uint64
	// Sizes are the bytes of the resources in responses, by type.
	Sizes map[string]int
	// Applied are versions of endpoint sets and when they were applied.
	Applied []applied
}

type applied struct {
	Version string
	At      time.Time
}

// serverProcess serves resources of n apps until its standard input ends.
type serverProcess struct {
	store   *xds.Store
	changes []xds.Change
	next    int
	sizes   map[string]int
	address string
	keys    *keys
	profile *os.File
}

func serve(n, changes int, secured bool, in io.Reader, out io.Writer) error {
	p := &serverProcess{store: xds.NewStore(), sizes: make(map[string]int)}
	all, single, err := resources(n, changes)
	if err != nil {
		return err
	}
	p.changes = single
	for _, r := range all.Set {
		p.sizes[r.Type.String()] += r.Size()
	}
	p.store.Apply(all)
	p.store.Open()
	all = xds.Change{}
	// What follows is about the server, not about the making of resources.
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.address = l.Addr().String()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	server := xds.NewServer(map[string]*xds.Store{fleetName: p.store}, log, prometheus.NewRegistry())
	if secured {
		if server.TLS, p.keys, err = newKeys(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	err = p.obey(in, out)
	cancel()
	<-done
	return err
}

func (p *serverProcess) obey(in io.Reader, out io.Writer) error {
	answers := json.NewEncoder(out)
	if err := answers.Encode(p.report(nil)); err != nil {
		return err
	}
	for orders := json.NewDecoder(in); ; {
		var o order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		done, err := p.do(o)
		if err != nil {
			return err
		}
		if err := answers.Encode(p.report(done)); err != nil {
			return err
		}
	}
}

func (p *serverProcess) do(o order) (done []applied, err error) {
	switch {
	case o.Changes > 0:
		if p.next+o.Changes > len(p.changes) {
			return nil, fmt.Errorf("%d changes were prepared, %d are used", len(p.changes), p.next)
		}
		done = make([]applied, o.Changes)
		paced(o.Changes, o.Rate, func(i int) {
			change := p.changes[p.next]
			p.next++
			done[i] = applied{change.Set[0].Version, time.Now()}
			p.store.Apply(change)
		})
	case o.Profile != "":
		if p.profile, err = create(o.Profile); err != nil {
			return nil, err
		}
		return nil, pprof.StartCPUProfile(p.profile)
	case o.EndProfile:
		pprof.StopCPUProfile()
		return nil, p.profile.Close()
	case o.Heap != "":
		f, err := create(o.Heap)
		if err != nil {
			return nil, err
		}
		runtime.GC()
		return nil, errors.Join(pprof.WriteHeapProfile(f), f.Close())
	}
	return done, nil
}

func create(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.Create(path)
}

func (p *serverProcess) report(done []applied) report {
	r := report{Address: p.address, Keys: p.keys, Sizes: p.sizes, Applied: done, CPU: cpuTime()}
	r.RSS, r.Peak = resident(0)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.Heap = m.HeapAlloc
	return r
}
