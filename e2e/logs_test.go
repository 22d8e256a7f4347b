package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"relay/internal/logtest"
)

// listenSyslog takes messages with their length before them, and has a line for each.
func listenSyslog(t *testing.T) (address string, got *logtest.Buffer) {
	t.Helper()
	got = new(logtest.Buffer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			for in := bufio.NewReader(conn); ; {
				length, err := in.ReadString(' ')
				n, bad := strconv.Atoi(strings.TrimSpace(length))
				message := make([]byte, max(n, 0))
				if _, short := io.ReadFull(in, message); errors.Join(err, bad, short) != nil {
					_ = conn.Close()
					break
				}
				_, _ = got.Write(append(message, '\n'))
			}
		}
	}()
	return listener.Addr().String(), got
}

// What Relay says on standard error goes by syslog too, from its first to its last line; standard error has what it
// had before.
func TestSyslog(t *testing.T) {
	w := newWorld(t)
	address, got := listenSyslog(t)
	p := w.relay.startProcess("--log-syslog", "tcp://"+address, "--log-syslog-facility", "local0")
	w.eventually("Relay serves", func() error {
		if len(got.Lines("apps_published")) == 0 {
			return errors.New("no line says so")
		}
		return nil
	})
	if sent, ok := p.admin.metric("relay_log_lines_sent_total"); !ok || sent < 3 {
		t.Errorf("%v lines are counted", sent)
	}
	p.terminate()
	w.eventually("the last line", func() error {
		if len(got.Lines(" stopped ")) == 0 {
			return errors.New(got.String())
		}
		return nil
	})
	var events, sent []string
	for line := range strings.Lines(w.relay.log.String()) {
		_, rest, _ := strings.Cut(line, " event=")
		event, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if events = append(events, event); !strings.HasPrefix(line, "time=") {
			t.Errorf("standard error: %s", line)
		}
	}
	for line := range strings.Lines(got.String()) {
		f := strings.Fields(line)
		if sent = append(sent, f[5]); f[3] != "relay" || !strings.HasPrefix(line, "<1") {
			t.Errorf("a message: %s", line)
		}
	}
	if strings.Join(events, " ") != strings.Join(sent, " ") {
		t.Errorf("sent   %q\nstderr %q", sent, events)
	}
}

// With --log-format ecs each line is JSON with the names of the Elastic Common Schema.
func TestECSLog(t *testing.T) {
	w := newWorld(t)
	p := w.relay.startProcess("--log-format", "ecs")
	w.eventually("Relay serves", func() error {
		if len(w.relay.log.Lines(`"event.action":"apps_published"`)) == 0 {
			return errors.New("no line says so")
		}
		return nil
	})
	p.terminate()
	for line := range strings.Lines(w.relay.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for _, name := range []string{"@timestamp", "log.level", "message", "event.action", "service.name", "ecs.version"} {
			if fmt.Sprint(fields[name]) == "" || fields[name] == nil {
				t.Errorf("no %s in %s", name, line)
			}
		}
	}
}
