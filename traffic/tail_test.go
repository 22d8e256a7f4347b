package traffic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// tailedEntry is what Envoy reports of a request that is followed.
func tailedEntry(cluster, path string, change func(*accesslogv3.HTTPAccessLogEntry)) *accesslogv3.HTTPAccessLogEntry {
	e := &accesslogv3.HTTPAccessLogEntry{
		CommonProperties: &accesslogv3.AccessLogCommon{
			UpstreamCluster: cluster, UpstreamRemoteAddress: socket("10.0.0.9", 31000), DownstreamRemoteAddress: socket("10.0.0.7", 4711),
			StartTime: timestamppb.New(time.Now().Add(-time.Second)), Duration: durationpb.New(250 * time.Millisecond),
			CustomTags: map[string]string{"domain": "shop.test", "target": "/shop_0"},
		},
		Request: &accesslogv3.HTTPRequestProperties{
			RequestMethod: corev3.RequestMethod_GET, Authority: "Shop.test:8080", Path: path, RequestId: "id-1", UserAgent: "curl/8",
			Referer: "http://x.test/?token=secret", RequestHeadersBytes: 10, RequestBodyBytes: 1,
		},
		Response: &accesslogv3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(200), ResponseHeadersBytes: 20, ResponseBodyBytes: 2},
	}
	if change != nil {
		change(e)
	}
	return e
}

func tailMessage(entries ...*accesslogv3.HTTPAccessLogEntry) *alsv3.StreamAccessLogsMessage {
	return &alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{
		HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries},
	}}
}

func everything(*Request) bool { return true }

func openReader(t *testing.T, tails *Tails, wants func(*Request) bool, unmasked bool) *Reader {
	t.Helper()
	r, err := tails.Open(wants, unmasked)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A request comes to those who want it, with its path masked or not.
func TestTailedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tails := NewTails()
		masked := openReader(t, tails, everything, false)
		unmasked := openReader(t, tails, everything, true)
		other := openReader(t, tails, func(q *Request) bool { return q.Cluster == "/other_0" }, false)
		tails.Log(node("edge-1"), tailMessage(tailedEntry("/shop_0", "/a?token=secret", nil)), 1)
		want := Request{
			Time: time.Now().Add(-750 * time.Millisecond).UTC(), Fleet: "external", Envoy: "edge-1", Cluster: "/shop_0", Scope: "shop.test", Host: "shop.test",
			Client: "10.0.0.7", Method: "GET", Path: "/a?…", Status: 200, Duration: 250 * time.Millisecond, BytesIn: 11, BytesOut: 22,
			Instance: "10.0.0.9:31000", RequestID: "id-1", UserAgent: "curl/8",
		}
		for _, reader := range []*Reader{masked, unmasked} {
			got, skipped, err := reader.Next(t.Context())
			if err != nil || skipped != 0 {
				t.Fatal(skipped, err)
			}
			if diff := cmp.Diff([]Request{want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			want.Path = "/a?token=secret"
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, _, err := other.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another reader gets %v, %v", got, err)
		}
		for _, r := range []*Reader{masked, unmasked, other} {
			r.Close()
		}
		tails.Log(node("edge-1"), tailMessage(tailedEntry("/shop_0", "/a", nil)), 1)
		if n := len(masked.requests); n > 0 {
			t.Errorf("a reader that is closed gets %d requests", n)
		}
	})
}

// A redirect reaches no cluster: it is of the app that its route is for. A failure has its code.
func TestTailedAnswersOfEnvoy(t *testing.T) {
	redirect := requestOf(node("a"), tailedEntry("", "/", nil), time.Now())
	if redirect.Cluster != "/shop_0" {
		t.Errorf("it is of %q", redirect.Cluster)
	}
	failed := requestOf(node("a"), tailedEntry("/shop_0", "/", func(e *accesslogv3.HTTPAccessLogEntry) {
		e.Response.ResponseHeaders = map[string]string{"x-relay-error": "offline"}
		e.CommonProperties.UpstreamRemoteAddress = nil
	}), time.Now())
	if failed.Code != "offline" || failed.Instance != "" {
		t.Errorf("got %+v", failed)
	}
	if empty := requestOf(node("a"), &accesslogv3.HTTPAccessLogEntry{}, time.Now()); empty.Method != "" || empty.Path != "" || empty.Client != "" {
		t.Errorf("of nothing it makes %+v", empty)
	}
}

