package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// collector is one whose state a test sets.
type collector struct {
	mu sync.Mutex
	// state is "well", "refuses", "silent" (nothing answers when one connects) or "deaf" (it takes a connection and
	// reads nothing).
	state string
	got   []string
	conns []net.Conn
}

func (c *collector) set(state string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.state, c.conns = state, nil
}

func (c *collector) dial(ctx context.Context) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case "refuses":
		return nil, errors.New("connection refused")
	case "silent":
		c.mu.Unlock()
		<-ctx.Done()
		c.mu.Lock()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	c.conns = append(c.conns, theirs)
	if c.state == "well" {
		go c.read(theirs)
	}
	return ours, nil
}

// read takes messages with their length before them.
func (c *collector) read(conn net.Conn) {
	for in := bufio.NewReader(conn); ; {
		length, err := in.ReadString(' ')
		n, bad := strconv.Atoi(strings.TrimSpace(length))
		if err != nil || bad != nil {
			return
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(in, message); err != nil {
			return
		}
		c.mu.Lock()
		c.got = append(c.got, string(message))
		c.mu.Unlock()
	}
}

func (c *collector) lines(words string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.got {
		if strings.Contains(m, words) {
			n++
		}
	}
	return n
}

// newSyslog returns a logger that goes to the collector, and what begins to send.
func newSyslog(c *collector) (s *Syslog, log *slog.Logger) {
	s = NewSyslog(Config{Address: "tcp://logs.test:514", Facility: "daemon"}, prometheus.NewRegistry())
	s.dial = c.dial
	return s, slog.New(s.Handler(func(slog.Level) bool { return true }))
}

func counted(c prometheus.Metric) float64 {
	var m dto.Metric
	_ = c.Write(&m)
	return m.Counter.GetValue()
}

// Whatever a collector does, who logs does not wait. What waits is bounded, and what is dropped is counted, and said
// when the collector is back. What waited comes in its order.
func TestDeadCollectors(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"refuses", "silent", "deaf"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &collector{state: "well"}
				s, log := newSyslog(c)
				stop := s.Start(log)
				log.Info("first", "event", "first")
				synctest.Wait()
				c.set(state)
				const many = 20_000
				began := time.Now()
				for i := range many {
					log.Info("line", "event", "many", "n", i, "long", strings.Repeat("x", 1000))
				}
				if took := time.Since(began); took != 0 {
					t.Errorf("who logs waited %s", took)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				s.mu.Lock()
				waiting := s.bytes
				s.mu.Unlock()
				lost := int(counted(s.dropped))
				if waiting > maxWaiting || waiting < maxWaiting/2 || lost < many/2 {
					t.Errorf("%d bytes wait, %d lines are lost", waiting, lost)
				}
				c.set("well")
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := c.lines(`event="many"`); n+lost < many || n+lost > many+1 {
					t.Errorf("%d lines came and %d were lost, of %d", n, lost, many)
				}
				if c.lines("syslog_reached") != 1 || c.lines(fmt.Sprintf(`lost="%d"`, lost)) != 1 {
					t.Errorf("it is said %d times, with %d lost lines %d times", c.lines("syslog_reached"), lost, c.lines(fmt.Sprintf(`lost="%d"`, lost)))
				}
				stop()
			})
		})
	}
}

// A collector that was away is said to be so once, however often it is tried.
func TestOutageIsSaidOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &collector{state: "refuses"}
		s, log := newSyslog(c)
		stop := s.Start(log)
		log.Info("line", "event", "one")
		time.Sleep(10 * time.Minute)
		c.set("well")
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.lines("syslog_unreachable") != 1 || c.lines("syslog_reached") != 1 || c.lines(`event="one"`) != 1 || counted(s.dropped) != 0 {
			t.Errorf("%q", c.got)
		}
		stop()
	})
}

