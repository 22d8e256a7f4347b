package xds

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"relay/certs/certstest"
	"relay/internal/guard"
)

// rawHTTP2 is an HTTP/2 client that sends what a test says, allowed or not.
type rawHTTP2 struct {
	*http2.Framer
	out    *bufio.Writer
	header bytes.Buffer
	hpack  *hpack.Encoder
}

// newRawHTTP2 begins HTTP/2 on a connection.
func newRawHTTP2(conn net.Conn) *rawHTTP2 {
	h := &rawHTTP2{out: bufio.NewWriter(conn)}
	h.Framer = http2.NewFramer(h.out, conn)
	h.hpack = hpack.NewEncoder(&h.header)
	_, _ = h.out.WriteString(http2.ClientPreface)
	_ = h.WriteSettings()
	return h
}

func (h *rawHTTP2) flush() error { return h.out.Flush() }

// headers encodes those of a stream, and the ones given.
func (h *rawHTTP2) headers(more ...hpack.HeaderField) []byte {
	h.header.Reset()
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "relay.test"},
		{Name: ":path", Value: discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"},
	}, more...) {
		_ = h.hpack.WriteField(f)
	}
	return h.header.Bytes()
}

// open opens a stream.
func (h *rawHTTP2) open(id uint32) {
	_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: h.headers(), EndHeaders: true})
}

// next returns the next frame of which want is content.
func (h *rawHTTP2) next(t *testing.T, want func(http2.Frame) bool) http2.Frame {
	t.Helper()
	for {
		f, err := h.ReadFrame()
		if err != nil {
			t.Fatalf("the frame does not come: %v", err)
		}
		if want(f) {
			return f
		}
	}
}

// dial connects as a client that means no good, and was given a certificate.
func (s *secured) dial(t *testing.T) (net.Conn, *rawHTTP2) {
	t.Helper()
	conn, err := tls.Dial("tcp", s.address, s.client(t, s.ca, certstest.Options{}, "good.test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn, newRawHTTP2(conn)
}

// An Envoy needs one stream on its connection.
func TestStreamsOfConnection(t *testing.T) {
	t.Parallel()
	s := secure(t, func(l *Limits) { l.ConnectionStreams = 2 })
	_, h := s.dial(t)
	for id := uint32(1); id <= 5; id += 2 {
		h.open(id)
	}
	_ = h.flush()
	settings := h.next(t, func(f http2.Frame) bool { return f.Header().Type == http2.FrameSettings }).(*http2.SettingsFrame)
	if n, _ := settings.Value(http2.SettingMaxConcurrentStreams); n != 2 {
		t.Errorf("%d streams are allowed, want 2", n)
	}
	reset := h.next(t, func(f http2.Frame) bool { return f.Header().Type == http2.FrameRSTStream }).(*http2.RSTStreamFrame)
	if reset.StreamID != 5 || reset.ErrCode != http2.ErrCodeRefusedStream {
		t.Errorf("stream %d was reset with %s, want 5 refused", reset.StreamID, reset.ErrCode)
	}
}

// Large headers cost their stream, endless ones the connection.
func TestHeaderLimit(t *testing.T) {
	t.Parallel()
	s := secure(t, func(*Limits) {})
	_, h := s.dial(t)
	value := strings.Repeat("~", 6<<10)
	large := h.headers(hpack.HeaderField{Name: "x", Value: value}, hpack.HeaderField{Name: "y", Value: value}, hpack.HeaderField{Name: "z", Value: value})
	_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: large[:8<<10]})
	_ = h.WriteContinuation(1, true, large[8<<10:])
	_ = h.flush()
	reset := h.next(t, func(f http2.Frame) bool { return f.Header().Type == http2.FrameRSTStream }).(*http2.RSTStreamFrame)
	if reset.StreamID != 1 || reset.ErrCode != http2.ErrCodeFrameSize {
		t.Errorf("stream %d was reset with %s, want 1 for its size", reset.StreamID, reset.ErrCode)
	}
	s.while(func() {
		conn, h := s.dial(t)
		_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h.headers()})
		ended := make(chan error, 1)
		go func() { ended <- drain(conn) }()
		// Field lines without an end, 100 MB at most.
		line := bytes.Repeat([]byte{0x00, 0x01, 'x', 0x01, 'y'}, 3000)
		for range 7000 {
			if h.WriteContinuation(1, false, line) != nil || h.flush() != nil {
				break
			}
		}
		if h.flush() == nil {
			t.Error("endless headers are read")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Streams that are opened and reset as fast as can be (CVE-2023-44487) never
// run in numbers.
func TestRapidReset(t *testing.T) { // not parallel: it counts goroutines
	s := secure(t, func(*Limits) {})
	before := runtime.NumGoroutine()
	var most atomic.Int64
	stop := make(chan struct{})
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
			}
		}
	}()
	s.while(func() {
		conn, h := s.dial(t)
		go func() { _ = drain(conn) }()
		for id := uint32(1); id < 40_000; id += 2 {
			h.open(id)
			_ = h.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		_ = h.flush()
		_ = conn.Close()
	})
	close(stop)
	<-counted
	// A stream has two or three.
	if n := int(most.Load()) - before; n > 60 {
		t.Errorf("there were %d goroutines more", n)
	}
}

// Connections that say nothing are bounded: the oldest is closed.
func TestIdleConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s := secure(t, func(l *Limits) { l.IdlePerAddress, l.Handshake = 20, time.Minute }) // none is closed for its silence
	var conns []net.Conn
	s.while(func() {
		for range 60 {
			conn, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			conns = append(conns, conn)
		}
		for _, conn := range conns[:40] {
			if err := drain(conn); err != nil {
				t.Error(err)
			}
		}
	})
	// A client that means well gets in beside those that are left.
	s.another(t)
	s.counts(guard.TooMany, 40)
	if refused := s.log.Lines("client refused"); len(refused) != 1 {
		t.Errorf("the log says %q", refused)
	}
}

// Thousands of silent connections and a large request cost next to no memory.
func TestMemoryOfSilentConnections(t *testing.T) { // not parallel: it measures memory
	s := secure(t, func(*Limits) {})
	before := memory()
	conns := make([]net.Conn, 3000)
	s.while(func() {
		for i := range conns {
			var err error
			if conns[i], err = net.Dial("tcp", s.address); err != nil {
				t.Error(err)
				return
			}
		}
	})
	s.another(t)
	if n := memory() - before; n > 40<<20 {
		t.Errorf("3000 silent connections take %d MB", n>>20)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}

	before = memory()
	conn, h := s.dial(t)
	h.open(1)
	prefix := binary.BigEndian.AppendUint32([]byte{0}, 100_000_000)
	_ = h.WriteData(1, false, prefix)
	_ = h.flush()
	trailers := h.next(t, func(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders })
	if !trailers.(*http2.HeadersFrame).StreamEnded() {
		t.Error("the server waits for the request")
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	part := make([]byte, 16<<10)
	for range 100_000_000 / len(part) {
		if h.WriteData(1, false, part) != nil {
			break // it is sent without being allowed
		}
	}
	if n := memory() - before; n > 8<<20 {
		t.Errorf("a request of 100 MB takes %d MB", n>>20)
	}
}

// memory is what is in use of heap and stacks, in bytes.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
