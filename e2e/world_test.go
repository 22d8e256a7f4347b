package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"relay/admin"
	"relay/certs/certstest"
	"relay/certs/dir"
	"relay/collator"
	"relay/internal/logtest"
	"relay/internal/relay"
	"relay/sources/marathon"
	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		program.remove()
		os.Exit(status)
	}))
}

// onDemand names the choice of that what Envoys load when a request needs it.
const onDemand = "on-demand"

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// world is the main job on one machine: Marathon with real tasks, certificates,
// Relay and an Envoy.
type world struct {
	t        *testing.T
	marathon *marathontest.Server
	ca       *certstest.CA
	certs    string
	config   relay.Config
	fleet    *relay.Fleet // the first one of config
	relay    *relay.Relay
	admin    *adminClient
	stop     func()
	envoy    *envoytest.Envoy
	// version is the Envoy's; the newest when empty.
	version     string
	http, https string
	log         *logtest.Buffer
}

// newWorld starts Marathon; the rest is started by the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	w := &world{
		t: t, ca: certstest.TestCA(t), certs: t.TempDir(), log: &logtest.Buffer{},
		http:  fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)),
		https: fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t)),
	}
	// A task that is told to stop serves on for a while, as Mesos lets it: less
	// than it does by default, more than a busy machine takes to tell Envoy.
	w.marathon = marathontest.Start(t, marathontest.Options{KillGrace: time.Second})
	// An empty list would have to be confirmed by a second read, seconds later.
	w.deploy(app("/seed", "seed.test", 1))
	w.config = relay.Config{
		Apps: relay.Apps{Marathon: marathon.Config{URLs: []string{w.marathon.URL()}, SyncInterval: time.Hour}, ACME: "/marathon-acme"},
		Fleets: []relay.Fleet{{Fleet: collator.Fleet{
			Name: "external", HTTP: netip.MustParseAddrPort(w.http), HTTPS: netip.MustParseAddrPort(w.https), Options: collator.DefaultOptions(),
		}}},
		Certificates: relay.Certificates{Dir: dir.Config{Paths: []string{w.certs}}, Grace: time.Hour},
		XDS:          relay.XDSPort{Address: fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))},
		Admin:        relay.AdminPort{Address: "127.0.0.1:0"},
	}
	w.fleet = &w.config.Fleets[0]
	w.pollCertificates(time.Hour)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Relay's log:\n%s", w.log)
		}
	})
	return w
}

// pollCertificates sets the time between two looks at the certificates.
func (w *world) pollCertificates(every time.Duration) {
	w.config.Certificates.Dir.PollInterval, w.config.Certificates.Vault.PollInterval = every, every
}

// startRelay starts Relay; it ends with the test or with w.stop.
func (w *world) startRelay() {
	w.t.Helper()
	if err := w.config.Validate(); err != nil {
		w.t.Fatal(err)
	}
	r, err := relay.New(w.config, slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	w.relay, w.admin = r, newAdminClient(w.t, r.AdminURL(), w.config.Admin)
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("relay serve: %v", err)
		}
	})
	w.t.Cleanup(w.stop)
}

func (w *world) startEnvoy() {
	w.t.Helper()
	w.envoy = envoytest.Start(w.t, envoytest.Options{
		Version: w.version, XDS: []string{w.config.XDS.Address}, ClustersOnDemand: w.fleet.ClustersOnDemand,
	})
}

// start starts Relay and an Envoy, and waits until Envoy serves.
func (w *world) start() {
	w.t.Helper()
	w.startRelay()
	w.startEnvoy()
	w.ready()
}

func (w *world) ready() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.envoy.WaitReady(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// app is the definition of an app with one port and one domain.
func app(id, domain string, instances int, labels ...string) string {
	all := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": domain}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	text, _ := json.Marshal(map[string]any{
		"id": id, "instances": instances, "labels": all, "portDefinitions": []map[string]any{{"port": 0, "protocol": "tcp"}},
	})
	return string(text)
}

// deploy applies definitions and waits until Marathon is done with them.
func (w *world) deploy(definitions ...string) {
	w.t.Helper()
	for _, d := range definitions {
		if err := w.marathon.Apply(d); err != nil {
			w.t.Fatal(err)
		}
	}
	w.idle()
}

func (w *world) idle() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := w.marathon.WaitIdle(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	tls    []string // names of the server's certificate
	serial string
}

func (a answer) task() string { return a.header.Get("X-Task") }

// get asks Envoy for a URL; its host decides the route, not where it connects.
func (w *world) get(client *http.Client, url, host string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	if host != "" {
		req.Host = host
	}
	return w.ask(client, req)
}

