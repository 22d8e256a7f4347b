package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	// As another user it would live on when the tests are killed: the kernel ends only what has not
	// changed its user.
	if err := os.WriteFile(config, []byte("listener "+port+" "+host+"\nallow_anonymous true\nuser root\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	broker = startTalker(t, "mosquitto", exec.Command(path, "-v", "-c", config))
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
	address := w.serviceAt("/mqtt", to, "RELAY_0_IDLE_TIMEOUT", "12s")
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
		if pings < 3 || again < 2 { // three pings are more than the idle timeout
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

// A device by MQTT over mutual TLS, which Envoy ends, without a server name as devices often are, keeps
// its connection through the renewal of the service's certificate and another authority's. One without
// a certificate never reaches the broker.
func TestMQTTByTLS(t *testing.T) {
	w := newWorld(t)
	store := directoryStore(w)
	authority := deviceAuthority(t, "Devices")
	store.put(authority.PEM(), nil)
	w.start()
	broker, to := startBroker(t)
	address := w.serviceAt("/mqtt", to, "HAPROXY_0_VHOST", devicesDomain, terminateLabel, "true", clientCALabel, "devices", "RELAY_0_IDLE_TIMEOUT", "30s")
	dir := t.TempDir()
	issued := deviceCertificate(t, authority, 0)
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	host, port, _ := net.SplitHostPort(address)
	// --insecure leaves out only that the name in the certificate is compared with the address.
	secure := []string{"-h", host, "-p", port, "--cafile", file("ca.pem", w.certs.ca.RootPEM()), "--insecure", "-q", "1", "-t", "orders/d"}
	own := append(secure, "--cert", file("device.pem", issued.Leaf), "--key", file("device.key", issued.Key))
	subscriber := mosquitto(t, "mosquitto_sub")
	d := startTalker(t, "device", exec.Command(subscriber, append(own, "-i", "d", "-k", "5")...))
	stranger := startTalker(t, "stranger", exec.Command(subscriber, append(secure, "-i", "stranger")...))
	w.eventually("the device subscribes", func() error {
		if broker.count("Sending SUBACK to d") == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	w.certs.issue(devicesDomain)
	w.certs.write("others.ca.pem", deviceAuthority(t, "Others").PEM())
	w.admin.hook("usr1")
	w.admin.settled()
	if out, err := exec.Command(mosquitto(t, "mosquitto_pub"), append(own, "-m", "order")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d.await("order")
	stranger.await("Error")
	if n := broker.count("Sending SUBACK to d"); n != 1 {
		t.Errorf("the device connected %d times", n)
	}
	if n := broker.count("as stranger"); n != 0 {
		t.Errorf("the stranger reached the broker %d times", n)
	}
}
