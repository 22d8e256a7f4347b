package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"
)

// figure is one measured number with its limit.
type figure struct {
	work  string
	unit  string
	value float64
	// limit is what value may be at most; 0 for a figure without one.
	limit float64
}

// row is a part of the benchmark that can be run alone.
type row struct {
	name string
	run  func(context.Context, settings) ([]figure, error)
}

var rows = []row{
	{"small", func(ctx context.Context, s settings) ([]figure, error) {
		return runLoad(ctx, s, loadRow{name: "small", apps: 1_000, streams: 100, single: 100})
	}},
	{"large", func(ctx context.Context, s settings) ([]figure, error) {
		return runLoad(ctx, s, loadRow{name: "large", apps: 50_000, streams: 100, single: 100, rate: 1000, limit: 100,
			connectLimit: 10, memoryLimit: 400, reconnectLimit: 5})
	}},
	{"wide", func(ctx context.Context, s settings) ([]figure, error) {
		return runLoad(ctx, s, loadRow{name: "wide", apps: 10_000, streams: 1_000, rate: 100, limit: 250, memoryLimit: 1000})
	}},
	{"restart", func(ctx context.Context, s settings) ([]figure, error) { return runRestart(ctx, s, 50_000, 100) }},
	{"at-once-wide", func(ctx context.Context, s settings) ([]figure, error) {
		return runAtOnce(ctx, s, atOnceRow{apps: 10_000, streams: 1000})
	}},
	{"at-once-large", func(ctx context.Context, s settings) ([]figure, error) {
		return runAtOnce(ctx, s, atOnceRow{apps: 50_000, streams: 100})
	}},
	{"envoy-10k", func(ctx context.Context, s settings) ([]figure, error) {
		return runEnvoy(ctx, s, envoyRow{apps: 10_000, newLimit: 10})
	}},
	{"envoy-50k", func(ctx context.Context, s settings) ([]figure, error) {
		return runEnvoy(ctx, s, envoyRow{apps: 50_000, newLimit: 20})
	}},
	{"envoy-50k-on-demand", func(ctx context.Context, s settings) ([]figure, error) {
		return runEnvoy(ctx, s, envoyRow{apps: 50_000, onDemand: true, readyLimit: 2, memoryLimit: 450, newLimit: 20})
	}},
}

// loadRow is a number of Envoys that connect, follow changes and come again.
type loadRow struct {
	name          string
	apps, streams int
	// single is how many changes come alone, 10 a second.
	single int
	// rate of changes in 1/s, for loadSeconds; 0 for none.
	rate float64
	// The limits: p99 in ms, connecting in s, memory in MB, reconnecting in s.
	limit, connectLimit, memoryLimit, reconnectLimit float64
}

const (
	loadSeconds = 30
	singleRate  = 10
)

func runLoad(ctx context.Context, s settings, r loadRow) (figures []figure, err error) {
	b, err := startBench(ctx, r.apps, r.single+int(r.rate*loadSeconds), r.streams)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := b.close(); err == nil {
			err = closed
		}
	}()
	size := fmt.Sprintf("%d apps x %d streams", r.apps, r.streams)
	add := func(work, unit string, value, limit float64) {
		figures = append(figures, figure{work + ", " + size, unit, value, limit})
	}
	total := 0
	for _, n := range b.last.Sizes {
		total += n
	}
	add("bytes of all resources", "MB", megabytes(uint64(total)), 0)
	add("RSS before the first stream", "MB", megabytes(b.last.RSS), 0)

	parts := []struct {
		name string
		run  func() error
	}{
		{"connect", func() error { return b.runConnect(r, add) }},
		{"single", func() error { return b.runSingle(r, add) }},
		{"load", func() error { return b.runRate(r, add) }},
		{"memory", func() error { return b.runMemory(s, r, add) }},
		{"reconnect", func() error { return b.runReconnect(r, add) }},
	}
	for _, part := range parts {
		if err := b.profiled(s, r.name+"-"+part.name, part.run); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", r.name, part.name, err)
		}
	}
	b.disconnect()
	return figures, nil
}

type adder func(work, unit string, value, limit float64)

