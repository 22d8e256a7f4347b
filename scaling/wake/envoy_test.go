package wake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/xds"
)

var usual = Config{WaitingPerApp: 2000, WaitingInAll: 20_000, Rate: 20}

// What a client sends while its app sleeps arrives whole, whatever it is.
func TestEnvoyHolds(t *testing.T) {
	t.Parallel()
	w := startEnvoyWorld(t, usual, 2)
	w.apps.set("/app", State{Phase: Asleep})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	get := w.send(ctx, http.MethodGet, "/", nil)
	post := w.send(ctx, http.MethodPost, "/", bytes.NewReader(make([]byte, 5<<20)))
	leaving, leave := context.WithCancel(ctx)
	left := w.send(leaving, http.MethodPost, "/left", bytes.NewReader(make([]byte, 1<<20)))
	opened := make(chan error, 2)
	go func() {
		ws, _, err := websocket.Dial(ctx, "ws://"+w.http, nil)
		if err == nil {
			_ = ws.Write(ctx, websocket.MessageText, []byte("hello"))
			if _, got, e := ws.Read(ctx); e != nil || string(got) != "hello" {
				err = fmt.Errorf("%q, %w", got, e)
			}
			_ = ws.CloseNow()
		}
		opened <- err
	}()
	go func() { opened <- w.callGRPC(ctx) }()
	w.waitHeld(5)
	leave()
	if r := <-left; r.err == nil {
		t.Errorf("who left: %+v", r)
	}
	w.waitHeld(4)
	w.waitWoken(1)
	if got := w.requests(); len(got) != 0 {
		t.Errorf("arrived: %v", got)
	}
	w.apps.set("/app", State{Phase: Running})
	if r := <-get; r.status != http.StatusOK || r.body != "GET 0 <nil> " {
		t.Errorf("GET: %+v", r)
	}
	if r := <-post; r.status != http.StatusOK || r.body != fmt.Sprintf("POST %d <nil> ", 5<<20) {
		t.Errorf("POST: %+v", r)
	}
	for range 2 {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
	if slices.Contains(w.requests(), "/left") {
		t.Error("the request of who left arrived")
	}
	w.waitHeld(0)
}

// callGRPC sends messages on a stream, and wants them back.
func (w *envoyWorld) callGRPC(ctx context.Context) error {
	conn, err := grpc.NewClient(w.http, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/echo.Echo/Echo")
	if err != nil {
		return err
	}
	for i := range 3 {
		if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(i))); errors.Is(err, io.EOF) {
			break // it was ended: to receive says why
		} else if err != nil {
			return err
		}
	}
	for i := range 3 {
		got := new(wrapperspb.StringValue)
		if err := stream.RecvMsg(got); err != nil {
			return err
		}
		if got.Value != fmt.Sprint(i) {
			return fmt.Errorf("message %d is %q", i, got.Value)
		}
	}
	return stream.CloseSend()
}

// A thousand requests that wait arrive, all of them, and each thread of Envoy sends on its own in order.
// That threads do not overtake each other is up to the machine: they are told half a millisecond apart.
func TestEnvoyLetsThroughInOrder(t *testing.T) {
	t.Parallel()
	const n = 1000
	for workers := range 2 {
		t.Run(fmt.Sprint(workers+1, " threads"), func(t *testing.T) {
			t.Parallel()
			app := startOrderedApp(t)
			w := startEnvoyWorldOf(t, app.address, usual, workers+1)
			w.apps.set("/app", State{Phase: Waking})
			var got []<-chan result
			for i := range n {
				got = append(got, w.send(t.Context(), http.MethodGet, fmt.Sprintf("/ordered/%d", i), nil))
				if i%inOrder == inOrder-1 {
					w.waitHeld(i + 1)
				}
			}
			w.apps.set("/app", State{Phase: Running})
			for i, r := range got {
				if r := <-r; r.status != http.StatusOK {
					t.Errorf("request %d: %+v %v", i, r, r.err)
				}
			}
			came := app.requests()
			if all := len(slices.Concat(came...)); all != n || len(came) > workers+1 {
				t.Fatalf("%d requests came on %d connections", all, len(came))
			}
			for i, paths := range came {
				if late := overtaken(paths); late > 0 {
					t.Errorf("on connection %d, %d of %d came after one that was sent later: %v", i, late, len(paths), paths)
				}
			}
		})
	}
}

