package device

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"relay/certs/certstest"
	"relay/probe"
	"relay/xds/envoytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	deviceID = "serial-4711-a"
	password = "open-sesame-1"
	patience = 20 * time.Second
)

// world is a connection server, an agent, and a probe that asks them. What is broken is set by tests before they probe.
type world struct {
	t        testing.TB
	ca       *certstest.CA        // of servers
	devices  *certstest.Authority // of devices
	dir      string
	device   probe.DeviceSettings
	target   probe.Target
	callback probe.CallbackSettings
	prober   *Prober

	mu sync.Mutex
	// answer is what the connection server makes of a line.
	answer func(conn net.Conn, line string)
	// agent is what the agent makes of a request.
	agent http.HandlerFunc
	// verify, when set, refuses certificates. serverTLS is that of the connection server.
	verify    func(leaf *x509.Certificate) error
	serverTLS *tls.Config
	// shown are the serial numbers of certificates that were shown.
	shown []string
	conns map[net.Conn]bool
}

// newWorld starts the servers, and a probe with a device for which all is well.
func newWorld(t testing.TB) *world {
	w := &world{t: t, ca: certstest.TestCA(t), devices: certstest.TestRoot(t, "Devices", time.Now().Add(-100*time.Hour), time.Now().Add(100*time.Hour)), dir: t.TempDir(), answer: wellAnswered, agent: wellAsked, conns: make(map[net.Conn]bool)}
	w.write("ca.pem", w.ca.RootPEM())
	w.write("secret", []byte(password+"\n"))
	w.show(w.devices.TestIssue(t, []string{"device"}, certstest.Options{}))
	w.serve(w.ca.TestIssue(t, []string{"devices.test"}, certstest.Options{}))
	agents := w.serveAgents()
	port := envoytest.FreePort(t)
	w.callback = probe.CallbackSettings{Listen: fmt.Sprint("127.0.0.1:", port), URL: fmt.Sprint("http://127.0.0.1:", port, "/callback/")}
	w.device = probe.DeviceSettings{
		Name: "acme-1", ServerName: "devices.test", ID: deviceID,
		Certificate: w.path("device.pem"), Key: w.path("device.key"), CA: w.path("ca.pem"), SecretFile: w.path("secret"),
		Hello:            &probe.DeviceExchange{Send: "HELLO {id} {secret}\n", Expect: `^WELCOME {id}$`},
		MessageToAgent:   &probe.DeviceExchange{Send: "SAY {nonce}\n", Expect: `^HEARD {nonce}\n`},
		MessageFromAgent: &probe.DeviceExchange{Expect: `^AGENT {id} says {nonce}\n`},
		HTTPToAgent:      &probe.DeviceRequest{URL: "https://agents.test/agents/{id}?n={nonce}", Headers: map[string]string{"Authorization": "Bearer {secret}"}, Expect: `"agent":"{id}","n":"{nonce}"`},
		HTTPFromAgent:    &probe.DeviceExchange{Request: &probe.DeviceRequest{Method: "POST", URL: "https://agents.test/agents/{id}/calls?to={callback}"}},
	}
	host, devicePort, _ := net.SplitHostPort(w.target.Address)
	_, _ = fmt.Sscan(devicePort, &w.device.Port)
	w.target = w.device.Target("edge", "envoy-1", host)
	w.target.HTTPSAddress = agents
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name string, content []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// show writes the certificate that the device shows.
func (w *world) show(issued *certstest.Issued) {
	w.write("device.pem", certstest.Join(issued.Leaf, issued.Chain))
	w.write("device.key", issued.Key)
}

// serve starts the connection server.
func (w *world) serve(issued *certstest.Issued) {
	config, err := issued.ServerTLS()
	if err != nil {
		w.t.Fatal(err)
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	config.ClientCAs.AppendCertsFromPEM(w.devices.PEM())
	config.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.shown = append(w.shown, chains[0][0].SerialNumber.String())
		if w.verify != nil {
			return w.verify(chains[0][0])
		}
		return nil
	}
	w.serverTLS = config
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.target.Address = l.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.conns[conn] = true
			w.mu.Unlock()
			serving.Go(func() { w.talk(conn) })
		}
	})
	w.t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		for conn := range w.conns {
			_ = conn.Close()
		}
		w.mu.Unlock()
		serving.Wait()
	})
}

