package device

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/probe"
)

// All steps are made, in their order, with time and limit.
func TestAllSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	r := w.probe()
	if !r.OK || !r.Answered || r.Reason != "" || r.CertificateExpires.IsZero() || r.Status != http.StatusNoContent {
		t.Fatalf("%+v", r)
	}
	var names []string
	var sum time.Duration
	for _, s := range r.Steps {
		names = append(names, s.Name)
		sum += s.Duration
		if !s.OK || s.Duration <= 0 || s.Limit <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if want := "connect, tls, hello, message to the agent, message from the agent, http to the agent, http from the agent"; strings.Join(names, ", ") != want {
		t.Errorf("steps: %s", names)
	}
	if r.Duration < sum {
		t.Errorf("it took %s, its steps %s", r.Duration, sum)
	}
	discreet(t, r)
	if n := w.prober.UnknownCalls(); n != 0 {
		t.Errorf("%d calls were unknown", n)
	}
	eventually(t, "its connections are closed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.conns) == 0
	})
}

// One that is not in the settings is told so.
func TestUnknownDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.target.Name = "acme-2"
	if r := w.probe(); r.OK || r.Reason == "" {
		t.Errorf("%+v", r)
	}
}

// instead answers lines that begin with a word in another way.
func instead(word string, answer func(net.Conn, string)) func(*world) {
	return func(w *world) {
		w.answer = func(conn net.Conn, line string) {
			if strings.HasPrefix(line, word) {
				answer(conn, line)
			} else {
				wellAnswered(conn, line)
			}
		}
	}
}

func says(text string) func(net.Conn, string) {
	return func(conn net.Conn, line string) {
		_, _ = fmt.Fprint(conn, strings.ReplaceAll(text, "%s", append(strings.Fields(line), "", "")[1]))
	}
}

func nothing(net.Conn, string) {}

func hangsUp(conn net.Conn, _ string) { _ = conn.Close() }

// agentInstead answers requests whose path ends so in another way.
func agentInstead(suffix string, answer http.HandlerFunc) func(*world) {
	return func(w *world) {
		w.agent = func(rw http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, suffix) {
				answer(rw, r)
			} else {
				wellAsked(rw, r)
			}
		}
	}
}

func status(code int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for n := 0; n+1 < len(headers); n += 2 {
			w.Header().Set(headers[n], headers[n+1])
		}
		w.WriteHeader(code)
	}
}

// silent never answers, not even a client that is about to close the connection.
func silent(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, text) }
}

