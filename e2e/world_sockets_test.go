package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop/grpc_testing"
)

// socketApp is an app that clients stay connected with: by WebSocket at /ws, which echoes, by
// server-sent events at /events, and by long polls at /poll.
type socketApp struct {
	t       *testing.T
	address string
	// pings are the payloads of those that the app got.
	pings chan string
	// over ends all requests.
	over chan struct{}

	mu    sync.Mutex
	waits map[string]chan string // by the id that a client gave itself
}

func startSocketApp(t *testing.T) *socketApp {
	t.Helper()
	a := &socketApp{t: t, pings: make(chan string, 1000), over: make(chan struct{}), waits: make(map[string]chan string)}
	a.address = a.instance()
	return a
}

// instance starts one more of the app, and returns its address.
func (a *socketApp) instance() string {
	s := httptest.NewServer(a)
	a.t.Cleanup(s.Close)
	// Before Close waits for them. A poll may come after that, on a new connection.
	a.t.Cleanup(s.CloseClientConnections)
	a.t.Cleanup(a.end)
	return s.Listener.Addr().String()
}

func (a *socketApp) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-a.over:
	default:
		close(a.over)
	}
}

func (a *socketApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	w.Header().Set("X-App", "sockets")
	switch r.URL.Path {
	case "/ws":
		a.webSocket(w, r)
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		flush := http.NewResponseController(w).Flush
		_ = flush()
		for {
			select {
			case text := <-a.wait(id):
				_, _ = fmt.Fprintf(w, "data: %s\n\n", text)
				_ = flush()
			case <-r.Context().Done():
				return
			case <-a.over:
				return
			}
		}
	case "/poll":
		select {
		case text := <-a.wait(id):
			_, _ = io.WriteString(w, text)
		case <-r.Context().Done():
		case <-a.over:
		}
	}
}

func (a *socketApp) webSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, OnPingReceived: func(_ context.Context, payload []byte) bool {
		select {
		case a.pings <- string(payload):
		default:
		}
		return true
	}})
	if err != nil {
		return
	}
	echoMessages(r.Context(), c)
}

// echoMessages sends back each message until the client leaves.
func echoMessages(ctx context.Context, c *websocket.Conn) {
	defer func() { _ = c.CloseNow() }()
	for {
		kind, data, err := c.Read(ctx)
		if err != nil || c.Write(ctx, kind, data) != nil {
			return
		}
	}
}

// wait has what is said to the client of an id.
func (a *socketApp) wait(id string) chan string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waits[id] == nil {
		a.waits[id] = make(chan string, 1)
	}
	return a.waits[id]
}

// events opens server-sent events. Each use is one event, which the client has before the app says
// the next one: none waits in a buffer.
func (o *connections) events(a *socketApp, url string, http2 bool) openConn {
	o.t.Helper()
	client := o.clients.client(true)
	client.Timeout = 0
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = http2
	id := fmt.Sprintf("events %s %v", url, http2)
	req, err := http.NewRequestWithContext(o.t.Context(), http.MethodGet, url+"/events", nil)
	if err != nil {
		o.t.Fatal(err)
	}
	req.URL.RawQuery = "id=" + strings.ReplaceAll(id, " ", "+")
	resp, err := client.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = resp.Body.Close() })
	in := bufio.NewReader(resp.Body)
	n := 0
	return openConn{fmt.Sprintf("events of %s by %s", url, resp.Proto), func() error {
		n++
		text := fmt.Sprintf("event %d", n)
		a.wait(id) <- text
		for _, want := range []string{"data: " + text + "\n", "\n"} {
			if got, err := in.ReadString('\n'); err != nil || got != want {
				return fmt.Errorf("%q, %w", got, err)
			}
		}
		return nil
	}}
}

// longPoll has a request open that the app answers at its next use, by which the client asks again.
func (o *connections) longPoll(a *socketApp, url string) openConn {
	o.t.Helper()
	client := o.clients.client(true)
	client.Timeout = 0
	answers := make(chan answer, 1)
	failed := make(chan error, 1)
	ask := func() {
		got, err := o.clients.get(client, url+"/poll?id=poll", "")
		if err == nil {
			err = ok(got)
		}
		if err != nil {
			failed <- err
			return
		}
		answers <- got
	}
	go ask()
	return openConn{"a long poll of " + url, func() error {
		select {
		case a.wait("poll") <- "news":
		case err := <-failed:
			return err
		}
		select {
		case got := <-answers:
			go ask()
			if got.body != "news" {
				return fmt.Errorf("it says %q", got.body)
			}
			return nil
		case err := <-failed:
			return err
		}
	}}
}

// duplexService echoes each message of a stream.
type duplexService struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (duplexService) FullDuplexCall(stream grpc_testing.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

// startDuplex starts a gRPC server of streams.
func startDuplex(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(s, duplexService{})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

// duplex opens a stream of gRPC in both directions.
func (o *connections) duplex(name string) openConn {
	o.t.Helper()
	config := o.certs.ca.ClientTLS()
	config.ServerName = name
	conn, err := grpc.NewClient("passthrough:///"+o.clients.https, grpc.WithAuthority(name), grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = conn.Close() })
	stream, err := grpc_testing.NewTestServiceClient(conn).FullDuplexCall(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	n := 0
	return openConn{"a gRPC stream of " + name, func() error {
		n++
		want := fmt.Sprint("message ", n)
		if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: &grpc_testing.Payload{Body: []byte(want)}}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		got, err := stream.Recv() // after EOF it says why the stream has ended
		if err == nil && string(got.GetPayload().GetBody()) != want {
			err = fmt.Errorf("it echoes %q", got.GetPayload().GetBody())
		}
		return err
	}}
}

// tcpLines is a client of lines that is meant to stay.
func (o *connections) tcpLines(what string, conn lineConn, name string) openConn {
	return openConn{what, func() error {
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "hello\n"); err != nil {
			return err
		}
		if got, err := conn.line(); err != nil || got != name+" hello" {
			return fmt.Errorf("%s said %q, %w", name, got, err)
		}
		return nil
	}}
}
