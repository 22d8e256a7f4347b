package xds

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"relay/certs/certstest"
	"relay/xds/xdstest"
)

// counted are credentials in plain text that count what the client sends.
type counted struct {
	credentials.TransportCredentials
	sent *atomic.Int64
}

type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c counted) ClientHandshake(_ context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return countedConn{raw, c.sent}, nil, nil
}

func (c counted) Clone() credentials.TransportCredentials { return c }

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// longVersions returns n resources with long names, and their versions.
func longVersions(t *testing.T, n int) (names []string, versions map[string]string) {
	t.Helper()
	versions = make(map[string]string)
	for i := range n {
		name := fmt.Sprintf("%s-%d", strings.Repeat("long", 50), i)
		names = append(names, name)
		versions[name] = testResource(t, Cluster, name, "1").Version
	}
	return names, versions
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come about", what)
		}
	}
}

// handled returns the reservation of a request that the server handles, until it is released.
func handled(t *testing.T, b *budget, size int) *reservation {
	t.Helper()
	r := &reservation{host: "h", size: size, granted: make(chan struct{}), stalled: func() bool { return false }}
	if err := b.reserve(r); err != nil {
		t.Fatal(err)
	}
	b.receive(r, r.size)
	b.setDelivered(r)
	return r
}

// When many Envoys come with all that they have, requests stay at the Envoys until there is memory
// for them, and nothing is kept of requests that were handled.
func TestManyEnvoys(t *testing.T) {
	f := serve(t)
	const streams, ahead = 40, streamWindow + smallRequest
	names, versions := longVersions(t, 5000)
	f.set(Cluster, "1", names...)
	versions[names[0]] = "old"
	size := 0
	for name, version := range versions {
		size += len(name) + len(version)
	}
	if streams*size < 3*maxPromptBytes {
		t.Fatalf("%d requests of %d bytes are too few", streams, size)
	}
	// The server is busy, with a request that came before: as long as it is, none of the others is too slow.
	for range cap(f.server.workSlots) {
		f.server.workSlots <- struct{}{}
	}
	b := f.server.budget
	before := handled(t, b, 1)
	var sent atomic.Int64
	var envoys []*xdstest.Client
	var asking sync.WaitGroup
	for range streams {
		c := xdstest.ConnectBy(t, counted{insecure.NewCredentials(), &sent}, f.address, "edge", "one of many")
		envoys = append(envoys, c)
		asking.Go(func() { c.Resume(clusters, versions) })
	}
	state := func() (waiting, complete int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.promptBytes > maxPromptBytes || b.slowBytes > 0 {
			t.Errorf("%d bytes, and %d of slow ones, are read", b.promptBytes, b.slowBytes)
		}
		for r := range b.prompt {
			if r.complete() && r != before {
				complete++
			}
		}
		return b.waiting.Len(), complete
	}
	eventually(t, "all reading what there is memory for, or waiting", func() bool {
		waiting, complete := state()
		return waiting+complete == streams && complete > 0
	})
	if most := int64(maxPromptBytes + streams*ahead); sent.Load() > most {
		t.Errorf("%d bytes were sent while the server is busy, want %d at most", sent.Load(), most)
	}
	for range cap(f.server.workSlots) {
		<-f.server.workSlots
	}
	b.release(before)
	asking.Wait()
	for _, c := range envoys {
		c.Ack(c.Expect(clusters, names[:1]))
	}
	if waiting, complete := state(); waiting+complete > 0 || b.promptBytes > 0 {
		t.Errorf("%d wait, %d bytes are granted, after all was handled", waiting, b.promptBytes)
	}
}