// Each step is broken in turn: that one fails, and says what was seen.
func TestEachStepFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		broken     func(*world)
		step, seen string
	}{
		"nothing listens":            {func(w *world) { w.target.Address = "127.0.0.1:1" }, Connect, "the connection was refused"},
		"no secret":                  {func(w *world) { w.device.SecretFile = w.path("none") }, Connect, "the secret file cannot be used"},
		"the edge says nothing":      {func(w *world) { w.serverTLS, w.answer = nil, nothing }, TLS, "no answer within 200ms"},
		"another name":               {func(w *world) { w.target.ServerName = "other.test" }, TLS, "certificate for devices.test, expires "},
		"no greeting":                {instead("HELLO", nothing), Hello, "no answer within 200ms"},
		"not let in":                 {instead("HELLO", says("ERROR 401 not allowed\n")), Hello, `nothing that fits came in time; 22 bytes came: "ERROR 401 not allowed"`},
		"taken for another":          {instead("HELLO", says("WELCOME serial-4712-b\n")), Hello, `"WELCOME …", which is for another device, or answers another message`},
		"hung up at once":            {instead("HELLO", hangsUp), Hello, "the connection was closed"},
		"the agent is away":          {instead("SAY", nothing), MessageToAgent, "no answer within 200ms"},
		"the agent of another hears": {instead("SAY", says("HEARD 0123456789abcdef\n")), MessageToAgent, "which is for another device"},
		"refused and hung up":        {instead("SAY", func(c net.Conn, _ string) { _, _ = fmt.Fprint(c, "NO AGENT\n"); _ = c.Close() }), MessageToAgent, `what came does not fit, and then the connection was closed; 10 bytes came: "NO AGENT"`},
		"the agent says nothing":     {instead("SAY", says("HEARD %s\n")), MessageFromAgent, "no answer within 200ms"},
		"another device's text":      {instead("SAY", says("HEARD %s\nAGENT serial-4712-b says %s\n")), MessageFromAgent, `"AGENT … says {nonce}", which is for another device`},
		"the agent answers 500":      {agentInstead(deviceID, status(500)), HTTPToAgent, "the agent answers 500"},
		"a code that there is not":   {agentInstead(deviceID, status(503, "X-Relay-Error", "\x1b")), HTTPToAgent, ""},
		"no agent by the edge":       {agentInstead(deviceID, status(503, "X-Relay-Error", "offline")), HTTPToAgent, "the Envoy answers offline (503): "},
		"the agent hangs":            {agentInstead(deviceID, silent), HTTPToAgent, "no answer within 200ms"},
		"another agent's answer":     {agentInstead(deviceID, body(`{"agent":"serial-4712-b","n":"0"}`)), HTTPToAgent, "which is for another device"},
		"nonsense":                   {agentInstead(deviceID, body("<html>")), HTTPToAgent, `the agent's answer does not fit: "<html>"`},
		"the agent cannot call":      {agentInstead("/calls", status(502)), HTTPFromAgent, "no call came, and to the request for it the agent answers 502"},
		"the agent does not call":    {agentInstead("/calls", status(200)), HTTPFromAgent, "no call came from the agent within 4s"},
		"the agent thinks":           {agentInstead("/calls", silent), HTTPFromAgent, "no call came, and to the request for it no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			// A step that must fail for want of an answer has little time. One that fails by what came, or until
			// the end of its time by what did, has enough for that on a busy machine that stands still for seconds.
			w.limits(10 * time.Second)
			limit := map[string]*time.Duration{
				Connect: &w.device.Limits.Connect, TLS: &w.device.Limits.TLS, Hello: &w.device.Limits.Hello, MessageToAgent: &w.device.Limits.MessageToAgent,
				MessageFromAgent: &w.device.Limits.MessageFromAgent, HTTPToAgent: &w.device.Limits.HTTPToAgent, HTTPFromAgent: &w.device.Limits.HTTPFromAgent,
			}[tt.step]
			switch {
			case strings.Contains(tt.seen, "200ms") || strings.Contains(tt.seen, "no answer in time"):
				*limit = 200 * time.Millisecond
			case strings.Contains(tt.seen, "in time") || strings.Contains(tt.seen, "is for another device") || strings.Contains(tt.seen, "within 4s"):
				*limit = 4 * time.Second
			}
			tt.broken(w)
			w.start()
			fails(t, w.probe(), tt.step, tt.seen)
		})
	}
}

// An app that sleeps, as the edge says, is no failure.
func TestAsleepIsSkipped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agentInstead(deviceID, status(503, "X-Relay-Error", "asleep"))(w)
	w.start()
	if r := w.probe(); r.Skipped != "the app sleeps" {
		t.Errorf("%+v", r)
	}
}

// What is asked by HTTP is marked as a probe's.
func TestRequestsAreMarked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	marks := make(chan string, 2)
	w.agent = func(rw http.ResponseWriter, r *http.Request) {
		marks <- r.UserAgent() + " " + r.Header.Get(probe.Header) + " " + r.Host + " " + r.Header.Get("X-Request-Id")[:6]
		wellAsked(rw, r)
	}
	w.start()
	if r := w.probe(); !r.OK {
		t.Fatal(r.Reason)
	}
	for range 2 {
		if got := <-marks; got != "Relay-Probe/1 here agents.test probe-" {
			t.Error(got)
		}
	}
}

// An edge that wants certificates of who asks by HTTP gets that of the device.
func TestHTTPWithCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Int64
	w.agent = func(rw http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			rw.WriteHeader(http.StatusForbidden)
			return
		}
		asked.Add(1)
		wellAsked(rw, r)
	}
	w.start()
	if r := w.probe(); !r.OK || asked.Load() != 2 {
		t.Errorf("%+v", r)
	}
}

// The whole is bounded too.
func TestNoTimeLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limits(8 * time.Second)
	instead("SAY", nothing)(w)
	w.start()
	fails(t, within(t, w, 4*time.Second), MessageToAgent, "no answer until the probe's time was over")
}
