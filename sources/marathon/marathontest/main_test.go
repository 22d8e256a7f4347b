package marathontest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for something that must happen, also on a busy machine.
const patience = time.Minute

// quick are options for tests that wait for deployments. No heartbeat comes between events.
var quick = Options{LaunchDelay: time.Millisecond, KillGrace: 10 * time.Millisecond, PublishLag: time.Millisecond, Heartbeat: time.Hour}

func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	return &http.Client{
		Transport:     tr,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func bound(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// call makes a request and returns status, header and body.
func call(t *testing.T, method, url, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(bound(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the body: %v", method, url, err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

func apply(t *testing.T, s *Server, definition string) {
	t.Helper()
	if err := s.Apply(definition); err != nil {
		t.Fatal(err)
	}
}

func waitIdle(t *testing.T, s *Server) {
	t.Helper()
	if err := s.WaitIdle(bound(t)); err != nil {
		t.Fatal(err)
	}
}

func awaitType(t *testing.T, s *Server, after uint64, eventType, containing string) Event {
	t.Helper()
	e, err := s.AwaitEvent(bound(t), after, func(e Event) bool {
		return e.Type == eventType && strings.Contains(string(e.Data), containing)
	})
	if err != nil {
		t.Fatalf("%s with %q: %v", eventType, containing, err)
	}
	return e
}

// wire is a raw connection to /v2/events.
type wire struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dialEvents(t *testing.T, s *Server, query string, header ...string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if len(header) == 0 {
		header = []string{"Accept: text/event-stream"}
	}
	io.WriteString(conn, "GET /v2/events"+query+" HTTP/1.1\r\nHost: marathon\r\n"+strings.Join(header, "\r\n")+"\r\n\r\n")
	return &wire{t, conn, bufio.NewReader(conn)}
}

func (w *wire) line() string {
	w.t.Helper()
	line, err := w.r.ReadString('\n')
	if err != nil {
		w.t.Fatalf("after %q: %v", line, err)
	}
	return line
}

func (w *wire) header() []string {
	w.t.Helper()
	var lines []string
	for {
		line := w.line()
		if line == "\r\n" {
			return lines
		}
		lines = append(lines, strings.TrimSuffix(line, "\r\n"))
	}
}

// event reads one frame, which must be as Marathon writes it.
func (w *wire) event() (name string, payload map[string]any) {
	w.t.Helper()
	name, ok := strings.CutPrefix(w.line(), "event: ")
	data, ok2 := strings.CutPrefix(w.line(), "data: ")
	if end := w.line(); !ok || !ok2 || end != "\r\n" || !strings.HasSuffix(name, "\r\n") {
		w.t.Fatalf("frame: %q, %q, %q", name, data, end)
	}
	if err := json.Unmarshal([]byte(data), &payload); err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSuffix(name, "\r\n"), payload
}

// end fails unless the stream ends without another byte.
func (w *wire) end() {
	w.t.Helper()
	rest, err := io.ReadAll(w.r)
	if err != nil || len(rest) > 0 {
		w.t.Fatalf("stream goes on: %q, %v", rest, err)
	}
}