func (b *bench) runConnect(r loadRow, add adder) error {
	c, err := b.measure(b.connect)
	if err != nil {
		return err
	}
	add("first answers to all: wall", "s", c.wall.Seconds(), r.connectLimit)
	add("first answers to all: server CPU", "s", c.server.Seconds(), r.connectLimit)
	add("first answers to all: client CPU", "s", c.client.Seconds(), 0)
	add("first answers to all: CPU of other programs", "cores", c.others, 0)
	return b.check()
}

func (b *bench) runSingle(r loadRow, add adder) error {
	if r.single == 0 {
		return nil
	}
	l, err := b.change(r.single, singleRate)
	if err != nil {
		return err
	}
	add("one change: server CPU", "ms", milliseconds(l.server)/float64(r.single), 10)
	add("one change: client CPU", "ms", milliseconds(l.client)/float64(r.single), 0)
	add("one change: CPU of other programs", "cores", l.others, 0)
	add("one change: p50 to a stream", "ms", milliseconds(l.p50), 0)
	add("one change: p99 to a stream", "ms", milliseconds(l.p99), 0)
	return nil
}

func (b *bench) runRate(r loadRow, add adder) error {
	if r.rate == 0 {
		return nil
	}
	l, err := b.change(int(r.rate*loadSeconds), r.rate)
	if err != nil {
		return err
	}
	work := fmt.Sprintf("%.0f changes/s for %d s", r.rate, loadSeconds)
	add(work+": p50", "ms", milliseconds(l.p50), 0)
	add(work+": p99", "ms", milliseconds(l.p99), r.limit)
	add(work+": slowest", "ms", milliseconds(l.max), 0)
	add(work+": server CPU", "cores", l.server.Seconds()/l.wall.Seconds(), 0)
	add(work+": client CPU", "cores", l.client.Seconds()/l.wall.Seconds(), 0)
	add(work+": CPU of other programs", "cores", l.others, 0)
	return nil
}

func (b *bench) runMemory(s settings, r loadRow, add adder) error {
	var o order
	if s.profiles != "" {
		o.Heap = filepath.Join(s.profiles, r.name+".heap")
	}
	// Read before the profile, which collects garbage.
	before, err := b.tell(order{})
	if err != nil {
		return err
	}
	if _, err := b.tell(o); err != nil {
		return err
	}
	add("RSS of the server", "MB", megabytes(before.RSS), r.memoryLimit)
	add("peak RSS of the server", "MB", megabytes(before.Peak), 0)
	return nil
}

func (b *bench) runReconnect(r loadRow, add adder) error {
	b.disconnect()
	sent := 0
	c, err := b.measure(func() (err error) {
		sent, err = b.reconnect(runtime.NumCPU())
		return err
	})
	if err != nil {
		return err
	}
	add("all reconnect with versions: wall", "s", c.wall.Seconds(), r.reconnectLimit)
	add("all reconnect with versions: server CPU", "s", c.server.Seconds(), 0)
	add("all reconnect with versions: client CPU", "s", c.client.Seconds(), 0)
	add("all reconnect with versions: CPU of other programs", "cores", c.others, 0)
	add("all reconnect with versions: resources sent", "", float64(sent), 0)
	if sent != 0 {
		return fmt.Errorf("%d resources were sent though the Envoys had all", sent)
	}
	return nil
}

// profiled writes CPU profiles of the server and of the load during work, if
// they are wanted.
func (b *bench) profiled(s settings, name string, work func() error) error {
	fmt.Fprintf(os.Stderr, "%s: %s\n", time.Now().Format(time.TimeOnly), name)
	if s.profiles == "" {
		return work()
	}
	if _, err := b.tell(order{Profile: filepath.Join(s.profiles, name+".cpu")}); err != nil {
		return err
	}
	own, err := create(filepath.Join(s.profiles, name+"-client.cpu"))
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(own); err != nil {
		return err
	}
	err = work()
	pprof.StopCPUProfile()
	if err := errors.Join(err, own.Close()); err != nil {
		return err
	}
	_, err = b.tell(order{EndProfile: true})
	return err
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

func megabytes(n uint64) float64 { return float64(n) / 1e6 }
