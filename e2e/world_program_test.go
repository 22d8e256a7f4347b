package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"relay/internal/relay"
	"relay/xds/envoytest"
)

// program is the relay command, built when the first test needs it.
var program builtProgram

type builtProgram struct {
	once sync.Once
	dir  string
	err  error
}

// path returns the file to run.
func (p *builtProgram) path(t testing.TB) string {
	t.Helper()
	p.once.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "relay-e2e-"); p.err != nil {
			return
		}
		args := []string{"build", "-o", p.dir}
		if raceDetector {
			args = append(args, "-race")
		}
		if out, err := exec.Command("go", append(args, "relay/cmd/relay")...).CombinedOutput(); err != nil {
			p.err = errors.Join(err, errors.New(string(out)))
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return filepath.Join(p.dir, "relay")
}

func (p *builtProgram) remove() {
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// command runs a command of relay to its end, and returns its status and what it
// printed.
func command(t testing.TB, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return commandIn(t, nil, args...)
}

// commandIn is command with more in its environment.
func commandIn(t testing.TB, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	path := program.path(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(os.Environ(), "XDG_CONFIG_HOME=/nowhere"), env...) // not the settings of whoever runs the tests
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// process is Relay as a process of its own.
type process struct {
	admin *adminClient
	cmd   *exec.Cmd
}

// startProcess runs relay serve, configured by flags, environment and a file.
func (r *runningRelay) startProcess(flags ...string) *process {
	r.t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(r.t))
	p := &process{admin: newAdminClient(r.t)}
	p.admin.use("http://"+address, relay.AdminPort{})
	file := r.t.TempDir() + "/relay.yaml"
	text := "marathon: [" + r.config.Apps.Marathon.URLs[0] + "]\nfleets:\n- name: external\n  http: " + r.fleet.HTTP.String() + "\n  https: " + r.fleet.HTTPS.String() + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	p.cmd = exec.Command(program.path(r.t), append([]string{"serve", "--config", file, "--xds", r.config.XDS.Address, "--admin", address}, flags...)...)
	p.cmd.Env = append(os.Environ(), "RELAY_CERTS_DIR="+r.certs.dir)
	p.cmd.Stderr = r.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.kill)
	return p
}

// terminate ends it as a service manager does.
func (p *process) terminate() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
