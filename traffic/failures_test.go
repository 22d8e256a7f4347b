package traffic

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/internal/failure"
)

func newTestFailures() *Failures {
	return NewFailures([]string{"external", "internal"}, func(fleet, cluster string) (string, int) {
		if cluster == "/internal_0" && fleet != "internal" {
			return "", -1
		}
		return strings.TrimSuffix(cluster, "_0"), 0
	})
}

// failed is what Envoy reports of a request that failed with a code.
func failed(code, cluster, host string) *accesslogv3.HTTPAccessLogEntry {
	return &accesslogv3.HTTPAccessLogEntry{
		CommonProperties: &accesslogv3.AccessLogCommon{
			UpstreamCluster: cluster, UpstreamRemoteAddress: socket("10.0.0.1", 31000), DownstreamRemoteAddress: socket("192.0.2.1", 5),
			StartTime: timestamppb.Now(),
		},
		Request: &accesslogv3.HTTPRequestProperties{Authority: host, Path: "/a?secret", RequestMethod: corev3.RequestMethod_GET, RequestId: "id"},
		Response: &accesslogv3.HTTPResponseProperties{
			ResponseCode: wrapperspb.UInt32(503), ResponseHeaders: map[string]string{failure.Header: code},
		},
	}
}

func requestLog(entries ...*accesslogv3.HTTPAccessLogEntry) *alsv3.StreamAccessLogsMessage {
	return &alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{
		HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries},
	}}
}

func connections(entries ...*accesslogv3.TCPAccessLogEntry) *alsv3.StreamAccessLogsMessage {
	return &alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_TcpLogs{
		TcpLogs: &alsv3.StreamAccessLogsMessage_TCPAccessLogEntries{LogEntry: entries},
	}}
}

func (f *Failures) one(code, cluster, host string) {
	f.Log(node("a"), requestLog(failed(code, cluster, host)), 1)
}

// What fails again and again within a second is one failure with a count.
func TestFailuresAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures()
		for range 3 {
			f.one("offline", "/a_0", "a.test")
		}
		f.one("busy", "/a_0", "a.test")
		f.Log(node("a"), requestLog(failed("offline", "/a_0", "a.test")), 7)
		f.one("offline", "/b_0", "b.test")
		if got := f.LastFailures("/a", 10); len(got) != 2 || got[0].Code != "busy" || got[1].Count != 10 {
			t.Errorf("got %+v", got)
		}
		time.Sleep(alike)
		f.one("offline", "/a_0", "a.test")
		got := f.LastFailures("/a", 10)
		if len(got) != 3 || got[0].Count != 1 {
			t.Fatalf("got %+v", got)
		}
		want := Failure{
			ID: 4, Time: time.Now(), Fleet: "external", Envoy: "a", App: "/a", Domain: "a.test", Method: "GET", Path: "/a", Status: 503, Code: "offline",
			Instance: got[0].Instance, RequestID: "id", Client: "192.0.2.1", Count: 1,
		}
		if !got[0].Time.Equal(want.Time) {
			t.Errorf("at %s, want %s", got[0].Time, want.Time)
		}
		if got[0].Time = want.Time; got[0] != want || got[0].Instance.String() != "10.0.0.1:31000" {
			t.Errorf("got %+v, want %+v", got[0], want)
		}
		if cause := (Failure{Code: "busy"}).Cause(); !strings.HasPrefix(cause, "The app has as many requests") || strings.Contains(cause, "Envoy says") || strings.Contains(cause, "`") {
			t.Errorf("the cause is %q", cause)
		}
		if cause := (Failure{Code: "unreachable", Reason: "Connection refused"}).Cause(); !strings.HasSuffix(cause, " Envoy says: Connection refused.") {
			t.Errorf("the cause is %q", cause)
		}
		if got := f.LastFailures("/a", 1); len(got) != 1 {
			t.Errorf("more than one: %+v", got)
		}
	})
}

