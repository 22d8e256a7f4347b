package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
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
		if out, err := exec.Command("go", "build", "-o", p.dir, "relay/cmd/relay").CombinedOutput(); err != nil {
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program.path(t), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
