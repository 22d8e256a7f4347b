package marathon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// givenBody answers each request with an event stream.
type givenBody struct {
	io.Reader
	requests int
}

func (g *givenBody) RoundTrip(r *http.Request) (*http.Response, error) {
	g.requests++
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: io.NopCloser(g.Reader)}
	resp.Header.Set("Content-Type", "text/event-stream")
	return resp, nil
}

// newStreamClient returns a client whose event stream is r.
func newStreamClient(r io.Reader) (*client, *givenBody) {
	given := &givenBody{Reader: r}
	base := &url.URL{Scheme: "http", Host: "m"}
	return &client{http: &http.Client{Transport: given}, servers: []server{{url: base}}, idle: time.Minute}, given
}

// readMessages reads an event stream to its end.
func readMessages(r io.Reader, limit int) ([]message, error) {
	c, given := newStreamClient(r)
	var list []message
	err := c.events(context.Background(), target{base: c.servers[0].url, origin: c.servers[0]}, limit, func(target, string) {}, func(m message) { list = append(list, m) })
	if given.requests != 1 {
		return nil, fmt.Errorf("%d requests were made", given.requests)
	}
	return list, err
}

// specified reads a whole event stream by the rules of the HTML standard ("Server-sent
// events", parsing an event stream), except for what Marathon does not send: a message
// whose data is empty is left out, and so is a field name without a colon, but for "data".
func specified(stream []byte) []message {
	text := strings.TrimPrefix(string(stream), "\xef\xbb\xbf")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	var list []message
	var name string
	var data []string
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] {
		field, value, colon := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if whole := strings.Join(data, "\n"); whole != "" {
				list = append(list, message{name, []byte(whole)})
			}
			name, data = "", nil
		case field == "event" && colon:
			name = value
		case field == "data":
			data = append(data, value)
		}
	}
	return list
}

func show(list []message) string {
	var b strings.Builder
	for _, m := range list {
		b.WriteString(m.name + "=" + string(m.data) + ";")
	}
	return b.String()
}

func TestEvents(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"as Marathon sends it", "event: a\r\ndata: 1\r\n\r\nevent: b\r\ndata: 2\r\n\r\n", "a=1;b=2;"},
		{"LF", "event: a\ndata: 1\n\ndata: 2\n\n", "a=1;=2;"},
		{"CR", "event: a\rdata: 1\r\rdata: 2\r\r", "a=1;=2;"},
		{"mixed", "event: a\rdata: 1\n\r\ndata: 2\r\n\n", "a=1;=2;"},
		{"heartbeats", "\r\n\r\nevent: a\r\ndata: 1\r\n\r\n\r\n\r\n", "a=1;"},
		{"without event", "data: 1\n\n", "=1;"},
		{"without space", "event:a\ndata:1\n\n", "a=1;"},
		{"one space only", "data:  1\n\n", "= 1;"},
		{"several lines", "data: 1\ndata\ndata: 2\n\n", "=1\n\n2;"},
		{"comments and others", ": c\nid: 7\nretry: 9\ndatax: 3\ndata: 1\n\n", "=1;"},
		{"a name without data is no message", "event: a\n\ndata: 1\n\n", "=1;"},
		{"byte order mark", "\xef\xbb\xbfdata: 1\n\n", "=1;"},
		{"cut in the data", "data: 1\n\ndata: {\"x", "=1;"},
		{"cut before the blank line", "data: 1\n\ndata: 2\n", "=1;"},
		{"nothing", "", ""},
		{"data is empty: the library leaves it out", "event: a\ndata:\n\ndata\n\ndata: 1\n\n", "=1;"},
		{"a name without a colon: the library leaves it out", "event: a\nevent\ndata: 1\n\n", "a=1;"},
		{"an id and no data", "id: 7\n\n: c\n\ndata: 1\n\n", "=1;"},
	}
	for _, tt := range tests {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			got, err := readMessages(r, 1000)
			if !errors.Is(err, errStreamEnded) || show(got) != tt.want {
				t.Errorf("%s: %q, %v; want %q and the end", tt.name, show(got), err, tt.want)
			}
			if got := show(specified([]byte(tt.in))); got != tt.want {
				t.Errorf("%s: by the standard it is %q, want %q", tt.name, got, tt.want)
			}
		}
	}
}

// TestEventsAreDeliveredAtOnce has a message come out at its blank line's CR,
// without waiting for the LF that may or may not follow.
func TestEventsAreDeliveredAtOnce(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	defer in.Close()
	go func() {
		for _, part := range []string{"data: 1\r", "\n\r", "\n", "\r", "\n", "event: b\r\ndata: 2\r\n\r"} {
			_, _ = out.Write([]byte(part))
		}
	}()
	c, _ := newStreamClient(in)
	got := make(chan message)
	go func() {
		defer close(got)
		_ = c.events(t.Context(), target{base: c.servers[0].url, origin: c.servers[0]}, 1000, func(target, string) {}, func(m message) { got <- m })
	}()
	for _, want := range []string{"=1;", "b=2;"} {
		if got := show([]message{<-got}); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	}
	in.Close()
	for range got { // until the reader has ended
	}
}

func TestEventLimit(t *testing.T) {
	t.Parallel()
	long := "data: " + strings.Repeat("x", 1<<20)
	if list, err := readMessages(strings.NewReader(long+"\n\n"), 2<<20); !errors.Is(err, errStreamEnded) || len(list) != 1 || len(list[0].data) != 1<<20 {
		t.Errorf("%d messages, %v", len(list), err)
	}
	if _, err := readMessages(strings.NewReader(long+"\n"+long), 1<<20); !errors.Is(err, errEventTooLong) {
		t.Errorf("%v, want %v", err, errEventTooLong)
	}
	if _, err := readMessages(strings.NewReader(strings.Repeat("data: x\n", 200)), 1000); !errors.Is(err, errEventTooLong) {
		t.Errorf("many lines: %v, want %v", err, errEventTooLong)
	}
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte("event: status_update_event\r\ndata: {\"eventType\":\"status_update_event\",\"appId\":\"/a\"}\r\n\r\n"), uint8(3))
	f.Add([]byte("data: {\"eventType\":\"deployment_info\",\"plan\":{\"steps\":[{\"actions\":[{\"app\":\"/a\"},null]}]},\"currentStep\":null}\n\n"), uint8(1))
	f.Add([]byte("\xef\xbb\xbf\r\n\r\r\ndata\rdata:\n\n"), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		whole, _ := readMessages(bytes.NewReader(data), 1<<20)
		at := min(int(cut), len(data))
		parts, _ := readMessages(io.MultiReader(bytes.NewReader(data[:at]), iotest.OneByteReader(bytes.NewReader(data[at:]))), 1<<20)
		if show(whole) != show(parts) {
			t.Errorf("in one piece %q, in several %q", show(whole), show(parts))
		}
		if want := specified(data); show(whole) != show(want) {
			t.Errorf("got %q, want %q", show(whole), show(want))
		}
		d := deployments{}
		for _, m := range whole {
			c, err := parseEvent(m, true)
			if err != nil {
				continue
			}
			ids, _ := d.apply(c)
			for _, id := range ids {
				if clean, ok := cleanID(id); !ok || clean != id {
					t.Errorf("id %q cannot be read", id)
				}
			}
		}
	})
}
