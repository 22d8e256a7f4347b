package envoy_test

import (
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"relay/sources"
	"relay/xds/envoytest"
)

// Requests that wait while Relay is restarted wait on at the next one.
func TestRelayIsRestartedWhileRequestsWait(t *testing.T) {
	t.Parallel()
	e := startScaling(t, envoytest.Newest)
	release := e.waker.hold()
	e.c.SyncApps([]*sources.App{gated(webApp("/web", "web.test"), counted(t)...)})
	e.eventually(t, request{host: "other.test", path: "/"}, status(404))
	ctx, cancel := contextOf(t)
	defer cancel()
	const n = 20
	var answers []<-chan string
	for range n {
		answers = append(answers, e.post(ctx, "web.test", make([]byte, 2<<20)))
	}
	e.waker.await(t, n)
	comeBack := e.link.leave()
	e.until(t, "the end of the waits at the old one", func() bool { return e.waker.waiting.Load() == 0 })
	comeBack()
	e.waker.await(t, 2*n)
	release()
	for _, answer := range answers {
		if got := <-answer; !strings.HasPrefix(got, "200 POST web.test of 2097152 bytes") {
			t.Errorf("a request that waited: %s", got)
		}
	}
}

// A Relay that does not serve the Envoy says so, and Envoy asks the other one at once.
func TestEnvoyAsksTheRelayThatServesIt(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := newWaker()
	other.refuse = math.MaxInt
	s := grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, other)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	e := startEnvoyWith(t, envoytest.Options{XDS: []string{l.Addr().String()}}, scaling)
	e.certificates("x.test")
	e.c.SyncApps([]*sources.App{gated(webApp("/web", "web.test"), counted(t)...)})
	e.eventually(t, request{host: "other.test", path: "/"}, status(404))
	ctx, cancel := contextOf(t)
	defer cancel()
	const n = 100
	var answers []<-chan string
	for range n {
		answers = append(answers, e.post(ctx, "web.test", nil))
	}
	for _, answer := range answers {
		if got := <-answer; !strings.HasPrefix(got, "200") {
			t.Errorf("a request: %s", got)
		}
	}
	// Without a preference, half of those that are tried again would come again.
	if asked, served := len(other.asked()), len(e.waker.asked()); asked == 0 || asked > n || served != n {
		t.Errorf("%d requests: one Relay was asked %d times, the other %d times", n, asked, served)
	}
}

// An app that was about to fall asleep when Envoy lost its Relay runs still, and answers.
func TestRunningAppWithoutRelay(t *testing.T) {
	t.Parallel()
	e := startScaling(t, envoytest.Newest)
	e.c.SyncApps([]*sources.App{gated(webApp("/web", "web.test"), counted(t)...)})
	e.eventually(t, request{host: "web.test", path: "/"}, status(200))
	e.link.leave()
	// Envoy asks for about a minute before it gives up.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if got := <-e.post(ctx, "web.test", nil); !strings.HasPrefix(got, "200 ") {
		t.Errorf("without a Relay: %s", got)
	}
}
