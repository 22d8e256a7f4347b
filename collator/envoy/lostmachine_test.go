package envoy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"relay/sources"
)

const (
	// role says what the test binary, started again by TestLostMachine, is to do.
	role = "RELAY_TEST_ROLE"

	machineAddress, edgeAddress = "10.99.0.2", "10.99.0.1"
)

// ipProgram is where ip is: the PATH of users has no /usr/sbin in Debian.
func ipProgram() string {
	if path, err := exec.LookPath("ip"); err == nil {
		return path
	}
	return "/usr/sbin/ip"
}

// A machine that loses power says nothing more. Requests on connections to it end within
// half a minute, and are answered by another machine if they may be sent again. The machines are
// network namespaces, which nothing outside of the test sees.
func TestLostMachine(t *testing.T) {
	switch os.Getenv(role) {
	case "edge":
		testLostMachine(t)
		return
	case "machine":
		runMachine(t)
		return
	}
	t.Parallel()
	if _, err := exec.LookPath(ipProgram()); err != nil {
		t.Fatalf("%v: run make tools, or install iproute2", err)
	}
	root := func(id int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
	}
	cmd := again("edge", &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: root(os.Getuid()), GidMappings: root(os.Getgid()), Pdeathsig: syscall.SIGKILL,
	})
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL):
		t.Skipf("network namespaces cannot be made here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
}

// again starts this test in another process.
func again(as string, attributes *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestLostMachine$", "-test.timeout=5m", "-test.v")
	cmd.Env = append(os.Environ(), role+"="+as)
	cmd.SysProcAttr = attributes
	return cmd
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command(ipProgram(), strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// runMachine is the other machine. It does what is said on its standard input.
func runMachine(t *testing.T) {
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		switch orders.Text() {
		case "on":
			ip(t, "addr add "+machineAddress+"/30 dev machine")
			ip(t, "link set machine up")
			l, err := net.Listen("tcp", machineAddress+":31001")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/slow") {
						<-r.Context().Done()
					}
					_, _ = io.WriteString(w, "machine\n")
				}))
			}()
		case "off":
			ip(t, "link set machine down")
		}
		_, _ = fmt.Fprintln(os.Stderr, "done")
	}
	os.Exit(0)
}

// machine is another machine, connected to this one.
type machine struct {
	t      *testing.T
	orders io.Writer
	done   *bufio.Scanner
}

func startMachine(t *testing.T) *machine {
	t.Helper()
	cmd := again("machine", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL})
	orders, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	done, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = orders.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ip(t, "link set lo up")
	ip(t, fmt.Sprintf("link add edge type veth peer name machine netns %d", cmd.Process.Pid))
	ip(t, "addr add "+edgeAddress+"/30 dev edge")
	ip(t, "link set edge up")
	m := &machine{t, orders, bufio.NewScanner(done)}
	m.order("on")
	return m
}

func (m *machine) order(what string) {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.orders, what); err != nil || !m.done.Scan() || m.done.Text() != "done" {
		m.t.Fatalf("%s: %v, %s", what, err, m.done.Text())
	}
}

func testLostMachine(t *testing.T) {
	m := startMachine(t)
	e := startEnvoy(t)
	here := e.reading("here")
	there := net.JoinHostPort(machineAddress, "31001")
	app := func(id, domain string, addresses ...string) *sources.App {
		return changed(webApp(id, domain), func(p *sources.Port) { p.Endpoints = endpoints(addresses...) })
	}
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps([]*sources.App{app("/a", "a.test", there, here), app("/slow", "slow.test", there)})
	for _, host := range []string{"a.test", "slow.test"} {
		e.eventually(t, request{host: host, path: "/"}, func(a answer) bool { return a.body == "machine\n" })
	}
	// A request that the machine works on when it is lost. It is answered by another one.
	waiting := make(chan error, 1)
	go func() {
		a, err := e.send(t.Context(), request{host: "slow.test", path: "/slow"})
		if err == nil && !strings.HasPrefix(a.body, "app here\n") {
			err = fmt.Errorf("status %d, %s", a.status, a.body)
		}
		waiting <- err
	}()
	e.until(t, "the machine works on a request", func() bool {
		text, err := e.envoy.Get(t.Context(), "/clusters")
		return err == nil && strings.Contains(text, there+"::rq_active::1")
	})
	e.c.UpdateApps([]*sources.App{app("/slow", "slow.test", there, here)}, nil)
	client := e.client(t, false)
	get := func(int) *http.Request { return newRequest(t, http.MethodGet, "a.test", nil) }
	if failed := failures(t, client, 200, get); len(failed) > 0 {
		t.Errorf("while the machine runs failed: %v", failed)
	}
	m.order("off")
	lost := time.Now()
	if failed := failures(t, client, 1000, get); len(failed) > 0 {
		t.Errorf("when the machine was lost failed: %v", failed)
	}
	t.Logf("1000 requests took %s", time.Since(lost))
	if took := time.Since(lost); took > 35*time.Second {
		t.Errorf("1000 requests took %s", took)
	}
	if err := <-waiting; err != nil {
		t.Errorf("the request that the machine worked on: %v", err)
	}
	t.Logf("the request that the machine worked on took %s", time.Since(lost))
	if took := time.Since(lost); took > 35*time.Second {
		t.Errorf("the request that the machine worked on took %s", took)
	}
}
