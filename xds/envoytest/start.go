package envoytest

import (
	"context"
	"net"
	"testing"
	"time"
)

// Start runs an Envoy for the length of a test. When the test fails, Envoy's
// log is shown.
func Start(t testing.TB, o Options) *Envoy {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	e, err := Launch(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Kill()
		if t.Failed() {
			t.Logf("Envoy's log:\n%s", e.Log())
		}
	})
	return e
}

// FreePort returns a TCP port of 127.0.0.1 that nothing listens on, for a
// listener whose address must be known before Envoy opens it.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
