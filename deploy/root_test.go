package deploy_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a copy of this machine's files that is written to in memory, with a network of
// its own, so that packages can be installed and ports below 1024 opened without a trace.
type machine struct {
	t *testing.T
	// pid is the process whose namespaces it is.
	pid int
	// root is its root directory, in the namespace of pid only.
	root string
}

const setUpMachine = `set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir up work root
mount -t overlay overlay -o lowerdir=/,upperdir="$1/up",workdir="$1/work" root
mount --rbind /proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs -o mode=755 tmpfs root/run
mount -t tmpfs -o mode=1777 tmpfs root/tmp
ip link set lo up
echo ready
exec cat`

// startMachine needs to be root. CI is, so nothing is skipped there.
func startMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make a machine to install to: its files and its network are in namespaces")
	}
	m := &machine{t: t, root: filepath.Join(t.TempDir(), "machine")}
	if err := os.Mkdir(m.root, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", setUpMachine, "sh", m.root)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	m.root = filepath.Join(m.root, "root")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("no machine to install to (%v): namespaces and overlayfs are needed, which a container has with --privileged", err)
	}
	m.pid = cmd.Process.Pid
	return m
}

// outside is a command with the mounts and the network of the machine, but this root.
func (m *machine) outside(script string) *exec.Cmd {
	return exec.Command("nsenter", "--target", fmt.Sprint(m.pid), "--mount", "--net", "sh", "-ec", script)
}

// inside is a command on the machine.
func (m *machine) inside(script string) *exec.Cmd {
	cmd := exec.Command("nsenter", "--target", fmt.Sprint(m.pid), "--mount", "--net", "chroot", m.root, "sh", "-ec", script)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}
	return cmd
}

// run returns what a script on the machine prints. It must succeed.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.inside(script).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// put writes a file of the machine.
func (m *machine) put(path, text string) {
	m.t.Helper()
	cmd := m.inside("cat > '" + path + "'")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", path, err, out)
	}
}

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// eventually runs a script until it succeeds, and returns what it prints.
func eventually(t *testing.T, command func(string) *exec.Cmd, script string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		out, err := command(script).CombinedOutput()
		if err == nil {
			return string(out)
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
}

// service is a process that runs until the test ends it.
type service struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  string
	done chan error
}

// start runs a command whose last process is the service, by exec.
func start(t *testing.T, name string, cmd *exec.Cmd) *service {
	t.Helper()
	s := &service{t: t, name: name, cmd: cmd, log: filepath.Join(t.TempDir(), "log"), done: make(chan error, 1)}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, s.output())
		}
	})
	return s
}

// output is the end of what the service wrote.
func (s *service) output() []byte {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return []byte(err.Error())
	}
	return text[max(0, len(text)-5000):]
}

// stop ends the service as systemd and containers do, and returns how it ended.
func (s *service) stop() error {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.done:
		return err
	case <-time.After(patience):
		s.t.Fatalf("%s does not end", s.name)
		return nil
	}
}