// An Envoy tells nothing of apps that its fleet does not have.
func TestFailuresOfOtherFleets(t *testing.T) {
	f := newTestFailures()
	f.one("busy", "/internal_0", "internal.test")
	if got := f.LastFailures("/internal", 10); len(got) != 0 || f.OfApp("/internal") != 0 {
		t.Errorf("an app of another fleet has %+v", got)
	}
	if got := f.All(Filter{Domain: "internal.test"}); len(got) != 1 || got[0].App != "" {
		t.Errorf("of no app: %+v", got)
	}
}

// Who follows failures asks for those after the last one that it knows, and misses none.
func TestFailuresSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures()
		codes := []string{"offline", "forbidden", "busy", "no-such-domain"}
		for _, code := range codes {
			f.one(code, "/a_0", "a.test")
			time.Sleep(alike)
		}
		var got []string
		for after := uint64(0); after < f.LastID(); {
			for _, one := range f.Since(after, 3) {
				got, after = append(got, one.Code), one.ID
			}
		}
		if !slices.Equal(got, codes) || len(f.Since(f.LastID(), 3)) > 0 {
			t.Errorf("got %v, want %v", got, codes)
		}
		if f.OfApp("/a") == 0 {
			t.Error("the app has no failures")
		}
	})
}

// Failures are counted for an hour. Those for which clients are to blame are none of an app.
func TestFailuresPerApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures()
		for range 5 {
			f.one("offline", "/a_0", "a.test")
			f.one("unauthorized", "/a_0", "a.test")
			f.one("forbidden", "/b_0", "b.test")
			time.Sleep(10 * time.Minute)
		}
		if got := perApp(f); len(got) != 1 || got["/a"] != 5 {
			t.Errorf("got %v", got)
		}
		if got := f.LastFailures("/b", 10); len(got) != 5 || got[0].Code != "forbidden" {
			t.Errorf("the last failures are others: %+v", got)
		}
		time.Sleep(30 * time.Minute)
		if got := perApp(f)["/a"]; got < 2 || got > 3 {
			t.Errorf("in the last hour were %d", got)
		}
		time.Sleep(time.Hour)
		if got := perApp(f); len(got) > 0 {
			t.Errorf("got %v", got)
		}
	})
}

// The series has what was reported in the last hour, and not what clients did wrong.
func TestFailureSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures()
		begin := time.Now()
		if _, series := f.Series(""); len(series) > 0 {
			t.Errorf("%d steps are told of the time before it began", len(series))
		}
		for i := range 400 {
			f.Log(node("a"), requestLog(failed("offline", "/a_0", "a.test")), uint64(i))
			f.one("no-such-domain", "", "b.test")
			time.Sleep(FailureStep)
		}
		start, series := f.Series("external")
		if want := begin.Add(401 * FailureStep).Add(-failureSteps * FailureStep); !start.Equal(want) || len(series) != failureSteps-1 {
			t.Fatalf("%d steps from %s, want %s", len(series), start, want)
		}
		for i, got := range series {
			if want := float64(41+i) / 10; got != want {
				t.Fatalf("step %d: %v, want %v", i, got, want)
			}
		}
		if got, want := f.PerSecond("external"), (394+399)/2.0/10; got != want {
			t.Errorf("%v per second, want %v", got, want)
		}
		_, all := f.Series("")
		_, other := f.Series("internal")
		if !slices.Equal(all, series) || slices.Max(other) > 0 {
			t.Error("the series of all fleets, or of another one, is wrong")
		}
		time.Sleep(2 * time.Hour)
		if _, series := f.Series("external"); slices.Max(series) > 0 {
			t.Error("the series has what is old")
		}
	})
}

func metricsOf(t *testing.T, f *Failures) (n int) {
	registry := prometheus.NewPedanticRegistry()
	f.Register(registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		n += len(family.Metric)
	}
	return n
}

