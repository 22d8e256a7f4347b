package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"relay/certs/certstest"
)

// Connections that wait for an instance come by TLS, with certificates, behind a proxy, and go on at a rate, all at once. Who
// shows no certificate, or is no client of the proxy, has no place among them.
func TestHeldWithAllOtherLabels(t *testing.T) {
	const clients, rate = 8, 4
	w := newWorld(t)
	devices := deviceAuthority(t, "devices")
	directoryStore(w).put(devices.PEM(), nil)
	w.start()
	port, address := w.tcp.port()
	update := func(tasks ...string) {
		w.marathon.service("/db", tasks, modeLabel, "tcp", portLabel, port, "HAPROXY_0_VHOST", devicesDomain, terminateLabel, "true", clientCALabel, "devices",
			"RELAY_0_TLS_ALPN", "postgresql", holdLabel, "2m", "RELAY_0_ACCEPT_RATE", fmt.Sprint(rate, "/s"), addressRateLabel, "50/s", "HAPROXY_0_BIND_OPTIONS", "accept-proxy")
	}
	update()
	w.opens(address)
	connect := func(from string, device *certstest.Issued) (lineConn, error) {
		plain, err := w.tcp.dial(address, nil, from)
		if err != nil {
			return plain, err
		}
		config := w.certs.ca.ClientTLS()
		config.ServerName, config.NextProtos = devicesDomain, []string{"postgresql"}
		if device != nil {
			own, err := tls.X509KeyPair(device.Leaf, device.Key)
			if err != nil {
				t.Fatal(err)
			}
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
		}
		secure := tls.Client(plain, config)
		_ = secure.SetDeadline(time.Now().Add(patience))
		_, err = io.WriteString(secure, "hello\n")
		return lineConn{secure, bufio.NewReader(secure)}, err
	}
	header := func(i int) string { return fmt.Sprintf("PROXY TCP4 10.1.0.%d 10.0.0.1 1 2\r\n", i) }
	good := deviceCertificate(t, devices, 0)
	var waiting []lineConn
	for i := range clients {
		conn, err := connect(header(i), good)
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, conn)
	}
	w.connectionsWait(w.admin, "relay_hold_waiting", clients)
	for what, stranger := range map[string]func() (lineConn, error){
		"no certificate": func() (lineConn, error) { return connect(header(100), nil) },
		"another authority": func() (lineConn, error) {
			return connect(header(101), deviceCertificate(t, deviceAuthority(t, "devices"), 0))
		},
		"no header of PROXY":  func() (lineConn, error) { return connect("", good) },
		"no TLS after it all": func() (lineConn, error) { return w.tcp.dial(address, nil, header(102)+"hello\n") },
	} {
		if conn, err := stranger(); err == nil {
			if got, err := conn.line(); err == nil && len(got) > 2 { // an alert of TLS is no line
				t.Errorf("%s: %q", what, got)
			}
		}
	}
	w.eventually("no stranger waits", func() error {
		if n, _ := w.admin.metric("relay_hold_waiting"); n != clients {
			return fmt.Errorf("%g wait", n)
		}
		return nil
	})
	reset := waiting[0].Conn.(*tls.Conn).NetConn().(lineConn).Conn
	_ = reset.(*net.TCPConn).SetLinger(0)
	_ = reset.Close()
	w.eventually("who resets has no place", func() error {
		if n, _ := w.admin.metric("relay_hold_waiting"); n != clients-1 {
			return fmt.Errorf("%g wait", n)
		}
		return nil
	})
	began := time.Now()
	update(w.tcp.lines("a", nil))
	for _, conn := range waiting[1:] {
		for _, want := range []string{"this is a", "a hello"} {
			if got, err := conn.line(); got != want {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		}
	}
	// The first goes on at once, and the second may.
	if took, least := time.Since(began), time.Duration(clients-1-2)*time.Second/rate; took < least {
		t.Errorf("all went on within %s, want %s at least", took, least)
	}
	w.envoy.nothingRejected()
}
