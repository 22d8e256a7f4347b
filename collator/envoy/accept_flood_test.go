package envoy_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"relay/certs"
	"relay/internal/ratelimit"
	"relay/sources"
	"relay/xds/envoytest"
)

// floodSize is how many connections of each kind there are.
const floodSize = 500

// Clients that open more than they may reach no server, though Envoy has begun the handshake with them. The log has
// what of Envoy's CPU each costs.
func TestFloodReachesNoServer(t *testing.T) {
	t.Parallel()
	e := startVersion(t, envoytest.Newest, withoutHTTPS)
	port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
	e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, changed(deviceApp("/devices", port, acmeOnly, server, "dev.test"), func(p *sources.Port) {
		tcp := *p.TCP
		tcp.AddressRate = 1
		p.TCP = &tcp
	}))
	e.opens(t, port)
	config := &tls.Config{InsecureSkipVerify: true, ServerName: "dev.test", Certificates: []tls.Certificate{ca.device(t, nil, acme+"1")}}
	for _, kind := range []struct {
		name   string
		answer ratelimitv3.RateLimitResponse_Code
		tls    bool
		want   int64
	}{
		{"no handshake", ratelimitv3.RateLimitResponse_OVER_LIMIT, false, 0},
		{"too many", ratelimitv3.RateLimitResponse_OVER_LIMIT, true, 0},
		{"let in", ratelimitv3.RateLimitResponse_OK, true, floodSize},
	} {
		stop := e.tcp.answering(kind.answer)
		before := cpuOf(t, e.envoy.Pid())
		for range floodSize {
			if err := talks(port, kind.tls, config); kind.tls && (err == nil) != (kind.want > 0) {
				t.Fatalf("%s: %v", kind.name, err)
			}
		}
		t.Logf("%s: %d µs of CPU each", kind.name, (cpuOf(t, e.envoy.Pid())-before)*1000/floodSize)
		stop()
		if n := server.accepted.Load(); n != kind.want {
			t.Errorf("%s: %d have reached the server", kind.name, n)
		}
	}
}

// talks opens a connection, and uses it once.
func talks(port uint16, secure bool, config *tls.Config) error {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if secure {
		conn = tls.Client(conn, config)
	}
	if _, err := io.WriteString(conn, "ping\n"); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// answering answers all questions the same way until stop is called.
func (w *tcpWaker) answering(code ratelimitv3.RateLimitResponse_Code) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case conn := <-w.asked:
				if conn.domain == ratelimit.AcceptDomain {
					conn.answer <- code
				}
			case <-done:
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// cpuOf is how much CPU a process has had, in ms.
func cpuOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	var user, system int
	if fields := strings.Fields(rest); len(fields) > 12 {
		_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	}
	const tick = 10 // ms
	return (user + system) * tick
}
