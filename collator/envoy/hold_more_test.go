package envoy_test

import (
	"crypto/tls"
	"errors"
	"testing"
	"time"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"relay/internal/ratelimit"
	"relay/sources"
	"relay/xds/envoytest"
)

// TLS that is passed through waits for an instance too, and the https listener stays as it is.
func TestPassedConnectionsAreHeld(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t)
	e.certificates("other.test")
	service := func(tasks ...string) *sources.App {
		return changed(serviceApp("/shop/db", sources.TCP{Passthrough: true, Hold: time.Minute}, "db.test"), func(p *sources.Port) {
			p.Endpoints = endpoints(tasks...)
		})
	}
	instance, handshake := e.withoutTLS(t)
	var noTLS tls.RecordHeaderError
	e.put(t, service(instance))
	e.opens(t, e.fleet.HTTPS.Port())
	e.until(t, "TLS is passed through", func() bool { return errors.As(handshake(), &noTLS) })
	taken := e.listenersTaken(t)
	e.put(t, service())
	done := make(chan error, 1)
	go func() { done <- handshake() }()
	w := e.tcp.next(t)
	e.put(t, service(instance))
	if len(done) > 0 {
		t.Error("it does not wait")
	}
	w.answer <- ratelimitv3.RateLimitResponse_OK
	if err := <-done; !errors.As(err, &noTLS) {
		t.Errorf("it is not passed through: %v", err)
	}
	if now := e.listenersTaken(t); now != taken {
		t.Errorf("listeners were sent %d times", now-taken)
	}
}

// A service that sleeps is woken by what waits, though its connections would be held too.
func TestHeldServiceSleeps(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, scaling, withoutHTTPS)
	port, greets := envoytest.FreePort(t), e.greets()
	service := func(gated bool, tasks ...string) *sources.App {
		app := changed(heldApp(port, time.Minute, tasks...), func(p *sources.Port) { p.Wake = sources.WakeAny })
		app.Gated = gated
		return app
	}
	e.put(t, service(false, greets))
	e.opened(t, port)
	e.put(t, service(true))
	conn := dial(t, port)
	asked := e.tcp.next(t)
	if asked.domain != ratelimit.WakeDomain {
		t.Errorf("asked first for %s", asked.domain)
	}
	asked.answer <- ratelimitv3.RateLimitResponse_OK
	if asked = e.tcp.next(t); asked.domain != ratelimit.HoldDomain {
		t.Errorf("asked then for %s", asked.domain)
	}
	e.put(t, service(false, greets))
	asked.answer <- ratelimitv3.RateLimitResponse_OK
	if got, err := lineOf(conn, ""); got != "hello\n" {
		t.Errorf("%q, %v", got, err)
	}
}