func (w *world) ask(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.TLS != nil {
		a.tls, a.serial = resp.TLS.PeerCertificates[0].DNSNames, resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	return a, err
}

// client connects to Envoy whatever the URL says, and follows no redirect.
func (w *world) client(keepAlive bool) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := w.http
			if strings.HasSuffix(address, ":443") {
				to = w.https
			}
			return dialer.DialContext(ctx, network, to)
		},
		TLSClientConfig: w.ca.ClientTLS(), DisableKeepAlives: !keepAlive, ForceAttemptHTTP2: true,
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// eventually waits until check is content.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// expect waits until a URL is answered by this status and, if given, app.
func (w *world) expect(url string, status int, app string) answer {
	w.t.Helper()
	var last answer
	client := w.client(false)
	w.eventually("GET "+url, func() error {
		a, err := w.get(client, url, "")
		if err != nil {
			return err
		}
		last = a
		if got := a.header.Get("X-App"); a.status != status || got != app {
			return fmt.Errorf("status %d by app %q, want %d by %q; body %.200q", a.status, got, status, app, a.body)
		}
		return nil
	})
	return last
}

// writePEM replaces a file of the certificate directory in one step.
func (w *world) writePEM(name string, data []byte) {
	w.t.Helper()
	temporary := filepath.Join(w.certs, "."+name+".new")
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(w.certs, name)); err != nil {
		w.t.Fatal(err)
	}
}

// issue writes a certificate for the names to the directory.
func (w *world) issue(names ...string) *certstest.Issued {
	w.t.Helper()
	issued := w.ca.TestIssue(w.t, names, certstest.Options{})
	w.writePEM(names[0]+".pem", issued.Bundle())
	return issued
}

// hook posts to a hook of the admin endpoint and returns the status.
func (w *world) hook(name string) int {
	w.t.Helper()
	status, _ := w.post(name)
	return status
}

// problem waits for a problem of the subject whose text has the words.
func (w *world) problem(subject, words string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("a problem of %s that says %q", subject, words), func() error {
		all := w.admin.problems()
		for _, p := range all {
			if strings.HasSuffix(p.Subject, subject) && strings.Contains(p.Item+": "+p.Reason, words) {
				return nil
			}
		}
		return fmt.Errorf("problems are %+v", all)
	})
}

// stat returns the sum of Envoy's stats that match.
func (w *world) stat(pattern string) int64 {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stats, err := w.envoy.Stats(ctx, regexp.MustCompile(pattern))
	if err != nil {
		w.t.Fatal(err)
	}
	if len(stats) == 0 {
		w.t.Fatalf("Envoy has no stat %s", pattern)
	}
	var sum int64
	for _, n := range stats {
		sum += n
	}
	return sum
}

// streams waits for this many Envoys and returns them.
func (w *world) streams(n int) []admin.EnvoyView {
	w.t.Helper()
	var streams []admin.EnvoyView
	w.eventually(fmt.Sprintf("%d streams", n), func() error {
		if streams = w.admin.envoys(); len(streams) != n {
			return fmt.Errorf("there are %d", len(streams))
		}
		return nil
	})
	return streams
}

// settled waits until Envoy has acknowledged all there is.
func (w *world) settled() {
	w.t.Helper()
	w.eventually("all acknowledged", func() error {
		for _, s := range w.admin.envoys() {
			for _, t := range s.Types {
				if t.Behind > 0 || t.InFlight {
					return fmt.Errorf("%+v", t)
				}
			}
		}
		return nil
	})
}

// load sends requests at a rate until stop is called, which returns how many
// were sent and what failed.
type load struct {
	sent *atomic.Int64
	stop func() (failures []string)
}

func (w *world) load(perSecond int, check func(answer) error, urls ...string) load {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	client := w.client(true)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failures []string
	var sent atomic.Int64
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	wg.Add(1)
	go func() {
		defer wg.Done()
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			sent.Add(1)
			wg.Add(1)
			go func() {
				defer wg.Done()
				a, err := w.get(client, urls[i%len(urls)], "")
				if err == nil {
					err = check(a)
				}
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					failures = append(failures, fmt.Sprintf("%s: %v", urls[i%len(urls)], err))
				}
			}()
		}
	}()
	return load{sent: &sent, stop: func() []string {
		cancel()
		wg.Wait()
		return failures
	}}
}

// noFailure ends a load, once it has sent so many requests that it proves
// something, and fails the test if one failed.
func (w *world) noFailure(l load, atLeast int64) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d requests", atLeast), func() error {
		if n := l.sent.Load(); n < atLeast {
			return fmt.Errorf("%d were sent", n)
		}
		return nil
	})
	if failures := l.stop(); len(failures) > 0 {
		w.t.Errorf("%d of %d requests failed, the first: %s", len(failures), l.sent.Load(), failures[0])
	}
}

func ok(a answer) error {
	if a.status != http.StatusOK {
		return fmt.Errorf("status %d, body %.200q", a.status, a.body)
	}
	return nil
}

// echo opens a WebSocket through Envoy.
func (w *world) echo(url string) *websocket.Conn {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: w.client(false)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	w.says(conn, "hello")
	return conn
}

// says fails the test unless the WebSocket echoes.
func (w *world) says(conn *websocket.Conn, text string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatalf("WebSocket: %v", err)
	}
	if _, got, err := conn.Read(ctx); err != nil || string(got) != text {
		w.t.Fatalf("WebSocket echoed %q, %v; want %q", got, err, text)
	}
}
