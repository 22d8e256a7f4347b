package envoy_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"relay/certs"
	"relay/sources"
	"relay/xds/envoytest"
)

// Clients that begin a handshake and never end it are disconnected. None of them reaches the server.
func TestHandshakesThatNeverEnd(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
	e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, acmeOnly, server, "dev.test"))
	good := as(ca.device(t, nil, acme+"1"))
	open := e.letsIn(t, port, good)
	hello := clientHello(t, "dev.test")
	var wg sync.WaitGroup
	for name, sent := range map[string]string{"one byte": hello[:1], "half a message": hello[:len(hello)/2], "one message": hello} {
		conn := dial(t, port)
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			// It is a half minute.
			_ = conn.SetDeadline(time.Now().Add(30*time.Second + patience))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: still connected", name)
			}
		})
	}
	wg.Wait()
	if err := open.alive(); err != nil {
		t.Errorf("one that is open: %v", err)
	}
	if n := server.accepted.Load(); n != 1 {
		t.Errorf("the server saw %d connections", n)
	}
}

// The kernel asks clients that say nothing whether they are still there: a device that lost its power does
// not say goodbye.
func TestLostClientsAreNoticed(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		if version == envoytest.Oldest {
			version = "1.37"
		}
		t.Parallel()
		e := startVersion(t, version, withoutHTTPS)
		port, server := envoytest.FreePort(t), e.deviceServer()
		e.sync(nil, deviceApp("/devices", port, sources.ServiceTLS{}, server, "dev.test"))
		conn := e.letsIn(t, port, client{})
		_, from, _ := net.SplitHostPort(conn.LocalAddr().String())
		remote, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		e.until(t, "a timer runs for the connection", func() bool {
			left, ok := keepAliveTimer(t, port, uint16(remote))
			return ok && left > 4*time.Minute && left <= 5*time.Minute
		})
	})
}

// keepAliveTimer returns when the kernel asks the other end of a connection whether it is still there.
// See https://docs.kernel.org/networking/proc_net_tcp.html
func keepAliveTimer(t *testing.T, local, remote uint16) (left time.Duration, ok bool) {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", local)) || !strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", remote)) {
			continue
		}
		kind, jiffies, _ := strings.Cut(fields[5], ":")
		n, err := strconv.ParseInt(jiffies, 16, 64)
		return time.Duration(n) * 10 * time.Millisecond, err == nil && kind == "02"
	}
	return 0, false
}

// A service that sleeps holds a device from the handshake on until there is an instance. One that is not let
// in wakes nobody, and reaches nothing.
func TestDevicesWaitForServices(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[:4] {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, scaling, withoutHTTPS)
			port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
			awake := changed(deviceApp("/devices", port, acmeOnly, server, "dev.test"), func(p *sources.Port) { p.Wake = sources.WakeAny })
			asleep := changed(awake, func(p *sources.Port) { p.Endpoints = nil })
			asleep.Gated = true
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, awake)
			connected := make(chan error, 1)
			shown := ca.device(t, nil, acme+"1")
			_ = e.letsIn(t, port, client{shown: []tls.Certificate{shown}, inside: "ping\n"})
			e.apply(t, asleep)
			go func() {
				conn, err := e.connect(port, client{shown: []tls.Certificate{shown}, inside: "ping\n"})
				if err == nil {
					_, err = conn.lines.ReadString('\n')
				}
				connected <- err
			}()
			waiting := e.tcp.next(t)
			awake.Gated = true
			e.apply(t, awake)
			waiting.answer <- ratelimitv3.RateLimitResponse_OK
			if err := <-connected; err != nil {
				t.Error(err)
			}
			if conn, err := e.connect(port, client{shown: []tls.Certificate{newDeviceCA(t, "devices", nil).device(t, nil, acme+"1")}}); err == nil {
				t.Errorf("a stranger is let in: %q", conn.told)
			}
			if n := server.accepted.Load(); n != 2 {
				t.Errorf("the server saw %d connections", n)
			}
		})
	}
}
