package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"relay/xds"
	"relay/xds/xdsload"
)

// bench is a server process and the Envoys that load it.
type bench struct {
	ctx     context.Context
	apps    int
	envoys  []*xdsload.Envoy
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *json.Decoder
	last    report
}

// patience bounds every wait for the server.
const patience = 3 * time.Minute

func startBench(ctx context.Context, apps, changes, streams int) (*bench, error) {
	b, err := startServer(ctx, apps, changes, false)
	if err != nil {
		return nil, err
	}
	if err := b.add(b.last.Address, nil, streams); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// startServer starts the server process alone.
func startServer(ctx context.Context, apps, changes int, secured bool) (*bench, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, apps: apps}
	b.cmd = exec.CommandContext(ctx, self, "-serve", "-apps", strconv.Itoa(apps), "-changes", strconv.Itoa(changes),
		"-tls="+strconv.FormatBool(secured))
	b.cmd.Stderr = os.Stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if b.orders, err = b.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.answers = json.NewDecoder(out)
	if err := b.cmd.Start(); err != nil {
		return nil, err
	}
	if err := b.answers.Decode(&b.last); err != nil {
		return nil, errors.Join(fmt.Errorf("the server process did not start: %w", err), b.close())
	}
	return b, nil
}

// add makes Envoys that are not connected.
func (b *bench) add(address string, config *tls.Config, streams int) error {
	names := xdsload.NewNames()
	for i := range streams {
		e, err := xdsload.New(options(address, config, i, names))
		if err != nil {
			return err
		}
		b.envoys = append(b.envoys, e)
	}
	return nil
}

func options(address string, config *tls.Config, i int, names *xdsload.Names) xdsload.Options {
	return xdsload.Options{
		Address: address, TLS: config, Fleet: fleetName, NodeID: fmt.Sprintf("envoy-%d", i),
		ExtensionConfigs: []string{hostsFilter}, Names: names,
	}
}

func (b *bench) close() error {
	var errs []error
	for _, e := range b.envoys {
		errs = append(errs, e.Close())
	}
	_ = b.orders.Close()
	return errors.Join(append(errs, b.cmd.Wait())...)
}

// tell gives an order and returns what the server says when it is done.
func (b *bench) tell(o order) (report, error) {
	if err := json.NewEncoder(b.orders).Encode(o); err != nil {
		return report{}, fmt.Errorf("the server process is gone: %w", err)
	}
	b.last = report{}
	if err := b.answers.Decode(&b.last); err != nil {
		return report{}, fmt.Errorf("the server process is gone: %w", err)
	}
	return b.last, nil
}

// cost is what a piece of work took.
type cost struct {
	wall, server, client time.Duration
	// others is what other programs used meanwhile, in cores.
	others float64
}

func (b *bench) measure(work func() error) (cost, error) {
	before, err := b.tell(order{})
	if err != nil {
		return cost{}, err
	}
	start, client, machine := time.Now(), cpuTime(), busyTime()
	if err := work(); err != nil {
		return cost{}, err
	}
	c := cost{wall: time.Since(start)}
	after, err := b.tell(order{})
	c.client, c.server = cpuTime()-client, after.CPU-before.CPU
	c.others = max(0, (busyTime()-machine-c.client-c.server).Seconds()/c.wall.Seconds())
	return c, err
}

// wait waits for something of every Envoy.
func (b *bench) wait(what string, of func(*xdsload.Envoy) <-chan struct{}) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for i, e := range b.envoys {
		select {
		case <-of(e):
		case err := <-e.Ended():
			return fmt.Errorf("stream %d ended: %w", i, err)
		case <-limit.C:
			return fmt.Errorf("stream %d of %d: %s did not come within %s", i, len(b.envoys), what, patience)
		case <-b.ctx.Done():
			return b.ctx.Err()
		}
	}
	return nil
}

// open opens all streams, as many at a time as there are processors.
func (b *bench) open() error { return b.openAtOnce(runtime.NumCPU()) }

