package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"relay/xds/xdsload"
)

// watchers are Envoys in a process of their own, which the load of others does
// not slow down.
type watchers struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

// startWatchers returns when all have everything.
func startWatchers(ctx context.Context, address string, k *keys, streams, changes int) (*watchers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &watchers{cmd: exec.CommandContext(ctx, self, "-watch", address, "-streams", strconv.Itoa(streams),
		"-changes", strconv.Itoa(changes))}
	w.cmd.Stderr = os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(w.in).Encode(k); err != nil {
		return nil, errors.Join(err, w.cmd.Wait())
	}
	w.answers = json.NewDecoder(out)
	if err := w.answers.Decode(new([][]xdsload.Sample)); err != nil {
		return nil, errors.Join(fmt.Errorf("the watching process did not start: %w", err), w.cmd.Wait())
	}
	return w, nil
}

// end ends the process and returns what each stream got.
func (w *watchers) end() (arrivals [][]xdsload.Sample, err error) {
	_ = w.in.Close()
	err = w.answers.Decode(&arrivals)
	return arrivals, errors.Join(err, w.cmd.Wait())
}

// watch is the process: it reads keys, connects, says so, and when its input ends
// it waits for the changes on each stream and tells when they arrived.
func watch(address string, streams, changes int, in io.Reader, out io.Writer) error {
	var k *keys
	if err := json.NewDecoder(in).Decode(&k); err != nil {
		return err
	}
	config, err := k.config()
	if err != nil {
		return err
	}
	b := &bench{ctx: context.Background()}
	if err := b.add(address, config, streams); err != nil {
		return err
	}
	if err := b.connect(); err != nil {
		return err
	}
	for _, e := range b.envoys {
		e.Samples()
	}
	answers := json.NewEncoder(out)
	if err := answers.Encode([][]xdsload.Sample{}); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	arrivals := make([][]xdsload.Sample, len(b.envoys))
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		missing := false
		for i, e := range b.envoys {
			arrivals[i] = append(arrivals[i], e.Samples()...)
			missing = missing || len(arrivals[i]) < changes
		}
		if !missing {
			break
		}
	}
	return answers.Encode(arrivals)
}

// The rate and number of changes that watchers follow while others connect.
const (
	watchedRate    = 100
	watchedSeconds = 10
	watcherCount   = 10
)

// runRestart measures how current Envoys stay that are connected while many
// others come at once, as they do when a Relay restarts.
func runRestart(ctx context.Context, s settings, apps, streams int) (figures []figure, err error) {
	b, err := startBench(ctx, apps, watchedRate*watchedSeconds, streams)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	w, err := startWatchers(ctx, b.last.Address, nil, watcherCount, watchedRate*watchedSeconds)
	if err != nil {
		return nil, err
	}
	connected := make(chan error, 1)
	go func() { connected <- b.connect() }()
	var r report
	if err := b.profiled(s, "restart", func() (err error) {
		r, err = b.tell(order{Changes: watchedRate * watchedSeconds, Rate: watchedRate})
		return errors.Join(err, <-connected)
	}); err != nil {
		return nil, err
	}
	arrivals, err := w.end()
	if err != nil {
		return nil, err
	}
	l, err := joinArrivals(load{}, r.Applied, arrivals)
	if err != nil {
		return nil, err
	}
	b.disconnect()
	work := fmt.Sprintf(" to %d connected streams while %d connect, %d apps", watcherCount, streams, apps)
	return []figure{
		{"p50 of a change" + work, "ms", milliseconds(l.p50), 0},
		{"p99 of a change" + work, "ms", milliseconds(l.p99), 0},
		{"slowest change" + work, "ms", milliseconds(l.max), 0},
	}, nil
}
