package scenario

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"relay/internal/testbed"
)

// Path is that of a file of the run, which is removed at the end.
func (r *Run) Path(name string) string { return filepath.Join(r.bed.Dir, name) }

// WriteFile writes a file of the run, and returns its path.
func (r *Run) WriteFile(name, text string) (string, error) {
	return r.Path(name), os.WriteFile(r.Path(name), []byte(text), 0o600)
}

// Reserve returns an address for a program to listen at.
func (r *Run) Reserve() string {
	address, err := r.reserveAddress()
	r.Must(err)
	return address
}

// Admin is the URL of Relay's admin endpoint.
func (r *Run) Admin() string { return "http://" + r.admin }

// Relay is the program.
func (r *Run) Relay() string { return r.bed.RelayBinary }

// Launch runs one more program until the end. A program that ends by itself ends the run.
func (r *Run) Launch(name, binary string, args ...string) error {
	r.parts.Lock()
	defer r.parts.Unlock()
	p, err := testbed.Start(r.bed.Dir, name, r.bed.Terminal, binary, args...)
	if err != nil {
		return err
	}
	r.programs = append(r.programs, p)
	r.onStop(p.Stop)
	return nil
}

// Command runs the relay program, and returns what it prints, and its status.
func (r *Run) Command(args ...string) (out string, status int, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.bed.RelayBinary, args...)
	cmd.Env = testbed.CleanEnvironment(os.Environ())
	text, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		return string(text) + string(failed.Stderr), failed.ExitCode(), nil
	}
	return string(text), 0, err
}

// Serve answers by HTTP until the end, and returns the URL.
func (r *Run) Serve(handler http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.Must(err)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() {
		_ = server.Serve(l)
		close(served)
	}()
	r.onStop(func() {
		_ = server.Close()
		<-served
	})
	return "http://" + l.Addr().String()
}

// Get reads JSON of a part of the run.
func (r *Run) Get(url string, into any) error { return r.get(url, into) }