// Whatever Envoys and clients send, only so much is kept, and the metrics have fixed labels.
func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures()
		metrics := metricsOf(t, f)
		long := strings.Repeat("ü", 3000)
		for i := range maxApps + maxRecords {
			entry := failed("offline", fmt.Sprintf("/%d_0", i), long)
			entry.Request.Path, entry.Request.RequestId = long, long
			entry.CommonProperties.UpstreamTransportFailureReason = long
			f.Log(node(long), requestLog(entry), 1)
		}
		for i := range 10_000 {
			f.one("no-such-domain", "", fmt.Sprintf("%d.test", i))
			f.one("unknown", "/a_0", "a.test")
			f.Log(&corev3.Node{Cluster: "unknown"}, requestLog(failed("offline", "/unknown_0", "a.test")), 1)
		}
		newest := fmt.Sprintf("/%d", maxApps+maxRecords-1)
		for i := range 3 * maxLast {
			f.one("busy", newest+"_0", fmt.Sprint(i))
			time.Sleep(alike)
		}
		if len(f.apps) != maxApps || f.recent.Len() != maxApps || len(f.records.all) != maxRecords || len(f.LastFailures("/a", 1))+len(f.LastFailures("/unknown", 1)) > 0 {
			t.Errorf("%d apps, %d of them by time, %d records", len(f.apps), f.recent.Len(), len(f.records.all))
		}
		kept := 0
		for _, app := range f.apps {
			kept += len(app.last)
		}
		if kept > maxRecords || len(f.apps[newest].last) != maxLast {
			t.Errorf("%d failures of apps are kept, %d of one", kept, len(f.apps[newest].last))
		}
		strangers := len(f.All(Filter{Code: "no-such-domain"}))
		if strangers == 0 || strangers > strangersPerSecond {
			t.Errorf("%d unknown hosts of a moment are kept", strangers)
		}
		if got := f.fleets["external"].counts["no-such-domain"]; got != 10_000 {
			t.Errorf("%d unknown hosts are counted", got)
		}
		for _, one := range f.All(Filter{}) {
			if size := len(one.Envoy) + len(one.Domain) + len(one.Path) + len(one.Reason) + len(one.RequestID); size > 2*maxDomain+maxPath+maxReason {
				t.Fatalf("a failure has %d bytes", size)
			}
		}
		if got := metricsOf(t, f); got != metrics {
			t.Errorf("%d metrics, at first there were %d", got, metrics)
		}
	})
}

// A filter fits what it names, and the newest come first. What clients do wrong does not push out
// what is wrong with apps.
func TestAllFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures()
		f.one("offline", "/a_0", "a.test")
		time.Sleep(time.Second)
		f.one("busy", "/b_0", "b.test:80")
		for range maxOverall + 10 {
			time.Sleep(time.Second)
			f.one("bad-request", "", "")
		}
		for _, tt := range []struct {
			which Filter
			want  string
		}{
			{Filter{App: "/a"}, "offline"}, {Filter{Domain: "b.test"}, "busy"}, {Filter{Code: "offline"}, "offline"}, {Filter{App: "/a", Code: "busy"}, ""},
			{Filter{Fleet: "internal"}, ""},
		} {
			var codes []string
			for _, one := range f.All(tt.which) {
				codes = append(codes, one.Code)
			}
			if got := strings.Join(codes, " "); got != tt.want {
				t.Errorf("%+v: %s, want %s", tt.which, got, tt.want)
			}
		}
		all := f.All(Filter{})
		if !slices.IsSortedFunc(all, func(a, b Failure) int { return b.Time.Compare(a.Time) }) || len(all) != maxOverall+2 {
			t.Errorf("%d failures, or not the newest first", len(all))
		}
	})
}

// Who follows gets what is new, and a reader that is slow misses some.
func TestSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTestFailures()
		failures, cancel := f.Subscribe(2)
		for i := range 5 {
			f.one("offline", fmt.Sprintf("/%d_0", i), "a.test")
			f.one("offline", fmt.Sprintf("/%d_0", i), "a.test")
		}
		if first, second := <-failures, <-failures; first.App != "/0" || second.App != "/1" || len(failures) > 0 {
			t.Errorf("got %+v and %+v", first, second)
		}
		cancel()
		f.one("offline", "/x_0", "a.test")
		if len(failures) > 0 || len(f.subscribers) > 0 {
			t.Error("a reader that is gone gets failures")
		}
	})
}

