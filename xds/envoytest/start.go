package envoytest

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
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

// MoreAtOnce has so many times as many tests run at once as there are processors, unless the command line says
// how many. It is for packages whose tests wait most of the time, and is called before they run.
func MoreAtOnce(times int) {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		_ = flag.Set("test.parallel", strconv.Itoa(times*runtime.GOMAXPROCS(0)))
	}
}

// Ports that the system gives to nobody by itself, so that nothing else takes a
// port between FreePort and the listener it is for.
const firstPort, lastPort = 20000, 32000

var nextPort atomic.Uint32

// FreePort is ReservePort for the length of a test.
func FreePort(t testing.TB) uint16 {
	t.Helper()
	port, release, err := ReservePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return port
}

// ReservePort returns a TCP port of 127.0.0.1 that nothing listens on, for a listener whose
// address must be known before Envoy opens it. No other test gets it before release.
func ReservePort() (port uint16, release func(), err error) {
	for range lastPort - firstPort {
		// Test binaries that run at the same time start at different ports.
		offset := uint32(os.Getpid())*61 + nextPort.Add(1)
		port := firstPort + offset%(lastPort-firstPort)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
		// Two Envoys at one port would share its connections, without an error. So that no other test binary
		// takes it before Envoy does, the port of UDP is taken until release: all ask for that first.
		reserved, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			_ = reserved.Close()
			continue
		}
		_ = l.Close()
		return uint16(port), func() { _ = reserved.Close() }, nil
	}
	return 0, nil, errors.New("no free port between 20000 and 32000")
}
