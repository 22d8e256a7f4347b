package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/xds/envoytest"
)

// postgres is a PostgreSQL server, as Debian has it.
type postgres struct {
	t       *testing.T
	bin     string
	dir     string
	port    string
	user    *syscall.Credential // of whoever runs it: not root
	process *exec.Cmd
}

// postgresPrograms is the folder of the newest PostgreSQL that is installed. Without one the test is skipped, but
// not where CI says that all is there.
func postgresPrograms(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		missing(t, "no PostgreSQL: install it (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(found[len(found)-1])
}

// startPostgres starts a server with a database of pgbench, in a folder of its own.
func startPostgres(t *testing.T, settings ...string) *postgres {
	t.Helper()
	p := &postgres{t: t, bin: postgresPrograms(t), port: fmt.Sprint(envoytest.FreePort(t))}
	dir, err := os.MkdirTemp("", "relay-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Getuid() == 0 {
		// It refuses to run as root.
		u, err := user.Lookup("postgres")
		if err != nil {
			missing(t, err.Error())
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		p.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	p.dir = filepath.Join(dir, "data")
	p.run("initdb", "-D", p.dir, "-U", "app", "-A", "trust", "--no-sync")
	p.start(settings...)
	p.run("createdb", "-h", "127.0.0.1", "-p", p.port, "-U", "app", "app")
	p.run("pgbench", "-h", "127.0.0.1", "-p", p.port, "-U", "app", "-i", "-q", "app")
	return p
}

// command is a program of PostgreSQL, which is ended with the test.
func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.user, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p *postgres) run(name string, args ...string) string {
	p.t.Helper()
	out, err := p.command(name, args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start starts the server on its port.
func (p *postgres) start(settings ...string) {
	p.t.Helper()
	args := []string{"-D", p.dir, "-h", "127.0.0.1", "-p", p.port, "-k", "", "-F"}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	p.process = p.command("postgres", args...)
	p.process.SysProcAttr.Pdeathsig = syscall.SIGQUIT // so that its children end too
	var log bytes.Buffer
	p.process.Stderr = &log
	if err := p.process.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd := p.process
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // at once
		_ = cmd.Wait()
		if p.t.Failed() {
			p.t.Logf("PostgreSQL at %s said:\n%s", p.port, log.String())
		}
	})
	eventually(p.t, "PostgreSQL answers", func() error {
		out, err := p.command("pg_isready", "-h", "127.0.0.1", "-p", p.port).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// stop ends it when its sessions have ended; until then it takes no new ones.
func (p *postgres) stop() (stopped <-chan error) {
	done := make(chan error, 1)
	_ = p.process.Process.Signal(syscall.SIGTERM)
	go func() { done <- p.process.Wait() }()
	return done
}

func (p *postgres) address() string { return net.JoinHostPort("127.0.0.1", p.port) }

// query asks a server at an address, as psql does.
func (p *postgres) query(address, sql string) (string, error) {
	out, err := p.psql(address, "-c", sql).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (p *postgres) psql(address string, args ...string) *exec.Cmd {
	host, port, _ := net.SplitHostPort(address)
	return p.command("psql", append([]string{"-X", "-A", "-t", "-q", "-h", host, "-p", port, "-U", "app", "-v", "ON_ERROR_STOP=1", "-d", "app"}, args...)...)
}

// bench runs pgbench against an address for a while, under a name that the server knows, and returns what it said.
func (p *postgres) bench(name, address string, lasts time.Duration, args ...string) (ended <-chan error, said *bytes.Buffer) {
	p.t.Helper()
	host, port, _ := net.SplitHostPort(address)
	cmd := p.command("pgbench", append([]string{"-h", host, "-p", port, "-U", "app", "-n", "-T", fmt.Sprint(int(lasts.Seconds()))}, append(args, "app")...)...)
	cmd.Env = append(cmd.Env, "PGAPPNAME="+name)
	said = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	p.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return done, said
}
