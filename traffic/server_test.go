package traffic

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// tallyLog is a log that counts.
type tallyLog struct {
	mu              sync.Mutex
	entries, stands uint64
	node            string
}

func (l *tallyLog) take(node *corev3.Node, message *alsv3.StreamAccessLogsMessage, stands uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := uint64(len(message.GetHttpLogs().GetLogEntry()) + len(message.GetTcpLogs().GetLogEntry()))
	l.entries, l.stands, l.node = l.entries+n, l.stands+n*stands, node.GetCluster()+" "+node.GetId()
}

func (l *tallyLog) counts() (entries, stands uint64, node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries, l.stands, l.node
}

// serveReports serves logs, and returns how to open a stream of one.
func serveReports(t *testing.T, logs map[string]Log) func(name string) alsv3.AccessLogService_StreamAccessLogsClient {
	t.Helper()
	s := NewServer()
	for name, log := range logs {
		s.Handle(name, log)
	}
	g := grpc.NewServer()
	s.Register(g, func(_ context.Context, first func() (*corev3.Node, error)) (handled, done func(), err error) {
		node, err := first()
		if err == nil && node.GetCluster() != "external" {
			err = status.Error(codes.PermissionDenied, "not of a fleet")
		}
		return func() {}, func() {}, err
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return func(name string) alsv3.AccessLogService_StreamAccessLogsClient {
		stream, err := alsv3.NewAccessLogServiceClient(conn).StreamAccessLogs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		send(t, stream, &alsv3.StreamAccessLogsMessage{Identifier: &alsv3.StreamAccessLogsMessage_Identifier{
			Node: &corev3.Node{Id: "a", Cluster: "external"}, LogName: name,
		}})
		return stream
	}
}

func send(t *testing.T, stream alsv3.AccessLogService_StreamAccessLogsClient, message *alsv3.StreamAccessLogsMessage) {
	t.Helper()
	if err := stream.Send(message); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// Each log gets what is its own, and what nobody takes is ignored.
func TestLogsByName(t *testing.T) {
	var one, other tallyLog
	open := serveReports(t, map[string]Log{"one": one.take, "other": other.take})
	for _, name := range []string{"one", "one", "other", "unknown"} {
		stream := open(name)
		send(t, stream, requestLog(failed("busy", "/a_0", "a.test"), failed("busy", "/a_0", "a.test")))
		send(t, stream, connections(entry("/a_0", "10.0.0.1", 1)))
		if _, err := stream.CloseAndRecv(); err != nil {
			t.Error(err)
		}
	}
	if n, stands, node := one.counts(); n != 6 || stands != 6 || node != "external a" {
		t.Errorf("one has %d entries for %d of %q", n, stands, node)
	}
	if n, _, _ := other.counts(); n != 3 {
		t.Errorf("the other has %d entries", n)
	}
}

// Who may not report gets an error, and so does who sends too much at once.
func TestRefusedReports(t *testing.T) {
	var log tallyLog
	open := serveReports(t, map[string]Log{"one": log.take})
	large := failed("busy", "/a_0", "a.test")
	large.Request.Path = strings.Repeat("x", maxMessage)
	stream := open("one")
	send(t, stream, requestLog(large))
	if _, err := stream.CloseAndRecv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message that is too large: %v", err)
	}
	stream = open("one")
	// What cannot be understood is lost, and nothing else.
	odd := failed("busy", "/a_0", "a.test")
	odd.Request.Path = "ä"
	bytes, err := proto.Marshal(requestLog(odd))
	if err != nil {
		t.Fatal(err)
	}
	var bad alsv3.StreamAccessLogsMessage
	bad.ProtoReflect().SetUnknown([]byte(strings.ReplaceAll(string(bytes), "ä", "\xff\xfe")))
	send(t, stream, &bad)
	send(t, stream, requestLog(failed("busy", "/a_0", "a.test")))
	if _, err := stream.CloseAndRecv(); err != nil {
		t.Error(err)
	}
	if n, _, _ := log.counts(); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// Of what is too much, a sample is looked into that stands for all.
func TestFlood(t *testing.T) {
	var log tallyLog
	stream := serveReports(t, map[string]Log{"one": log.take})("one")
	const messages, each = 1000, 40
	entries := make([]*accesslogv3.HTTPAccessLogEntry, each)
	for i := range entries {
		entries[i] = failed("busy", "/a_0", "a.test")
	}
	message := requestLog(entries...)
	for range messages {
		send(t, stream, message)
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		t.Fatal(err)
	}
	entriesSeen, stands, _ := log.counts()
	if entriesSeen > messages*each/2 || entriesSeen < burst {
		t.Errorf("%d of %d were looked into", entriesSeen, messages*each)
	}
	if stands > messages*each {
		t.Errorf("they stand for %d of %d", stands, messages*each)
	}
}

// Each entry that was skipped is in the numbers of those after it.
func TestSamples(t *testing.T) {
	now := time.Now()
	s := newSampler(rate.NewLimiter(rate.Inf, 0))
	sent, looked, stood := uint64(0), uint64(0), uint64(0)
	for i := range 100_000 {
		now = now.Add(time.Millisecond)
		n := i % 7
		stands, look := s.next(n, now)
		if sent += uint64(n); look {
			looked += uint64(n)
			stood += uint64(n) * stands
		}
	}
	if stood+s.skipped != sent || s.skipped > 1000 || looked > 100*entriesPerSecond+burst || looked < 99*entriesPerSecond {
		t.Errorf("%d were sent, %d looked into, which stand for %d, and %d are left", sent, looked, stood, s.skipped)
	}
	if _, look := s.next(10*burst, now.Add(time.Hour)); !look {
		t.Error("a message of more entries than may be ahead is never looked into")
	}
}

// An Envoy that has little to say is heard beside others that have too much.
func TestQuietEnvoyIsHeard(t *testing.T) {
	now, all := time.Now(), rate.NewLimiter(allPerSecond, allBurst)
	quiet, looked := newSampler(all), 0
	var loud []*sampler
	for range 100 {
		loud = append(loud, newSampler(all))
	}
	for range 100 {
		now = now.Add(time.Second)
		for range 500 / 20 {
			for _, s := range loud {
				if _, look := s.next(20, now); look {
					looked += 20
				}
			}
		}
		if stands, look := quiet.next(1, now); !look || stands != 1 {
			t.Fatalf("an entry of the quiet one: looked into %t, stands for %d", look, stands)
		}
	}
	if most := 100*(allPerSecond+100*ownPerSecond) + allBurst + 100*ownBurst; looked > most {
		t.Errorf("%d entries were looked into, more than %d", looked, most)
	}
}

// countEntries agrees with who understands the message, and ends on anything.
func FuzzCountEntries(f *testing.F) {
	for _, message := range []*alsv3.StreamAccessLogsMessage{
		{}, requestLog(), requestLog(failed("busy", "/a_0", "a"), failed("busy", "/a_0", "a")), connections(entry("/a_0", "10.0.0.1", 1)),
		{Identifier: &alsv3.StreamAccessLogsMessage_Identifier{LogName: "a"}},
	} {
		bytes, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes)
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		n := countEntries(bytes)
		if n > len(bytes) {
			t.Errorf("%d entries in %d bytes", n, len(bytes))
		}
		var message alsv3.StreamAccessLogsMessage
		if proto.Unmarshal(bytes, &message) != nil {
			return
		}
		if got := len(message.GetHttpLogs().GetLogEntry()) + len(message.GetTcpLogs().GetLogEntry()); got > n {
			t.Errorf("%d entries, counted %d", got, n)
		}
	})
}

// BenchmarkReports is what an entry costs Relay: looked into, and only counted.
func BenchmarkReports(b *testing.B) {
	entries := make([]*accesslogv3.HTTPAccessLogEntry, 40)
	for i := range entries {
		entries[i] = failed("busy", "/a_0", "a.test")
	}
	bytes, err := proto.Marshal(requestLog(entries...))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("looked into", func(b *testing.B) {
		f := newTestFailures()
		for b.Loop() {
			var message alsv3.StreamAccessLogsMessage
			if err := proto.Unmarshal(bytes, &message); err != nil {
				b.Fatal(err)
			}
			f.Log(node("a"), &message, 1)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/entry")
	})
	b.Run("counted", func(b *testing.B) {
		for b.Loop() {
			if countEntries(bytes) != len(entries) {
				b.Fatal("wrong")
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/entry")
	})
}