// A collector that closes its connection loses no line but one that was under way.
func TestCollectorRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &collector{state: "well"}
		s, log := newSyslog(c)
		stop := s.Start(log)
		for i := range 5 {
			log.Info("line", "event", "one", "n", i)
			time.Sleep(time.Minute)
			c.set("well") // all connections end
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		if n := c.lines(`event="one"`); n != 5 {
			t.Errorf("%d lines came: %q", n, c.got)
		}
		stop()
	})
}

// What is logged last is sent, and a collector that hangs keeps no Relay from ending.
func TestLastLines(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]int{"well": 100, "deaf": 0, "refuses": 0} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &collector{state: state}
				s, log := newSyslog(c)
				stop := s.Start(log)
				for range 100 {
					log.Info("line", "event", "last")
				}
				began := time.Now()
				if stop(); time.Since(began) > lastLimit+time.Second {
					t.Errorf("it took %s", time.Since(began))
				}
				if n := c.lines("last"); n != want {
					t.Errorf("%d lines came", n)
				}
				c.set("refuses")
			})
		})
	}
}

// A port of UDP that is closed takes every other datagram: that is no collector that is back.
func TestClosedDatagramPort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &collector{state: "well"}
		s := NewSyslog(Config{Address: "udp://logs.test:514", Facility: "daemon"}, prometheus.NewRegistry())
		closed, writes := true, 0
		s.dial = func(context.Context) (net.Conn, error) {
			return datagrams{func(m string) error {
				if writes++; closed && writes%2 == 0 {
					return errors.New("connection refused")
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				c.got = append(c.got, m)
				return nil
			}}, nil
		}
		log := slog.New(s.Handler(func(slog.Level) bool { return true }))
		stop := s.Start(log)
		for range 30 {
			log.Info("line", "event", "one")
			time.Sleep(10 * time.Second)
		}
		if c.lines("syslog_unreachable") != 1 || c.lines("syslog_reached") != 0 {
			t.Errorf("said to be away %d times, and back %d times", c.lines("syslog_unreachable"), c.lines("syslog_reached"))
		}
		closed = false
		for range 10 {
			log.Info("line", "event", "one")
			time.Sleep(10 * time.Second)
		}
		if c.lines("syslog_reached") != 1 {
			t.Errorf("said to be back %d times", c.lines("syslog_reached"))
		}
		stop()
	})
}

// datagrams is a connection without one.
type datagrams struct{ write func(string) error }

func (d datagrams) Write(p []byte) (int, error)    { return len(p), d.write(string(p)) }
func (datagrams) Read([]byte) (int, error)         { return 0, io.EOF }
func (datagrams) Close() error                     { return nil }
func (datagrams) LocalAddr() net.Addr              { return nil }
func (datagrams) RemoteAddr() net.Addr             { return nil }
func (datagrams) SetDeadline(time.Time) error      { return nil }
func (datagrams) SetReadDeadline(time.Time) error  { return nil }
func (datagrams) SetWriteDeadline(time.Time) error { return nil }

func TestTargets(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"udp://10.0.0.1:514": "", "tcp://logs.test:601": "", "tls://[::1]:6514": "", "tls://logs.test:6514/": "", "unix:///dev/log": "", "": "",
		"logs.test:514": "is no", "http://logs.test:514": "is not", "udp://logs.test": "is not", "udp://:514": "is not", "tcp://logs.test:0": "is not",
		"unix://dev/log": "is not", "unix:///": "is not", "tls://u:s3cret@logs.test:6514": "is not", "tls://logs.test:6514/x": "is not", "tcp://logs.test:601?token=s3cret": "is not", "%": "is no",
	} {
		err := Config{Address: address, Facility: "daemon"}.Validate()
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
	for want, c := range map[string]Config{
		"is none":         {Address: "udp://h:1", Facility: "kern"},
		"need each other": {Address: "tls://h:1", Facility: "user", CertFile: "c"},
		"for tls:// only": {Address: "tcp://h:1", Facility: "user", CAFile: "c"},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}