// Clients that announce large requests and then send little, or nothing, do not keep others from
// being let in.
func TestSlowLargeRequests(t *testing.T) {
	t.Parallel()
	s := secure(t, func(l *Limits) { l.FirstRequest = 2 * time.Minute }) // none has to leave before
	names, versions := longVersions(t, 1000)
	s.set(Secret, "1", names...)
	for name := range versions {
		versions[name] = "old"
	}
	ctx, cancel := context.WithCancel(t.Context())
	var drips sync.WaitGroup
	defer drips.Wait()
	defer cancel()
	const slow = 20
	for range slow {
		conn, h := s.dial(t)
		_ = conn.SetDeadline(time.Time{})
		h.open(1)
		head := binary.BigEndian.AppendUint32([]byte{0}, maxPromptBytes)
		_ = h.WriteData(1, false, append(head, make([]byte, 10<<10)...))
		_ = h.flush()
		drips.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					_ = h.WriteData(1, false, []byte{0})
					_ = h.flush()
				}
			}
		})
	}
	b := s.server.budget
	announced := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.waiting.Len() + len(b.prompt) + len(b.slow)
	}
	eventually(t, "all announcing a large request", func() bool { return announced() == slow })
	c := xdstest.ConnectBy(t, credentials.NewTLS(s.client(t, s.ca, certstest.Options{}, "good.test")), s.address, "edge", "good")
	c.Resume(secrets, versions, names...)
	c.Ack(c.Expect(secrets, names))
	if n := announced(); n != slow {
		t.Errorf("one that means well was let in when %d of %d were left", n, slow)
	}
}

// An Envoy that waits for memory is neither silent nor idle.
func TestWaitingIsNotSilence(t *testing.T) {
	f := limited(t, func(l *Limits) { l.Handshake, l.FirstRequest = silence, silence })
	names, versions := longVersions(t, 200)
	f.set(Cluster, "1", names...)
	versions[names[0]] = "old"
	other := f.connect()
	other.Subscribe(listeners)
	other.Ack(other.Expect(listeners, nil))
	b := f.server.budget
	all := handled(t, b, maxPromptBytes)
	c := f.connect()
	c.Resume(clusters, versions)
	eventually(t, "the request waiting", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.waiting.Len() == 1
	})
	// A connection without a stream is closed after as long as one may be so.
	silent, err := net.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	_ = newRawHTTP2(silent).flush()
	if err := drain(silent); err != nil {
		t.Fatal(err)
	}
	b.release(all)
	c.Ack(c.Expect(clusters, names[:1]))
}

// The time that a first request waits for others does not count.
func TestFirstRequestWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		waiting := func() time.Duration { return min(time.Since(start), time.Minute) }
		err := firstRequest(t.Context(), time.Second, waiting, func() error {
			time.Sleep(2 * time.Minute)
			return nil
		})
		if took := time.Since(start); status.Code(err) != codes.DeadlineExceeded || took != time.Minute+time.Second {
			t.Errorf("%v after %s, want DeadlineExceeded a second after a minute of waiting", err, took)
		}
		synctest.Wait()
		time.Sleep(2 * time.Minute)
	})
}

// Nothing is kept of a request that was handled.
func TestRequestsAreNotKept(t *testing.T) {
	f := serveAlone(t)
	names, versions := longVersions(t, 5000)
	f.set(Cluster, "1", names...)
	versions[names[0]] = "old"
	const streams = 20
	heap := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for range streams {
		c := f.connect()
		c.Resume(clusters, versions)
		c.Ack(c.Expect(clusters, names[:1]))
	}
	size := len(names) * len(names[0])
	if kept := heap() - before; kept > streams*size/3 {
		t.Errorf("%d bytes are kept of %d streams with requests of %d bytes", kept, streams, size)
	}
}

// What the lists of a request take is bounded, however short the names are.
func TestRequestOfEmptyNames(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{"\x1a\x00", "\x22\x00", "\x2a\x00"} {
		var r request
		if err := r.unmarshal([]byte(strings.Repeat(entry, maxEntries+1))); err != errEntries {
			t.Errorf("%q: %v, want %v", entry, err, errEntries)
		}
	}
}