// What a client sends is harmless on a terminal, and has an end.
func TestHostileRequests(t *testing.T) {
	const escape = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202eevil\r\n\x00\xff\x7f"
	for _, name := range []string{"path", "agent", "host"} {
		long := strings.Repeat(escape, 2000)
		q := requestOf(node("node\x1b[2J"), tailedEntry("/shop_0", "/", func(e *accesslogv3.HTTPAccessLogEntry) {
			switch name {
			case "path":
				e.Request.Path = "/" + long
			case "agent":
				e.Request.UserAgent = long
			case "host":
				e.Request.Authority = long
			}
			e.CommonProperties.CustomTags["domain"] = long
			e.Request.RequestId = escape
		}), time.Now())
		for _, text := range []string{q.Path, q.UserAgent, q.Host, q.Scope, q.Envoy, q.RequestID, q.Cluster} {
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 3*maxTailedPath+10 {
				t.Errorf("%s: shown are %d bytes: %.100q", name, len(text), text)
			}
		}
	}
	if got, want := visiblePath("/a\x1b[31mü\x9b"), "/a%1B[31mü%9B"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A reader gets no more than it can read, and is told how many are missing; it costs nobody else.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tails := NewTails()
		slow, quick := openReader(t, tails, everything, false), openReader(t, tails, everything, false)
		defer slow.Close()
		defer quick.Close()
		read := 0
		for range 3 * requestsKept / 100 {
			message := tailMessage()
			for range 100 {
				entries := message.GetHttpLogs()
				entries.LogEntry = append(entries.LogEntry, tailedEntry("/shop_0", "/", nil))
			}
			tails.Log(node("a"), message, 1)
			got, _, err := quick.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			read += len(got)
			time.Sleep(time.Second)
		}
		if read != 3*requestsKept {
			t.Errorf("who reads gets %d of %d", read, 3*requestsKept)
		}
		got, skipped, err := slow.Next(t.Context())
		if err != nil || len(got) != requestsKept || int(skipped) != 2*requestsKept {
			t.Errorf("who does not gets %d, and is told of %d more, %v", len(got), skipped, err)
		}
	})
}

// An app with very many requests is sampled, by Relay's service and for the reader.
func TestBusyAppIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tails := NewTails()
		r := openReader(t, tails, everything, false)
		defer r.Close()
		total, seen, missing := 0, 0, uint64(0)
		for range 100 {
			message := tailMessage()
			for range 100 {
				entries := message.GetHttpLogs()
				entries.LogEntry = append(entries.LogEntry, tailedEntry("/shop_0", "/", nil))
			}
			tails.Log(node("a"), message, 3)
			total += 300
			if got, skipped, err := r.Next(boundedContext(t)); err == nil {
				seen, missing = seen+len(got), missing+skipped
			}
			time.Sleep(10 * time.Millisecond)
		}
		missing += r.skipped.Load()
		if most := requestsKept + 2*requestsPerSecond; seen > most || seen < requestsPerSecond || seen+int(missing) != total {
			t.Errorf("shown are %d of %d, and told of %d", seen, total, missing)
		}
	})
}

func boundedContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestReadersAreBounded(t *testing.T) {
	tails := NewTails()
	var readers []*Reader
	for range MaxReaders {
		readers = append(readers, openReader(t, tails, everything, false))
	}
	if _, err := tails.Open(everything, false); !errors.Is(err, ErrTooManyReaders) {
		t.Errorf("one more: %v", err)
	}
	readers[3].Close()
	readers[3].Close()
	openReader(t, tails, everything, false)
	if n := len(*tails.readers.Load()); n != MaxReaders {
		t.Errorf("%d readers", n)
	}
}

func TestMaskPath(t *testing.T) {
	const token = "dGhpc2lzYXRva2VuMTIzNDU2Nzg5MA"
	for path, want := range map[string]string{
		"":                                "",
		"/":                               "/",
		"/orders/17":                      "/orders/17",
		"/orders/17?":                     "/orders/17?",
		"/orders/17?token=secret&x=y":     "/orders/17?…",
		"/?a?b":                           "/?…",
		"/a%3Ftoken=secret":               "/a?…",
		"/a#token=secret":                 "/a?…",
		"/a;jsessionid=ABC/b":             "/a;…/b",
		"/a%3Bjsessionid=ABC":             "/a;…",
		"/a;":                             "/a;",
		"/reset/" + token:                 "/reset/dGhp…",
		"/reset/" + token + "/x":          "/reset/dGhp…/x",
		"/hooks/hvs." + token:             "/hooks/hvs.dGhp…",
		"/4111111111111111":               "/4111…",
		"/proxy/http://user:pass@x.test/": "/proxy/http://…@x.test/",
		"/users/anna@x.test":              "/users/anna@x.test",
		"/a-title-with-many-words-of-2026-and-a-long-end": "/a-title-with-many-words-of-2026-and-a-long-end",
		"/internationalization/accessibilityguidelines":   "/internationalization/accessibilityguidelines",
		"/orders/550e8400-e29b-41d4-a716-446655440000":    "/orders/550e8400-e29b-41d4-a716-446655440000",
		"/ü/" + strings.Repeat("ü", 20):                   "/ü/" + strings.Repeat("ü", 20),
	} {
		if got := maskPath(path); got != want {
			t.Errorf("%q is shown as %q, want %q", path, got, want)
		}
	}
}

// Whatever the path is, no secret in one of these places is shown.
func FuzzMaskPath(f *testing.F) {
	f.Add("/a/b")
	f.Add("/;/?%3f#")
	f.Fuzz(func(t *testing.T, path string) {
		const secret = "s3cr3t"
		for _, form := range []string{"%s?%s", "%s?a=%s", "%s/x;%s", "%s#%s", "%s/aaaaaaaaaaaa%sb"} {
			shown := maskPath(visiblePath("/" + fmt.Sprintf(form, path, secret)))
			if strings.Contains(shown, secret) && !strings.Contains(path, secret) {
				t.Errorf("%q: %q", path, shown)
			}
		}
	})
}
