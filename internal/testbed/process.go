package testbed

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

// Process is a process that ends with this one, however this one ends.
type Process struct {
	name, log string
	cmd       *exec.Cmd
	file      *os.File
	done      chan struct{}
	err       error // set when done is closed
}

// Start runs a program whose output goes to DIR/NAME.log and, if terminal
// is not nil, there with its name before each line.
func Start(dir, name string, terminal io.Writer, binary string, args ...string) (*Process, error) {
	p := &Process{name: name, log: filepath.Join(dir, name+".log"), cmd: exec.Command(binary, args...), done: make(chan struct{})}
	var err error
	if p.file, err = os.Create(p.log); err != nil {
		return nil, err
	}
	var out io.Writer = p.file
	if terminal != nil {
		out = io.MultiWriter(p.file, &prefixed{prefix: name + " | ", out: terminal})
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = CleanEnvironment(os.Environ())
	// A process group of its own keeps a terminal's Ctrl-C from ending it before
	// its parent is ready for that.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		_ = p.file.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		_ = p.file.Close()
		close(p.done)
	}()
	return p, nil
}

// CleanEnvironment takes out what would change the settings of the
// Relay that is started.
func CleanEnvironment(all []string) []string {
	var clean []string
	for _, v := range all {
		if !strings.HasPrefix(v, "RELAY_") && !strings.HasPrefix(v, "VAULT_") {
			clean = append(clean, v)
		}
	}
	return clean
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Log is the file with what the process has printed.
func (p *Process) Log() string { return p.log }

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended says how a process ended that should not have.
func (p *Process) Ended() error {
	status := "status 0"
	if p.err != nil {
		status = p.err.Error()
	}
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := lines[max(0, len(lines)-15):]
	return fmt.Errorf("%s ended by itself (%s); its last lines:\n  %s", p.name, status, strings.Join(last, "\n  "))
}

// Stop ends the process as an operator would, or kills it after a few seconds.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
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
