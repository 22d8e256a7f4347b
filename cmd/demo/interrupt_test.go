package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C while the demo starts leaves nothing behind, however far it has come.
func TestInterruptedStart(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("%d parts run", parts), func(t *testing.T) {
			t.Parallel()
			p := launch(t, nil)
			var children []int
			eventually(t, "its folder, and its parts", func() error {
				if entries, err := os.ReadDir(p.tmp); err != nil || len(entries) == 0 {
					return fmt.Errorf("%d files, %v", len(entries), err)
				}
				if children = childrenOf(t, p.cmd.Process.Pid); len(children) < parts {
					return fmt.Errorf("%d parts run", len(children))
				}
				return nil
			})
			if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			if err := p.ends(); err != nil {
				t.Error(err)
			}
			p.leavesNothing(children)
		})
	}
}

// Ctrl-C while "make test" runs the tests removes their files, which interrupted tests do
// not, and ends what they started.
func TestInterruptedTests(t *testing.T) {
	t.Parallel()
	bin, tmp := t.TempDir(), t.TempDir()
	started := filepath.Join(bin, "started")
	// Nothing of it ends when it is interrupted: a shell would go on.
	script := `#!/bin/sh
mkdir "$TMPDIR/left" && touch "$TMPDIR/left/file" && echo $$ >` + started + `
exec sleep 600
`
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	// What comes before the tests is taken for done.
	cmd := exec.Command("make", "--old-file=tools", "--old-file=check", "test")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := -cmd.Process.Pid
	t.Cleanup(func() { _ = syscall.Kill(group, syscall.SIGKILL) })
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var pid int
	eventually(t, "the tests run", func() error {
		text, err := os.ReadFile(started)
		if line, whole := strings.CutSuffix(string(text), "\n"); whole {
			pid, err = strconv.Atoi(line)
		} else if err == nil {
			err = errors.New("not yet")
		}
		return err
	})
	if err := syscall.Kill(group, syscall.SIGINT); err != nil { // as a terminal does
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if _, failed := errors.AsType[*exec.ExitError](err); !failed {
			t.Errorf("make ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("make does not end")
	}
	p := &process{t: t, tmp: tmp}
	eventually(t, "files are removed", func() error {
		entries, err := os.ReadDir(tmp)
		if len(entries) > 0 {
			return fmt.Errorf("%v", entries)
		}
		return err
	})
	p.gone([]int{pid})
}
