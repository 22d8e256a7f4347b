package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// talker is a program of others that says lines, and is told some.
type talker struct {
	t    *testing.T
	name string
	in   io.WriteCloser

	mu   sync.Mutex
	said []string
}

// startTalker runs a program until the test ends.
func startTalker(t *testing.T, name string, cmd *exec.Cmd) *talker {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout // what goes wrong is among the lines
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &talker{t: t, name: name, in: in}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.said = append(p.said, lines.Text())
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, strings.Join(p.said, "\n"))
		}
	})
	return p
}

// startNode runs a script of testdata/node. Without npm the test is skipped, but not where CI says that
// all is there.
func startNode(t *testing.T, script string, args ...string) *talker {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join("..", ".tools", "node"))
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, "node_modules"))
	}
	if err != nil {
		missing(t, fmt.Sprintf("%v: install node and npm (Debian: apt-get install nodejs npm), then make tools", err))
	}
	cmd := exec.Command(node, append([]string{filepath.Join("testdata", "node", script)}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_MODULES="+modules)
	return startTalker(t, strings.Join(append([]string{script}, args...), " "), cmd)
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// lines are those that were said so far.
func (p *talker) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.said)
}

// count is how many lines have a text.
func (p *talker) count(text string) (n int) {
	for _, line := range p.lines() {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// await waits until a line was said, and returns the first that begins so.
func (p *talker) await(prefix string) (line string) {
	p.t.Helper()
	eventually(p.t, p.name+" says "+prefix, func() error {
		lines := p.lines()
		i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, prefix) })
		if i < 0 {
			return fmt.Errorf("it says %q", lines)
		}
		line = lines[i]
		return nil
	})
	return line
}

// told tells a line and waits until one was said.
func (p *talker) told(line, wanted string) error {
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if slices.Contains(p.lines(), wanted) {
			return nil
		}
	}
	return errors.New(p.name + " never says " + wanted)
}

// talk is a socket that is meant to stay open. Each use tells it something else, after a prefix, and
// waits for a line with the same after another prefix.
func (p *talker) talk(what, tell, answer string) openConn {
	n := 0
	return openConn{what, func() error {
		n++
		text := fmt.Sprintf("hello-%d", n)
		return p.told(tell+text, answer+text)
	}}
}

// port is that of Envoy by plain HTTP.
func (c *clients) port() string {
	_, port, _ := net.SplitHostPort(c.http)
	return port
}
