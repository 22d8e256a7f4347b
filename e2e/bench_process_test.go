package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// benchProcess is Relay as a process of its own, whose CPU time and memory can
// be told from those of the benchmark.
type benchProcess struct {
	procfs
	b     *testing.B
	admin string
	cmd   *exec.Cmd
}

// startProcess runs relay serve until the benchmark ends, with more arguments if there are some.
func (w *benchWorld) startProcess(args ...string) *benchProcess {
	w.b.Helper()
	p := &benchProcess{b: w.b, admin: fmt.Sprintf("http://127.0.0.1:%d", envoytest.FreePort(w.b))}
	p.cmd = exec.Command(program.path(w.b), append([]string{
		"serve", "--marathon", w.marathon.URL(), "--marathon-sync-interval", "1h", "--pprof",
		"--http", w.config.Fleets[0].HTTP.String(), "--xds", w.config.XDS.Address, "--admin", strings.TrimPrefix(p.admin, "http://"), "--log-level", "error",
	}, args...)...)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.b.Fatal(err)
	}
	p.procfs = procfs{w.b, p.cmd.Process.Pid}
	w.b.Cleanup(p.kill)
	return p
}

func (p *benchProcess) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// syncs is how many full reads were applied; 0 while Relay does not answer yet.
func (p *benchProcess) syncs() int { return p.metric("relay_marathon_full_syncs_total") }

// metric is the value of a metric without labels; 0 if there is none.
func (p *benchProcess) metric(name string) int {
	resp, err := http.Get(p.admin + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.ParseFloat(value, 64)
	return int(n)
}

// awaitSyncs waits for a number of full reads.
func (p *benchProcess) awaitSyncs(n int) {
	p.b.Helper()
	for deadline := time.Now().Add(time.Minute); p.syncs() < n; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.b.Fatalf("no %d full reads within a minute", n)
		}
	}
}

// settle waits until the process uses no more CPU: what a start leaves behind
// to be built is built.
func (p *benchProcess) settle() {
	p.b.Helper()
	for before := time.Duration(-1); p.cpu() > before; time.Sleep(500 * time.Millisecond) {
		before = p.cpu()
	}
}

// reload reads all apps again.
func (p *benchProcess) reload() {
	p.b.Helper()
	before := p.syncs()
	resp, err := http.Post(p.admin+"/_mlb_signal/hup", "", nil)
	if err != nil {
		p.b.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusAccepted {
		p.b.Fatal(resp.Status)
	}
	p.awaitSyncs(before + 1)
}
