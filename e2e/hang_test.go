package e2e

import (
	"syscall"
	"testing"
	"time"
)

// A Relay that hangs, as that of a machine that is out of memory may, keeps no device out for longer than
// devices wait: then new connections go on without its answer.
func TestRelayThatHangs(t *testing.T) {
	const devicesWait = time.Minute
	w := newWorld(t)
	port, address := w.tcp.port()
	w.marathon.service("/imp", []string{w.tcp.lines("imp", nil)}, modeLabel, "tcp", portLabel, port, "RELAY_0_ACCEPT_RATE", "50/s")
	running := w.relay.startProcess()
	w.envoy.start()
	w.envoy.ready()
	_ = w.tcp.greeted(address, "imp").Close()
	if err := running.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	conn, err := w.tcp.dial(address, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(start.Add(devicesWait)); err != nil {
		t.Fatal(err)
	}
	if line, err := conn.in.ReadString('\n'); err != nil {
		t.Errorf("after %s: %q, %v", time.Since(start), line, err)
	}
	t.Logf("it waited for %s", time.Since(start))
}
