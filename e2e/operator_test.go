package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"relay/internal/logtest"
	"relay/xds/envoytest"
)

// operator follows a document on a machine of its own: a directory.
type operator struct {
	t       *testing.T
	dir     string
	environ []string
	here    *strings.Replacer

	mu      sync.Mutex // guards servers
	servers []*serving
}

// serving is a command that does not end by itself.
type serving struct {
	block commandBlock
	log   logtest.Buffer
	cmd   *exec.Cmd
	ended chan struct{}
}

// newOperator gives it the programs "relay" and "envoy", by these files, and a home.
func newOperator(t *testing.T, relay string) *operator {
	t.Helper()
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the commands need %s: run \"make tools\"", program)
		}
	}
	envoy, err := envoytest.Find()
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{t: t, dir: t.TempDir(), here: strings.NewReplacer()}
	o.program("relay", fmt.Sprintf(`exec '%s' "$@"`, relay))
	o.program("envoy", fmt.Sprintf(`exec '%s' --disable-hot-restart --concurrency 1 --log-level warning "$@"`, envoy))
	o.write("home/.curlrc", 0o600, "")
	o.environ = []string{
		"PATH=" + filepath.Join(o.dir, "bin") + ":" + os.Getenv("PATH") + ":/usr/sbin:/sbin",
		"HOME=" + filepath.Join(o.dir, "home"), "TMPDIR=" + t.TempDir(), "LC_ALL=C",
	}
	return o
}

// program puts a script into the operator's PATH.
func (o *operator) program(name, script string) {
	o.t.Helper()
	o.write("bin/"+name, 0o700, "#!/bin/sh\n"+script+"\n")
}

// at says what stands here for places in the document: pairs of these. The first that fits counts.
func (o *operator) at(document string, places ...string) {
	o.t.Helper()
	for i := 0; i < len(places); i += 2 {
		if !strings.Contains(document, places[i]) {
			o.t.Errorf("the document has no %s", places[i])
		}
	}
	o.here = strings.NewReplacer(places...)
}

func (o *operator) write(name string, mode os.FileMode, text string) {
	o.t.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		o.t.Fatal(err)
	}
}

// run runs a block and says what is not as documented.
func (o *operator) run(b commandBlock) error {
	switch {
	case b.outcome == outcomeServes:
		return o.serve(b)
	case b.outcome == outcomeLog:
		return o.soon(func() error { return o.logged(b) })
	case b.from != "":
		o.write("home/.curlrc", 0o600, "interface = "+o.here.Replace(b.from)+"\n")
		defer o.write("home/.curlrc", 0o600, "")
	}
	once := func() error {
		ctx, cancel := context.WithTimeout(o.t.Context(), patience)
		defer cancel()
		cmd := o.command(ctx, b)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if ctx.Err() != nil {
			return fmt.Errorf("it does not end: %s", out.String())
		}
		if err := b.judge(err == nil, out.String(), o.here.Replace); err != nil {
			return fmt.Errorf("%w; it ended with %v and printed:\n%s", err, cmd.ProcessState, out.String())
		}
		return nil
	}
	if b.outcome == outcomeSoon {
		return o.soon(once)
	}
	return once()
}

func (o *operator) command(ctx context.Context, b commandBlock) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euc", o.here.Replace(b.commands))
	cmd.Dir, cmd.Env = o.dir, o.environ
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// soon tries until it works.
func (o *operator) soon(try func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if err := try(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// serve starts what does not end. Envoy comes up while later blocks wait.
func (o *operator) serve(b commandBlock) error {
	s := &serving{block: b}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.servers = append(o.servers, s)
	o.t.Cleanup(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if s.ended == nil {
			return
		}
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.ended
		if o.t.Failed() {
			o.t.Logf("%s\n%s", b.commands, s.log.String())
		}
	})
	return o.start(s)
}

func (o *operator) start(s *serving) error {
	before := len(s.log.String())
	cmd := o.command(context.Background(), s.block)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	s.cmd, s.ended = cmd, ended
	if !strings.HasPrefix(s.block.commands, "relay ") {
		return nil
	}
	return o.soon(func() error {
		if log := s.log.String()[before:]; !strings.Contains(log, "msg=serving") {
			return fmt.Errorf("it does not serve: %s", log)
		}
		return nil
	})
}

// restart does what a service manager does with a command that serves.
func (o *operator) restart(words string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.servers {
		if strings.HasPrefix(s.block.commands, words) {
			if err := syscall.Kill(s.cmd.Process.Pid, syscall.SIGTERM); err != nil {
				return err
			}
			<-s.ended
			return o.start(s)
		}
	}
	return fmt.Errorf("nothing was started by %q", words)
}

func (o *operator) logged(b commandBlock) error {
	log := o.servers[0].log.String()
	for _, want := range b.prints {
		want = o.here.Replace(want)
		if !slices.ContainsFunc(strings.Split(log, "\n"), func(line string) bool { return looksLike(line, want) }) {
			return fmt.Errorf("Relay's log has no line %s:\n%s", want, log)
		}
	}
	return nil
}

// stillServing fails the test unless so many commands serve.
func (o *operator) stillServing(n int) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.servers) != n {
		o.t.Errorf("%d commands serve, want %d", len(o.servers), n)
	}
	for _, s := range o.servers {
		select {
		case <-s.ended:
			o.t.Errorf("it has ended: %s", s.block.commands)
		default:
		}
	}
}
