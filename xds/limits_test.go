package xds

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"relay/xds/xdstest"
)

func limited(t *testing.T, change func(*Limits)) *fixture {
	t.Helper()
	f := limitedFixture(t, change)
	f.store.Open()
	return f
}

func TestTooManyStreams(t *testing.T) {
	for name, change := range map[string]func(*Limits){
		"in all": func(l *Limits) { l.Streams = 1 }, "from one address": func(l *Limits) { l.StreamsPerAddress = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			f := limited(t, change)
			f.set(Cluster, "1", "a")
			first := f.connect()
			first.Subscribe(clusters)
			first.Ack(first.Expect(clusters, []string{"a"}))
			second := f.connect()
			second.Subscribe(clusters)
			if err := second.End(); status.Code(err) != codes.ResourceExhausted {
				t.Errorf("one too many: %v, want ResourceExhausted", err)
			}
			f.set(Cluster, "2", "a")
			first.Ack(first.Expect(clusters, []string{"a"}))
			first.Close()
			if err := first.End(); status.Code(err) != codes.Canceled {
				t.Errorf("%v, want Canceled", err)
			}
			for len(f.server.Streams()) > 0 {
				runtime.Gosched()
			}
			third := f.connect()
			third.Subscribe(clusters)
			third.Expect(clusters, []string{"a"})
		})
	}
}

func TestTooManyNames(t *testing.T) {
	f := limited(t, func(l *Limits) { l.Names = 3 })
	c := f.connect()
	c.Subscribe(secrets, "a", "b", "c")
	c.Ack(c.Expect(secrets, nil, "a", "b", "c"))
	c.Subscribe(secrets, "d")
	if err := c.End(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "3 are allowed") {
		t.Errorf("one too many: %v, want ResourceExhausted with the limit", err)
	}
}

func TestNoFirstRequest(t *testing.T) {
	f := limited(t, func(l *Limits) { l.FirstRequest = 50 * time.Millisecond })
	if err := f.connect().End(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a stream without a request: %v, want DeadlineExceeded", err)
	}
}

// Requests beyond the rate are handled later; answers are never held up.
func TestRequestRate(t *testing.T) {
	f := limited(t, func(l *Limits) { l.RequestsPerSecond, l.Burst = 20, 2 })
	c := f.connect()
	start := time.Now()
	for i := range 8 {
		name := fmt.Sprint("n", i)
		c.Subscribe(secrets, name)
		c.Ack(c.Expect(secrets, nil, name))
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("8 requests at 20 a second, 2 ahead, took %s", took)
	}
}

// An Envoy that reads nothing loses its connection; the others never wait.
func TestStalledEnvoy(t *testing.T) {
	f := limited(t, func(l *Limits) { l.Stall = silence }) // the other one answers within that
	f.store.ClustersOnDemand = true                        // nothing waits for clusters
	big := strings.Repeat("x", 1<<20)
	for i := range 8 {
		f.set(Cluster, big, fmt.Sprint("c", i))
	}
	stalled := xdstest.Stalled(t, f.address, "edge")
	stalled.Subscribe(clusters)
	c := f.connect()
	c.Subscribe(listeners)
	c.Ack(c.Expect(listeners, nil))
	f.set(Listener, "1", "l")
	c.Ack(c.Expect(listeners, []string{"l"}))
	deadline := time.Now().Add(time.Minute)
	for len(f.server.Streams()) > 1 {
		if time.Now().After(deadline) {
			t.Fatal("the stalled stream stays")
		}
		time.Sleep(5 * time.Millisecond)
	}
	f.set(Listener, "2", "l")
	c.Ack(c.Expect(listeners, []string{"l"}))
}

// Garbage ends the stream with a status that says why.
func TestGarbage(t *testing.T) {
	f := limited(t, func(*Limits) {})
	err := xdstest.SendRaw(t, f.address, []byte{0xff, 0xff, 0xff})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "malformed request") {
		t.Errorf("garbage: %v, want InvalidArgument", err)
	}
}
