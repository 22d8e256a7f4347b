package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a process that ends with this one, however this one ends.
type child struct {
	name, log string
	cmd       *exec.Cmd
	file      *os.File
	done      chan struct{}
	err       error // set when done is closed
}

// startChild runs a program whose output goes to DIR/NAME.log and, if terminal
// is not nil, there with its name before each line.
func startChild(dir, name string, terminal io.Writer, binary string, args ...string) (*child, error) {
	c := &child{name: name, log: filepath.Join(dir, name+".log"), cmd: exec.Command(binary, args...), done: make(chan struct{})}
	var err error
	if c.file, err = os.Create(c.log); err != nil {
		return nil, err
	}
	var out io.Writer = c.file
	if terminal != nil {
		out = io.MultiWriter(c.file, &prefixed{prefix: name + " | ", out: terminal})
	}
	c.cmd.Stdout, c.cmd.Stderr = out, out
	c.cmd.Env = cleanEnvironment(os.Environ())
	// A process group of its own keeps a terminal's Ctrl-C from ending it before
	// its parent is ready for that.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		_ = c.file.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		_ = c.file.Close()
		close(c.done)
	}()
	return c, nil
}

// cleanEnvironment takes out what would change the settings of the demo's
// Relay.
func cleanEnvironment(all []string) []string {
	var clean []string
	for _, v := range all {
		if !strings.HasPrefix(v, "RELAY_") && !strings.HasPrefix(v, "VAULT_") {
			clean = append(clean, v)
		}
	}
	return clean
}

// ended says how a process ended that should not have.
func (c *child) ended() error {
	status := "status 0"
	if c.err != nil {
		status = c.err.Error()
	}
	text, _ := os.ReadFile(c.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := lines[max(0, len(lines)-15):]
	return fmt.Errorf("%s ended by itself (%s); its last lines:\n  %s", c.name, status, strings.Join(last, "\n  "))
}

// stop ends the process as an operator would, or kills it after a few seconds.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// prefixed writes whole lines with a prefix.
type prefixed struct {
	prefix string
	out    io.Writer

	mu   sync.Mutex
	line []byte
}

// Write takes any part of the output. A terminal that is gone is no error: the
// process has to go on until it is stopped.
func (p *prefixed) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = append(p.line, data...)
	for {
		line, rest, found := bytes.Cut(p.line, []byte("\n"))
		if !found {
			return len(data), nil
		}
		_, _ = fmt.Fprintf(p.out, "%s%s\n", p.prefix, line)
		p.line = rest
	}
}
