package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"testing"
)

// mosquitto returns the path of a program of Debian's packages mosquitto and mosquitto-clients.
func mosquitto(t *testing.T, program string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, program+" is not there: install Debian's packages mosquitto and mosquitto-clients")
	return ""
}

// startBroker starts an MQTT broker, which says what it does.
func startBroker(t *testing.T) (broker *talker, address string) {
	t.Helper()
	path := mosquitto(t, "mosquitto")
	host, port, _ := net.SplitHostPort(freeAddress(t))
	broker = startTalker(t, "mosquitto", exec.Command(path, "-v", "-p", port)) // on loopback, as it has no configuration
	address = net.JoinHostPort(host, port)
	eventually(t, "the broker listens", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return broker, address
}

// mqttDevice is a client that stays connected and says what is published. Its keep-alive is 5 s, the
// least that mosquitto_sub takes.
func mqttDevice(t *testing.T, address, id string) *talker {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	return startTalker(t, "device "+id, exec.Command(mosquitto(t, "mosquitto_sub"), "-h", host, "-p", port, "-i", id, "-k", "5", "-q", "1", "-t", "orders/"+id))
}

// published sends a message to the broker by Envoy, and waits until the device has it.
func (p *talker) published(address, id, text string) error {
	host, port, _ := net.SplitHostPort(address)
	out, err := exec.Command(mosquitto(p.t, "mosquitto_pub"), "-h", host, "-p", port, "-q", "1", "-t", "orders/"+id, "-m", text).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return p.told("", text)
}

// A device stays connected to its broker as long as its keep-alive is below the idle timeout, though
// nothing else is said, and messages reach it. Without one it is closed, and comes again.
func TestMQTT(t *testing.T) {
	w := newWorld(t)
	w.start()
	broker, to := startBroker(t)
	address := w.serviceAt("/mqtt", to, "RELAY_0_IDLE_TIMEOUT", "8s")
	short := w.serviceAt("/short", to, "RELAY_0_IDLE_TIMEOUT", "1s")
	long := mqttDevice(t, address, "long")
	mqttDevice(t, short, "brief")
	eventually(t, "they subscribe", func() error {
		if long, brief := broker.count("Sending SUBACK to long"), broker.count("Sending SUBACK to brief"); long == 0 || brief == 0 {
			return fmt.Errorf("%d and %d times", long, brief)
		}
		return nil
	})
	for i := range 3 {
		if err := long.published(address, "long", fmt.Sprint("order ", i)); err != nil {
			t.Fatal(err)
		}
	}
	w.eventually("pings are answered, and the other device comes again", func() error {
		pings, again := broker.count("Sending PINGRESP to long"), broker.count("Sending SUBACK to brief")
		if pings < 2 || again < 2 { // two pings are more than the idle timeout
			return fmt.Errorf("%d pings, and it came %d times", pings, again)
		}
		return nil
	})
	if n := broker.count("Sending SUBACK to long"); n != 1 {
		t.Errorf("the device with pings connected %d times", n)
	}
}

// serviceAt makes a TCP service of an address, and waits until Envoy listens for it.
func (w *world) serviceAt(id, to string, labels ...string) (address string) {
	w.t.Helper()
	port, address := w.tcp.port()
	w.marathon.service(id, []string{to}, append([]string{modeLabel, "tcp", portLabel, port}, labels...)...)
	w.eventually("Envoy listens", func() error {
		conn, err := w.tcp.dial(address, nil, "")
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return address
}
