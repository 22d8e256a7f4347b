package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"relay/xds/xdsload"
)

// atOnceRow is a number of Envoys that hold all apps and come at once, by mutual
// TLS, to a server that was just started.
type atOnceRow struct{ apps, streams int }

const (
	// The limits: the highest memory as a multiple of what the same Envoys take
	// that came one after the other; s until all are current; p99 in ms of changes
	// to those that were there before.
	atOncePeakLimit, atOnceTimeLimit, atOnceChangeLimit = 1.5, 6, 100

	// atOnceRate is that of changes in 1/s, for atOnceSeconds.
	atOnceRate, atOnceSeconds = 20, 10

	// atOnceRest is how long after the last change the memory at rest is read.
	atOnceRest = 30 * time.Second
)

func runAtOnce(ctx context.Context, s settings, r atOnceRow) (figures []figure, err error) {
	fmt.Fprintf(os.Stderr, "%s: at once, %s: one after the other\n", time.Now().Format(time.TimeOnly), r)
	var m atOnceMemory
	envoys, steady, err := oneAfterTheOther(ctx, r)
	if err != nil {
		return nil, err
	}
	m.steady = steady
	b, err := startServer(ctx, r.apps, atOnceRate*atOnceSeconds, true)
	if err != nil {
		return nil, err
	}
	b.envoys = envoys
	defer func() { err = errors.Join(err, b.close()) }()
	config, err := b.last.Keys.config()
	if err != nil {
		return nil, err
	}
	for _, e := range b.envoys {
		if err := e.Move(b.last.Address, config); err != nil {
			return nil, err
		}
	}
	runtime.GC()
	w, err := startWatchers(ctx, b.last.Address, b.last.Keys, watcherCount, atOnceRate*atOnceSeconds)
	if err != nil {
		return nil, err
	}
	c, l, err := b.connectAtOnce(s, w, fmt.Sprintf("at-once-%d", r.streams))
	if err != nil {
		return nil, err
	}
	m.peak, m.after = b.last.Peak, b.last.RSS
	time.Sleep(atOnceRest)
	rest, err := b.tell(order{})
	if err != nil {
		return nil, err
	}
	m.rest = rest.RSS
	if s.profiles != "" {
		heap := filepath.Join(s.profiles, fmt.Sprintf("at-once-%d.heap", r.streams))
		if _, err := b.tell(order{Heap: heap}); err != nil {
			return nil, err
		}
	}
	b.disconnect()
	return r.figures(m, c, l), nil
}

// atOnceMemory is what memory the server took, in bytes: with Envoys that came one
// after the other; at most while all came at once, when all of these were current,
// and atOnceRest later.
type atOnceMemory struct{ steady, peak, after, rest uint64 }

func (r atOnceRow) String() string { return fmt.Sprintf("%d apps x %d streams", r.apps, r.streams) }

func (r atOnceRow) figures(m atOnceMemory, c cost, l load) (figures []figure) {
	add := func(work, unit string, value, limit float64) {
		figures = append(figures, figure{fmt.Sprintf("%s, %s", work, r), unit, value, limit})
	}
	add("RSS, Envoys came one after the other", "MB", megabytes(m.steady), 0)
	add("all come at once: peak RSS", "MB", megabytes(m.peak), atOncePeakLimit*megabytes(m.steady))
	add("all come at once: RSS when all are current", "MB", megabytes(m.after), 0)
	add(fmt.Sprintf("all come at once: RSS %s later", atOnceRest), "MB", megabytes(m.rest), 0)
	add("all come at once: all current, wall", "s", c.wall.Seconds(), atOnceTimeLimit)
	add("all come at once: server CPU", "s", c.server.Seconds(), 0)
	add("all come at once: client CPU", "s", c.client.Seconds(), 0)
	add("all come at once: CPU of other programs", "cores", c.others, 0)
	change := fmt.Sprintf("change to %d that were there: ", watcherCount)
	add(change+"p50", "ms", milliseconds(l.p50), 0)
	add(change+"p99", "ms", milliseconds(l.p99), atOnceChangeLimit)
	add(change+"slowest", "ms", milliseconds(l.max), 0)
	return figures
}

// oneAfterTheOther makes Envoys that hold all there is and connects them to a
// server, a few at a time. It returns what memory the server takes then.
func oneAfterTheOther(ctx context.Context, r atOnceRow) (envoys []*xdsload.Envoy, rss uint64, err error) {
	b, err := startServer(ctx, r.apps, 0, true)
	if err != nil {
		return nil, 0, err
	}
	// The Envoys live on.
	defer func() { b.envoys = nil; err = errors.Join(err, b.close()) }()
	config, err := b.last.Keys.config()
	if err != nil {
		return nil, 0, err
	}
	names := xdsload.NewNames()
	first, err := xdsload.New(options(b.last.Address, config, 0, names))
	if err != nil {
		return nil, 0, err
	}
	b.envoys = []*xdsload.Envoy{first}
	if err := errors.Join(b.connect(), b.check()); err != nil {
		return nil, 0, err
	}
	for i := 1; i < r.streams; i++ {
		e, err := xdsload.Resume(options(b.last.Address, config, i, names), first)
		if err != nil {
			return nil, 0, err
		}
		all := &bench{ctx: ctx, envoys: []*xdsload.Envoy{e}}
		if _, err := all.reconnect(1); err != nil {
			return nil, 0, err
		}
		b.envoys = append(b.envoys, e)
	}
	time.Sleep(atOnceRest)
	last, err := b.tell(order{})
	return b.envoys, last.RSS, err
}

// connectAtOnce connects all Envoys at once while changes come. It returns what it cost
// until all were current, and how long the changes took to the watchers.
func (b *bench) connectAtOnce(s settings, w *watchers, name string) (c cost, l load, err error) {
	start, client, machine, server := time.Now(), cpuTime(), busyTime(), b.last.CPU
	current := make(chan error, 1)
	var wall time.Duration
	go func() {
		_, err := b.reconnect(len(b.envoys))
		wall = time.Since(start)
		current <- err
	}()
	var r report
	if err := b.profiled(s, name, func() (err error) {
		r, err = b.tell(order{Changes: atOnceRate * atOnceSeconds, Rate: atOnceRate})
		return errors.Join(err, <-current)
	}); err != nil {
		return cost{}, load{}, err
	}
	after, err := b.tell(order{})
	if err != nil {
		return cost{}, load{}, err
	}
	c = cost{wall: wall, client: cpuTime() - client, server: after.CPU - server}
	c.others = max(0, (busyTime()-machine-c.client-c.server).Seconds()/time.Since(start).Seconds())
	arrivals, err := w.end()
	if err != nil {
		return cost{}, load{}, err
	}
	l, err = joinArrivals(load{}, r.Applied, arrivals)
	return c, l, err
}