// An entry that is no failure, or that cannot be understood, is none.
func TestNoFailures(t *testing.T) {
	f := newTestFailures()
	answered := failed("", "/a_0", "a.test")
	answered.CommonProperties.ResponseFlags = &accesslogv3.ResponseFlags{UpstreamConnectionTermination: true}
	answered.Response.ResponseCodeDetails = failure.Answered
	left := failed("", "/a_0", "a.test")
	left.CommonProperties.ResponseFlags = &accesslogv3.ResponseFlags{DownstreamConnectionTermination: true}
	f.Log(node("a"), requestLog(answered, left, &accesslogv3.HTTPAccessLogEntry{}, failed("made-up", "/a_0", "a.test")), 1)
	made := entry("/a_0", "10.0.0.1", 1)
	made.CommonProperties.UpstreamLocalAddress = socket("10.0.0.9", 2)
	f.Log(node("a"), connections(made, &accesslogv3.TCPAccessLogEntry{}), 1)
	f.Log(nil, &alsv3.StreamAccessLogsMessage{}, 1)
	if got := f.All(Filter{}); len(got) > 0 {
		t.Errorf("got %+v", got)
	}
	cut := failed("", "/a_0", "a.test")
	cut.CommonProperties.ResponseFlags = &accesslogv3.ResponseFlags{UpstreamProtocolError: true}
	f.Log(node("a"), requestLog(cut), 1)
	f.Log(node("a"), connections(entry("/tcp_0", "10.0.0.1", 1)), 1)
	if a, tcp := f.LastFailures("/a", 1), f.LastFailures("/tcp", 1); len(a) != 1 || a[0].Code != "interrupted" || len(tcp) != 1 || tcp[0].Code != "unreachable" {
		t.Errorf("got %+v and %+v", a, tcp)
	}
}

// The clock of an Envoy may be wrong.
func TestTimeOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for start, want := range map[time.Duration]time.Duration{
			0: 0, -time.Second: 0, -3 * time.Second: -time.Second, -maxAge: 2*time.Second - maxAge, -maxAge - 3*time.Second: 0, time.Hour: 0,
		} {
			p := &accesslogv3.AccessLogCommon{StartTime: timestamppb.New(now.Add(start)), Duration: durationpb.New(2 * time.Second)}
			if got := ended(p, now).Sub(now); got != want {
				t.Errorf("started %s before and took 2s: ended %s, want %s", start, got, want)
			}
		}
		if got := ended(nil, now); !got.Equal(now) {
			t.Errorf("without a time: %s", got)
		}
	})
}

// Queries, parameters and passwords are cut off, however they are written.
func TestWhatIsKeptOfURLs(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b": "/a/b", "/a?b=c": "/a", "/a;id=1/b": "/a", "/a#b": "/a", "/a%3Fb": "/a", "/a%3fb": "/a", "/a%3Bb": "/a", "/a%23b": "/a", "?": "", "": "",
		"/a\x00\nb": "/a??b", "/\xff": "/?", "/" + strings.Repeat("x", 1000): "/" + strings.Repeat("x", maxPath-1),
		strings.Repeat("/", maxPath) + "?secret":    strings.Repeat("/", maxPath),
		"/reset/9f86d081884c7d659a2feaa0c55ad015/x": "/reset/9f86…/x", "/to/http://user:password@a.test/b": "/to/http://…@a.test/b",
		"/\u202e\u009b31m": "/??31m",
	} {
		if got := pathOf(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
	for host, want := range map[string]string{
		"A.Test": "a.test", "a.test.": "a.test", "a.test:80": "a.test", "a.test.:80": "a.test", "u:p@a.test:80": "a.test", "u@p@a.test": "a.test",
		"[::1]:80": "::1", "[::1]": "[::1]", "": "", "a\tb": "a?b",
	} {
		if got := domainOf(host); got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
	for id, ok := range map[string]bool{"a-1_2.3:4=5+6/7": true, "": true, "<": false, "a b": false, "ä": false, strings.Repeat("a", 101): false} {
		if got := requestIDOf(id); got != id && ok || got != "" && !ok {
			t.Errorf("%q is %q", id, got)
		}
	}
}

// perApp returns the failures of the apps that have some.
func perApp(f *Failures) map[string]uint64 {
	all := make(map[string]uint64)
	for id := range f.apps {
		if n := f.OfApp(id); n > 0 {
			all[id] = n
		}
	}
	return all
}
