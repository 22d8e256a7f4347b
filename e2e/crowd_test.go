package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relay/deploy"
	"relay/xds/envoytest"
)

const (
	// crowd is how many clients take a connection each and do nothing useful with it.
	crowd = 1000
	// fewDescriptors are less than the crowd needs: an Envoy has some of its own.
	fewDescriptors = 1024
	// fewConnections is what "relay bootstrap" makes of them.
	fewConnections = 416
)

// startLimited starts an Envoy that may have few descriptors.
func (e *runningEnvoy) startLimited() {
	e.t.Helper()
	e.limits = deploy.Limits{MaxConnections: fewConnections}
	e.start()
	limit := unix.Rlimit{Cur: fewDescriptors, Max: fewDescriptors}
	if err := unix.Prlimit(e.Pid(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		e.t.Fatal(err)
	}
	e.ready()
}

// descriptors is how many Envoy has.
func (e *runningEnvoy) descriptors() int {
	e.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.Pid()))
	if err != nil {
		e.t.Fatal(err)
	}
	return len(open)
}

// Clients that only connect cost Envoy nothing. New clients are served at once beside them.
func TestCrowdOfSilentClients(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		w := newWorld(t)
		w.envoy.version = version
		w.certs.issue("a.test")
		w.marathon.deploy(app("/a", "a.test", 1))
		w.relay.start()
		w.envoy.startLimited()
		w.clients.expect("http://a.test/", http.StatusOK, "/a")
		w.clients.expect("https://a.test/", http.StatusOK, "/a")
		before := w.envoy.descriptors()
		for i := range crowd {
			w.conns.hold([]string{w.clients.http, w.clients.https}[i%2], "")
		}
		for _, url := range []string{"http://a.test/", "https://a.test/"} {
			for range 20 {
				// A client without connections that it has already.
				if a, err := w.clients.get(w.clients.client(false), url, ""); err != nil || a.status != http.StatusOK {
					t.Fatalf("%s: status %d, %v", url, a.status, err)
				}
			}
		}
		if after := w.envoy.descriptors(); after > before+100 {
			t.Errorf("Envoy has %d descriptors, and had %d before %d clients connected", after, before, crowd)
		}
	})
}

// Clients that say as little as they can take all connections that Envoy may have, until their
// time for a request is over. Those who have a connection are served meanwhile, people see
// Envoy's admin endpoint, and a balancer hears that Envoy is well.
func TestCrowdOfSlowClients(t *testing.T) {
	w := newWorld(t)
	health := freeAddress(t)
	w.relay.fleet.Health, w.relay.fleet.Options.RequestHeadersTimeout = netip.MustParseAddrPort(health), 3*time.Second
	w.marathon.deploy(app("/a", "a.test", 1))
	w.relay.start()
	w.envoy.startLimited()
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
	known := w.conns.hold(w.clients.http, "")
	if err := known.get(); err != nil {
		t.Fatal(err)
	}
	for range crowd {
		w.conns.hold(w.clients.http, "GET / HTTP/1.1\r\nHost: a.t")
	}
	w.eventually("Envoy is full", func() error {
		if w.envoy.stat(`^listener\..*\.downstream_global_cx_overflow$`) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if err := known.get(); err != nil {
		t.Errorf("a client that was there before: %v", err)
	}
	if resp, err := http.Get("http://" + health + "/"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a full Envoy tells its balancer: %+v, %v", resp, err)
	}
	if n := w.envoy.descriptors(); n > fewDescriptors-fewConnections/2 {
		t.Errorf("Envoy has %d descriptors of %d: none are left for tasks", n, fewDescriptors)
	}
	w.clients.expect("http://a.test/", http.StatusOK, "/a")
}

// A crowd of devices takes all connections that Envoy may have, beside many TCP services: each of these takes a
// descriptor for each worker. Envoy would end if it had none for the connection to an instance.
func TestCrowdOfDevices(t *testing.T) {
	w := newWorld(t)
	server, address := w.tcp.lines("imp", nil), ""
	const services = 60
	for i := range services {
		var port string
		port, address = w.tcp.port()
		w.marathon.service(fmt.Sprintf("/imp%d", i), []string{server}, modeLabel, "tcp", portLabel, port)
	}
	w.relay.start()
	w.envoy.startLimited()
	known := w.tcp.greeted(address, "imp")
	for range crowd {
		w.conns.hold(address, "")
	}
	w.eventually("Envoy is full", func() error {
		if w.envoy.stat(`^listener\..*\.downstream_global_cx_overflow$`) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	known.says(t, "imp")
	if n := w.envoy.descriptors(); n >= fewDescriptors {
		t.Errorf("Envoy has %d descriptors, of %d", n, fewDescriptors)
	}
}

// The bootstrap is made for the descriptors that there are, and says so if they are so few that clients can use them up by
// HTTP/2.
func TestBootstrapForFewDescriptors(t *testing.T) {
	t.Parallel()
	for descriptors, connections := range map[int]int{fewDescriptors: fewConnections, 16384: 7616} {
		script := fmt.Sprintf("ulimit -n %d && exec %s bootstrap", descriptors, program.path(t))
		var warning bytes.Buffer
		cmd := exec.Command("sh", "-c", script)
		cmd.Stderr = &warning
		out, err := cmd.Output()
		if want := fmt.Sprintf("max_active_downstream_connections: %d\n", connections); err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%v, no %q in:\n%s", err, want, out)
		}
		if want := fmt.Sprintf("only %d clients", connections); !bytes.Contains(warning.Bytes(), []byte(want)) {
			t.Errorf("warned %q, want %q", &warning, want)
		}
	}
}

// heldConn is a connection to Envoy.
type heldConn struct {
	net.Conn
	r *bufio.Reader
}

// hold connects, says something and holds the connection until the test ends.
func (c *connections) hold(address, say string) heldConn {
	c.t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	// Envoy may have closed it already.
	_, _ = io.WriteString(conn, say)
	return heldConn{conn, bufio.NewReader(conn)}
}

// get asks a.test for a page.
func (c heldConn) get() error {
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d, %v", resp.StatusCode, err)
	}
	return err
}
