package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// binaries builds demo and relay once, into a folder that TestMain removes.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "demo-test-")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-o", dir, "relay/cmd/relay", "relay/cmd/demo").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, err
})

func TestMain(m *testing.M) {
	envoytest.MoreAtOnce(2)
	code := m.Run()
	if dir, _ := binaries(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// process is a demo that runs as users run it.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	tmp   string
	ports map[string]string
	guide string
	first string // the first certificate of web.test
	// exported are the variables that the guide sets.
	exported []string
	done     chan error

	mu  sync.Mutex
	all bytes.Buffer
}

// launch starts a demo on free ports.
func launch(t *testing.T, stdout *os.File, args ...string) *process {
	t.Helper()
	p := prepare(t, args...)
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	p.start()
	return p
}

// prepare makes a demo on free ports that is to be started.
func prepare(t *testing.T, args ...string) *process {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, tmp: t.TempDir(), ports: make(map[string]string), done: make(chan error, 1)}
	for _, flag := range []string{"http", "https", "marathon", "renew", "admin", "xds", "envoy-admin"} {
		if !slices.Contains(args, "--"+flag) {
			p.ports[flag] = fmt.Sprint(envoytest.FreePort(t))
			args = append(args, "--"+flag, p.ports[flag])
		}
	}
	p.cmd = exec.Command(filepath.Join(dir, "demo"), args...)
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.tmp)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	return p
}

func (p *process) start() {
	t := p.t
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		p.done <- p.cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the demo printed:\n%s", p.output())
		}
	})
}

// Write takes what the demo prints.
func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all.Write(data)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all.String()
}

// ready waits until the demo has printed what to try.
func (p *process) ready() {
	p.t.Helper()
	eventually(p.t, "ready", func() error {
		out := p.output()
		_, guide, found := strings.Cut(out, "READY: ")
		if found && strings.Contains(guide, "Ctrl-C ends everything.") {
			p.guide = guide
			return nil
		}
		select {
		case err := <-p.done:
			p.done <- err
			p.t.Fatalf("the demo ended: %v", err)
		default:
		}
		return fmt.Errorf("not yet")
	})
}

// ends waits for the end of the demo and returns its error.
func (p *process) ends() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		return err
	case <-time.After(patience):
		p.t.Fatal("the demo does not end")
		return nil
	}
}

// leavesNothing fails the test if a file or one of the processes is left.
func (p *process) leavesNothing(children []int) {
	p.t.Helper()
	left, err := os.ReadDir(p.tmp)
	if err != nil || len(left) > 0 {
		p.t.Errorf("files are left: %v, %v", left, err)
	}
	p.gone(children)
}

func (p *process) gone(children []int) {
	p.t.Helper()
	eventually(p.t, "no process left", func() error {
		for _, pid := range children {
			if err := syscall.Kill(pid, 0); err == nil && !zombie(pid) {
				return fmt.Errorf("process %d is left", pid)
			}
		}
		return nil
	})
}

// stat returns the state and the parent of a process, from proc(5).
func stat(pid int) (state string, parent int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

func zombie(pid int) bool {
	state, _ := stat(pid)
	return state == "Z"
}

// children returns the processes that the demo has started.
func (p *process) children(want int) []int {
	p.t.Helper()
	all := childrenOf(p.t, p.cmd.Process.Pid)
	if len(all) != want {
		p.t.Fatalf("the demo has %d child processes, want %d", len(all), want)
	}
	return all
}

// childrenOf returns the processes that a process has started.
func childrenOf(t *testing.T, of int) (all []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent := stat(pid); parent == of {
			all = append(all, pid)
		}
	}
	return all
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// get reads a path of one of the demo's parts.
func (p *process) get(part, path string) string {
	p.t.Helper()
	resp, err := http.Get("http://127.0.0.1:" + p.ports[part] + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// served is the fingerprint of the certificate that a client gets. Whether it
// can be trusted curl checks.
func (p *process) served(name string) string {
	p.t.Helper()
	conn, err := tls.Dial("tcp", "127.0.0.1:"+p.ports["https"], &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}