// openAtOnce opens all streams, so many at a time.
func (b *bench) openAtOnce(most int) error {
	slots := make(chan struct{}, most)
	results := make(chan error, len(b.envoys))
	for _, e := range b.envoys {
		slots <- struct{}{}
		go func() {
			results <- e.Connect(b.ctx)
			<-slots
		}()
	}
	var errs []error
	for range b.envoys {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

// connect opens all streams and waits until each has everything.
func (b *bench) connect() error {
	if err := b.open(); err != nil {
		return err
	}
	return b.wait("the first answers", (*xdsload.Envoy).Ready)
}

// check makes sure that every Envoy holds all that the apps make.
func (b *bench) check() error {
	for i, e := range b.envoys {
		// One cluster, that of ACME challenges, is no app's.
		for t, want := range map[xds.Type]int{xds.Cluster: b.apps + 1, xds.Endpoint: b.apps + 1, xds.Scope: b.apps} {
			if got := e.Held(t); got != want {
				return fmt.Errorf("stream %d holds %d %s, not %d", i, got, t, want)
			}
		}
		e.Samples()
	}
	return nil
}

// reconnect ends all streams, opens them again and waits until the server has
// dealt with what they say. It returns how many resources were sent.
func (b *bench) reconnect(atOnce int) (sent int, err error) {
	if err := b.openAtOnce(atOnce); err != nil {
		return 0, err
	}
	marks := make(map[*xdsload.Envoy]<-chan struct{}, len(b.envoys))
	for _, e := range b.envoys {
		if marks[e], err = e.Mark(); err != nil {
			return 0, err
		}
	}
	err = b.wait("the mark", func(e *xdsload.Envoy) <-chan struct{} { return marks[e] })
	for _, e := range b.envoys {
		sent += e.Count()
	}
	return sent, err
}

func (b *bench) disconnect() {
	for _, e := range b.envoys {
		e.Disconnect()
	}
}

// load is what came of changes.
type load struct {
	cost
	p50, p99, max time.Duration
}

// change applies changes at a rate and waits until they are delivered to all.
func (b *bench) change(count int, rate float64) (load, error) {
	var r report
	arrivals := make([][]xdsload.Sample, len(b.envoys))
	delivered := 0
	c, err := b.measure(func() (err error) {
		if r, err = b.tell(order{Changes: count, Rate: rate}); err != nil {
			return err
		}
		for deadline := time.Now().Add(patience); delivered < count*len(b.envoys) && time.Now().Before(deadline); {
			for i, e := range b.envoys {
				samples := e.Samples()
				delivered += len(samples)
				arrivals[i] = append(arrivals[i], samples...)
			}
			time.Sleep(20 * time.Millisecond)
		}
		return b.ctx.Err()
	})
	if err != nil {
		return load{}, err
	}
	return joinArrivals(load{cost: c}, r.Applied, arrivals)
}

// joinArrivals finds the time from each change to each of its arrivals.
func joinArrivals(l load, changes []applied, arrivals [][]xdsload.Sample) (load, error) {
	at := make(map[uint64]time.Time, len(changes))
	for _, a := range changes {
		version, err := xdsload.ParseVersion(a.Version)
		if err != nil {
			return load{}, err
		}
		at[version] = a.At
	}
	var took []time.Duration
	for i, samples := range arrivals {
		seen := make(map[uint64]bool, len(samples))
		for _, s := range samples {
			applied, ok := at[s.Version]
			if !ok || seen[s.Version] {
				return load{}, fmt.Errorf("stream %d got version %x, which was not expected (again)", i, s.Version)
			}
			seen[s.Version] = true
			took = append(took, s.At.Sub(applied))
		}
	}
	if len(took) != len(changes)*len(arrivals) {
		return load{}, fmt.Errorf("%d of %d changes arrived", len(took), len(changes)*len(arrivals))
	}
	slices.Sort(took)
	l.p50, l.p99, l.max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	return l, nil
}
