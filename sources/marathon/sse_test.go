package marathon

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func readMessages(r io.Reader, limit int) ([]message, error) {
	e := newEventReader(r, limit)
	var list []message
	for {
		m, err := e.next()
		if err != nil {
			return list, err
		}
		list = append(list, m)
	}
}

func show(list []message) string {
	var b strings.Builder
	for _, m := range list {
		b.WriteString(m.name + "=" + string(m.data) + ";")
	}
	return b.String()
}

func TestEventReader(t *testing.T) {
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
	}
	for _, tt := range tests {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
			got, err := readMessages(r, 1000)
			if err != io.EOF || show(got) != tt.want {
				t.Errorf("%s: %q, %v; want %q and EOF", tt.name, show(got), err, tt.want)
			}
		}
	}
}

// TestEventReaderDeliversAtOnce has a message come out at its blank line's CR,
// without waiting for the LF that may or may not follow.
func TestEventReaderDeliversAtOnce(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	defer in.Close()
	go func() {
		for _, part := range []string{"data: 1\r", "\n\r", "\n", "\r", "\n", "event: b\r\ndata: 2\r\n\r"} {
			_, _ = out.Write([]byte(part))
		}
	}()
	e := newEventReader(in, 1000)
	for _, want := range []string{"=1;", "b=2;"} {
		m, err := e.next()
		if got := show([]message{m}); err != nil || got != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
}

func TestEventReaderLimit(t *testing.T) {
	t.Parallel()
	long := "data: " + strings.Repeat("x", 1<<20)
	if list, err := readMessages(strings.NewReader(long+"\n\n"), 2<<20); err != io.EOF || len(list) != 1 || len(list[0].data) != 1<<20 {
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