// inOrder is how many requests are sent at the same time, and have no order.
const inOrder = 5

// overtaken counts requests that arrived after one that was sent later.
func overtaken(paths []string) (n int) {
	latest := 0
	for _, path := range paths {
		i, _ := strconv.Atoi(strings.TrimPrefix(path, "/ordered/"))
		if i /= inOrder; i < latest {
			n++
		}
		latest = max(latest, i)
	}
	return n
}

// A Relay that ends and comes again while it holds requests loses none.
func TestEnvoyAsksAgain(t *testing.T) {
	t.Parallel()
	w := startEnvoyWorld(t, usual, 2)
	w.apps.set("/app", State{Phase: Waking})
	const n = 20
	var got []<-chan result
	for range n {
		got = append(got, w.send(t.Context(), http.MethodPost, "/", bytes.NewReader(make([]byte, 2<<20))))
	}
	w.waitHeld(n)
	w.stop()
	w.serve(usual)
	w.waitHeld(n)
	w.apps.set("/app", State{Phase: Running})
	for i, r := range got {
		if r := <-r; r.status != http.StatusOK || r.body != fmt.Sprintf("POST %d <nil> ", 2<<20) {
			t.Errorf("request %d: %+v", i, r)
		}
	}
}

// Who is not let through gets the answer of a code, with the headers that it needs.
func TestEnvoyRefuses(t *testing.T) {
	t.Parallel()
	w := startEnvoyWorld(t, Config{WaitingPerApp: 1, WaitingInAll: 10, Rate: 20}, 2)
	w.apps.set("/app", State{Phase: Asleep, Page: true, Text: "It <b>starts</b>."})
	browser := <-w.send(t.Context(), http.MethodGet, "/", nil, "Accept", "text/html,application/xhtml+xml")
	if browser.status != http.StatusServiceUnavailable || browser.body != "520: It  b starts /b . This page loads again by itself." ||
		browser.header.Get("Retry-After") != "2" || browser.header.Get("Refresh") != "2" {
		t.Errorf("a page: %+v", browser)
	}
	w.waitWoken(1)
	waiting, leave := context.WithCancel(t.Context())
	defer leave()
	waits := w.send(waiting, http.MethodGet, "/", nil, "Accept", "*/*")
	w.waitHeld(1)
	full := <-w.send(t.Context(), http.MethodGet, "/", nil)
	if full.status != http.StatusServiceUnavailable || !strings.HasPrefix(full.body, "521: ") || full.header.Get("Retry-After") != "5" || full.header.Get("Refresh") != "" {
		t.Errorf("one too many: %+v", full)
	}
	if err := w.callGRPC(t.Context()); status.Code(err) != codes.Unavailable {
		t.Errorf("gRPC: %v", err)
	}
	leave()
	if r := <-waits; r.err == nil {
		t.Errorf("who left: %+v", r)
	}
	w.waitHeld(0)
	w.apps.set("/app", State{Phase: Waking, Timeout: 100 * time.Millisecond})
	if late := <-w.send(t.Context(), http.MethodGet, "/", nil); late.status != http.StatusServiceUnavailable || !strings.HasPrefix(late.body, "521: ") {
		t.Errorf("too late: %+v", late)
	}
	w.apps.set("/app", State{Phase: Failed})
	if r := <-w.send(t.Context(), http.MethodGet, "/", nil); r.status != http.StatusServiceUnavailable || !strings.HasPrefix(r.body, "522: ") {
		t.Errorf("a crash: %+v", r)
	}
	if err := w.callGRPC(t.Context()); status.Code(err) != codes.Unavailable {
		t.Errorf("gRPC: %v", err)
	}
	if got := w.requests(); len(got) != 0 {
		t.Errorf("arrived: %v", got)
	}
}

// An Envoy that has more requests waiting than a connection may have opens another one.
func TestEnvoyOpensMoreConnections(t *testing.T) {
	t.Parallel()
	w := startEnvoyWorld(t, usual, 1, func(l *xds.Limits) { l.ConnectionRequests = 20 })
	w.apps.set("/app", State{Phase: Waking})
	var got []<-chan result
	for range 100 {
		got = append(got, w.send(t.Context(), http.MethodGet, "/", nil))
	}
	w.waitHeld(100)
	w.apps.set("/app", State{Phase: Running})
	for i, r := range got {
		if r := <-r; r.status != http.StatusOK {
			t.Errorf("request %d: %+v", i, r)
		}
	}
}
