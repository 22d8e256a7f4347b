package envoy_test

import (
	"crypto/tls"
	"errors"
	"io"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"relay/certs"
	"relay/internal/ratelimit"
	"relay/sources"
	"relay/xds/envoytest"
)

// pacedApp is a service whose connections wait for their turn.
func pacedApp(port uint16, instance string) *sources.App {
	return changed(serviceApp("/shop/db", sources.TCP{Port: port, AcceptRate: 10}), func(p *sources.Port) { p.Endpoints = endpoints(instance) })
}

// New connections wait for Relay, whoever speaks first, and go on when it says so, or are closed. If Relay
// does not answer, they go on. Another rate changes no listener.
func TestConnectionsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		t.Parallel()
		waitsForTurns(t, envoytest.Options{Version: version})
	})
	t.Run("older bootstrap", func(t *testing.T) {
		t.Parallel()
		waitsForTurns(t, envoytest.Options{OlderBootstrap: true})
	})
}

func waitsForTurns(t *testing.T, o envoytest.Options) {
	e := startEnvoyWith(t, o, withoutHTTPS)
	port, greets := envoytest.FreePort(t), e.greets()
	app := pacedApp(port, greets)
	e.sync(nil, app)
	e.opens(t, port)
	e.tcp.next(t).answer <- ratelimitv3.RateLimitResponse_OVER_LIMIT // what saw that it is open

	first, second := dial(t, port), dial(t, port)
	w := e.tcp.next(t)
	if w.domain != ratelimit.AcceptDomain || w.app != "/shop/db" || w.port != "0" || w.client != "127.0.0.1" || w.fleet != "external" {
		t.Errorf("asked with %+v", w)
	}
	w.answer <- ratelimitv3.RateLimitResponse_OK
	e.tcp.next(t).answer <- ratelimitv3.RateLimitResponse_OVER_LIMIT
	var got []string
	for _, conn := range []io.ReadWriteCloser{first, second} {
		_ = conn.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(patience))
		text, err := io.ReadAll(io.LimitReader(conn, 6))
		if err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		got = append(got, string(text))
	}
	if got[0]+got[1] != "hello\n" {
		t.Errorf("of two, of which one may go on: %q", got)
	}

	taken := e.listenersTaken(t)
	before := e.store.Revision()
	e.c.SyncApps([]*sources.App{changed(app, func(p *sources.Port) {
		tcp := *p.TCP
		tcp.AcceptRate, tcp.AddressRate = 20, 5
		p.TCP, p.Endpoints = &tcp, endpoints(greets, e.greets())
	})})
	e.until(t, "the change is published", func() bool { return e.store.Revision() > before })

	e.tcp.mu.Lock()
	e.tcp.refuse = 100
	e.tcp.mu.Unlock()
	if text, err := lineOf(dial(t, port), ""); text != "hello\n" {
		t.Errorf("without an answer of Relay: %q, %v", text, err)
	}
	if now := e.listenersTaken(t); now != taken {
		t.Errorf("listeners were sent %d times", now-taken)
	}
}

// Where Envoy ends the TLS, a device waits after its handshake. It reaches no server before it was let in, and
// no stranger does.
func TestDevicesWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	for _, version := range envoytest.AllVersions()[:4] {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			port, server, ca := envoytest.FreePort(t), e.deviceServer(), newDeviceCA(t, "devices", nil)
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, changed(deviceApp("/devices", port, acmeOnly, server, "dev.test"), func(p *sources.Port) {
				tcp := *p.TCP
				tcp.AcceptRate = 10
				p.TCP = &tcp
			}))
			e.opens(t, port)
			device := client{shown: []tls.Certificate{ca.device(t, nil, acme+"1")}, inside: "ping\n"}
			stranger := client{shown: []tls.Certificate{newDeviceCA(t, "devices", nil).device(t, nil, acme+"1")}, inside: "ping\n"}
			connected := make(chan error, 2)
			for _, c := range []client{device, stranger} {
				go func() {
					conn, err := e.connect(port, c)
					if err == nil {
						_ = conn.Close()
					}
					connected <- err
				}()
			}
			if err := <-connected; err == nil {
				t.Error("one is let in before its turn, or the stranger")
			}
			if n := server.accepted.Load(); n != 0 {
				t.Errorf("%d have reached the server", n)
			}
			for done := false; !done; {
				select {
				case w := <-e.tcp.asked:
					w.answer <- ratelimitv3.RateLimitResponse_OK
				case err := <-connected:
					if done = true; err != nil {
						t.Errorf("the device: %v", err)
					}
				}
			}
			if n := server.accepted.Load(); n != 1 {
				t.Errorf("%d have reached the server", n)
			}
		})
	}
}