func (w *world) talk(raw net.Conn) {
	defer func() {
		_ = raw.Close()
		w.mu.Lock()
		delete(w.conns, raw)
		w.mu.Unlock()
	}()
	w.mu.Lock()
	config, answer := w.serverTLS, w.answer
	w.mu.Unlock()
	conn := raw
	if config != nil {
		conn = tls.Server(raw, config)
		defer func() { _ = conn.Close() }()
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		answer(conn, lines.Text())
	}
}

func (w *world) serveAgents() (address string) {
	config, err := w.ca.TestIssue(w.t, []string{"agents.test"}, certstest.Options{}).ServerTLS()
	if err != nil {
		w.t.Fatal(err)
	}
	server := w.agentServer()
	server.TLS = config
	server.TLS.ClientAuth = tls.RequestClientCert
	server.StartTLS()
	return server.Listener.Addr().String()
}

// servePlainAgents starts one that speaks without TLS.
func (w *world) servePlainAgents() (address string) {
	server := w.agentServer()
	server.Start()
	return server.Listener.Addr().String()
}

func (w *world) agentServer() *httptest.Server {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		agent := w.agent
		w.mu.Unlock()
		agent(rw, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.t.Cleanup(server.Close)
	return server
}

// wellAnswered is a connection server, and the agent's part of messages.
func wellAnswered(conn net.Conn, line string) {
	words := append(strings.Fields(line), "", "")
	switch words[0] {
	case "HELLO":
		if words[2] == password {
			_, _ = fmt.Fprintf(conn, "WELCOME %s\n", words[1])
		}
	case "SAY":
		_, _ = fmt.Fprintf(conn, "HEARD %s\nAGENT %s says %s\n", words[1], deviceID, words[1])
	}
}

// wellAsked is the agent's part of HTTP.
func wellAsked(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/agents/"+deviceID && r.Header.Get("Authorization") == "Bearer "+password:
		_, _ = fmt.Fprintf(w, `{"agent":"%s","n":"%s"}`, deviceID, r.URL.Query().Get("n"))
	case r.Method == "POST" && r.URL.Path == "/agents/"+deviceID+"/calls":
		calls(w, r.URL.Query().Get("to"))
	default:
		http.NotFound(w, r)
	}
}

func calls(w http.ResponseWriter, url string) {
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url)
	if err != nil {
		http.Error(w, "cannot call", http.StatusBadGateway)
		return
	}
	_ = resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
}

// start makes the probe of the settings, and has it take calls.
func (w *world) start() {
	w.t.Helper()
	w.mu.Lock() // the servers read what was broken behind it
	defer w.mu.Unlock()
	settings := []probe.DeviceSettings{w.device}
	w.prober = New(Options{
		Devices: settings, Callback: w.callback, Place: "here", Log: slog.New(slog.DiscardHandler),
		Roots: func() (*x509.CertPool, error) { return w.ca.ClientTLS().RootCAs, nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.prober.Serve(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
	})
	eventually(w.t, "the probe takes calls", w.prober.callbacks.serving.Load)
}

func eventually(t testing.TB, what string, held func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !held(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

// limits makes steps that get no answer end soon.
func (w *world) limits(d time.Duration) {
	w.device.Limits = probe.DeviceLimits{Connect: d, TLS: d, Hello: d, MessageToAgent: d, MessageFromAgent: d, HTTPToAgent: d, HTTPFromAgent: d}
}

func (w *world) probe() probe.Result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return w.prober.Probe(ctx, w.target)
}

// fails checks that exactly one step failed, and what was seen.
func fails(t *testing.T, r probe.Result, step, seen string) {
	t.Helper()
	last := len(r.Steps) - 1
	for n, s := range r.Steps {
		if s.OK != (n < last) {
			t.Fatalf("step %s: %+v", s.Name, r.Steps)
		}
	}
	if r.OK || last < 0 || r.Steps[last].Name != step || !strings.Contains(r.Steps[last].Seen, seen) || r.Reason != step+": "+r.Steps[last].Seen {
		t.Fatalf("failed: %q; want %s to fail with %q", r.Reason, step, seen)
	}
	discreet(t, r)
}

// discreet checks that a result has nothing secret.
func discreet(t *testing.T, r probe.Result) {
	t.Helper()
	for _, secret := range []string{deviceID, password, "/callback/"} {
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, secret) {
			t.Errorf("%q is in the result: %s", secret, text)
		}
	}
}

var errNotLiked = errors.New("not liked")
