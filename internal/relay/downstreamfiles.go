package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"relay/collator"
	"relay/internal/files"
	"relay/internal/problem"
)

// downstreamSink takes what https listeners need besides certificates. It is the
// collator.
type downstreamSink interface {
	SetClientCA(fleet string, text []byte) error
	SetTicketKeys(fleet string, keys []collator.TicketKey)
}

// downstreamFiles are read at the start, where what is wrong with them is said at
// once, and again when they change; then the last good content stays.
type downstreamFiles struct {
	files   []*downstreamFile
	tickets *ticketRotation // nil if Envoys make their own keys
	log     *slog.Logger
}

// downstreamFile is one file, and what its content is for.
type downstreamFile struct {
	option, path string
	take         func(content []byte) error

	stamp   files.Stamp
	mu      sync.Mutex
	problem string
}

// newDownstreamFiles reads the files of all fleets. It is nil if there are none.
func newDownstreamFiles(c *Config, sink downstreamSink, log *slog.Logger) (*downstreamFiles, error) {
	e := &downstreamFiles{log: log.With("part", "tls files")}
	for _, f := range c.Fleets {
		if f.ClientCAFile != "" {
			e.add("client-ca of fleet "+f.Name, f.ClientCAFile, func(content []byte) error { return sink.SetClientCA(f.Name, content) })
		}
	}
	if c.SessionTicketKeyFile != "" {
		e.tickets = &ticketRotation{fleets: c.ticketFleets(), sink: sink}
		e.add("session-ticket-key-file", c.SessionTicketKeyFile, e.tickets.setSecret)
	}
	if len(e.files) == 0 {
		return nil, nil
	}
	var errs []error
	for _, f := range e.files {
		if _, err := f.read(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.option, err))
		}
	}
	return e, errors.Join(errs...)
}

func (e *downstreamFiles) add(option, path string, take func([]byte) error) {
	e.files = append(e.files, &downstreamFile{option: option, path: absolute(path), take: take})
}

// Serve looks at the files, and at the clock, until the context ends.
func (e *downstreamFiles) Serve(ctx context.Context) error {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			for _, f := range e.files {
				e.look(f)
			}
			if e.tickets != nil {
				if err := e.tickets.rotate(); err != nil {
					return err
				}
			}
		}
	}
}

// look reads a file again if it changed, or could not be used, and says once
// what came of it.
func (e *downstreamFiles) look(f *downstreamFile) {
	changed, err := f.read()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.problem = ""
		if changed {
			e.log.Info("read again", "event", "file_read", "setting", f.option, "file", f.path)
		}
		return
	}
	if f.problem != err.Error() {
		f.problem = err.Error()
		e.log.Warn("cannot be used: the last good content stays", "event", "file_unusable", "setting", f.option, "error", err)
	}
}

// maxDownstreamFile is more than thousands of authorities take.
const maxDownstreamFile = 1 << 20

// read hands the content on if the file is another than before. The stamp is
// that of content that was of use: a file that was not is tried again.
func (f *downstreamFile) read() (changed bool, err error) {
	stamp, err := files.StampOf(f.path)
	if err != nil || stamp == f.stamp {
		return false, err
	}
	content, err := files.Read(f.path, maxDownstreamFile)
	if err != nil {
		return false, err
	}
	if err := f.take(content); err != nil {
		return false, fmt.Errorf("%s: %w", f.path, err)
	}
	f.stamp = stamp
	return true, nil
}

// problems tell which files cannot be used.
func (e *downstreamFiles) problems() []problem.Problem {
	if e == nil {
		return nil
	}
	var problems []problem.Problem
	for _, f := range e.files {
		f.mu.Lock()
		if f.problem != "" {
			problems = append(problems, problem.Problem{Kind: problem.Source, Severity: problem.Ignored, Action: "put a file that can be used in its place", Subject: f.option, Reason: f.problem + ": the last good content stays"})
		}
		f.mu.Unlock()
	}
	return problems
}
