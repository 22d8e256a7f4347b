package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"relay/admin/api"
	"relay/certs/certstest"
	"relay/internal/logtest"
	"relay/sources/marathon/marathontest"
	"relay/xds/envoytest"
)

// untilHeld is how long an app takes to start whose requests have all to be held meanwhile, on a busy machine too.
const untilHeld = 8 * time.Second

// sleeping is a world with an app that sleeps, and takes some time to start.
func sleeping(t *testing.T, boot time.Duration, labels ...string) *world {
	t.Helper()
	w := newScalingWorld(t)
	w.marathon.SetBoot("/sleepy", boot)
	w.marathon.deploy(sleepyDefinition(labels...))
	return w
}

func sleepyDefinition(labels ...string) string {
	all := map[string]string{"RELAY_IDLE_AFTER": "30m", "RELAY_ASLEEP": "2"}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	return sleepyApp("/sleepy", "sleepy.test", 0, all)
}

// bodySize is of requests whose body the tasks of the simulated Marathon leave unread: beyond
// that, Go closes the connection.
const bodySize = 200 << 10

// ask sends a request to the app that sleeps.
func (w *world) ask(method string, body []byte, header ...string) <-chan answer {
	got := make(chan answer, 1)
	client := w.clients.client(false)
	client.Timeout = patience
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://sleepy.test/", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	go func() {
		a, err := w.clients.ask(client, req)
		if err != nil {
			a.body = err.Error()
		}
		got <- a
	}()
	return got
}

// held waits until so many requests are held by Relays.
func (w *world) held(want int, by ...*runningRelay) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d requests are held", want), func() error {
		n := 0
		for _, r := range append(by, w.relay) {
			if value, ok := r.admin.metric("relay_wake_held_requests"); ok {
				n += int(value)
			}
		}
		if n != want {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
}

// is fails the test if an answer has another status, or code of Relay.
func (a answer) is(t *testing.T, what string, status int, code string) {
	t.Helper()
	if got := a.header.Get("X-Relay-Error"); a.status != status || got != code {
		t.Errorf("%s: status %d, code %q, want %d, %q; body %.300q", what, a.status, got, status, code, a.body)
	}
}

// Whatever comes while an app sleeps is answered by the app, which is started once.
func TestSleepingAppAnswersAll(t *testing.T) {
	w := sleeping(t, untilHeld)
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	var all []<-chan answer
	for i := range 30 {
		switch i % 3 {
		case 0:
			all = append(all, w.ask(http.MethodGet, nil))
		case 1:
			all = append(all, w.ask(http.MethodPost, make([]byte, bodySize)))
		case 2:
			all = append(all, w.ask(http.MethodGet, nil, "Accept", "text/html"))
		}
	}
	w.held(30)
	w.clients.echo("ws://sleepy.test/ws")
	for i, a := range all {
		a := <-a
		if a.is(t, fmt.Sprint("request ", i), http.StatusOK, ""); a.header.Get("X-App") != "/sleepy" {
			t.Errorf("request %d was answered by %q", i, a.header.Get("X-App"))
		}
	}
	w.phase("/sleepy", api.PhaseAwake)
	if n := w.marathon.Requests(marathontest.WriteOf("/sleepy")); n != 1 {
		t.Errorf("Relay wrote %d times to Marathon", n)
	}
	w.envoy.nothingRejected()
}

// A Relay that ends while it holds requests loses none: the next process holds them.
func TestRelayIsReplacedWhileItHolds(t *testing.T) {
	w := sleeping(t, untilHeld)
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	var all []<-chan answer
	for range 20 {
		all = append(all, w.ask(http.MethodPost, make([]byte, bodySize)))
	}
	w.held(20)
	w.relay.stop()
	w.relay.start()
	for i, a := range all {
		a := <-a
		a.is(t, fmt.Sprint("request ", i), http.StatusOK, "")
	}
}

// Of two Relays, the one that serves the Envoy holds its requests. If it ends, the other one does.
func TestTheOtherRelayHolds(t *testing.T) {
	w := sleeping(t, untilHeld)
	w.relay.start()
	config := w.relay.config
	config.XDS.Address, config.Admin.Address = freeAddress(t), "127.0.0.1:0"
	other := &runningRelay{t: t, certs: w.certs, admin: newAdminClient(t), log: &logtest.Buffer{}, config: config}
	other.start()
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address, config.XDS.Address}})
	w.envoy.ready()
	var all []<-chan answer
	for range 20 {
		all = append(all, w.ask(http.MethodPost, make([]byte, bodySize)))
	}
	w.held(20, other)
	serves, waits := w.relay, other
	if len(other.admin.envoys()) > 0 {
		serves, waits = other, w.relay
	}
	if n, _ := waits.admin.metric("relay_wake_held_requests"); n != 0 {
		t.Errorf("the Relay that does not serve the Envoy holds %v requests", n)
	}
	serves.stop()
	for i, a := range all {
		a := <-a
		a.is(t, fmt.Sprint("request ", i), http.StatusOK, "")
	}
	if n := w.marathon.Requests(marathontest.WriteOf("/sleepy")); n != 1 {
		t.Errorf("Relays wrote %d times to Marathon", n)
	}
}

// Who cannot be let through is told why.
func TestRefusedWhileAsleep(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	for name, tt := range map[string]struct {
		boot   time.Duration
		labels []string
		first  func(w *world) // before Relay starts
		then   func(w *world) // while the request is held
		code   string
		header string // that the answer has
	}{
		"too late": {boot: never, labels: []string{"RELAY_WAKE_TIMEOUT", "1s"}, code: "starting", header: "Retry-After: 5"},
		"too many": {
			boot: never, first: func(w *world) { w.relay.config.Scaling.WaitingPerApp = 1 },
			then: func(w *world) {
				(<-w.ask(http.MethodGet, nil)).is(w.t, "one too many", http.StatusServiceUnavailable, "starting")
			},
			labels: []string{"RELAY_WAKE_TIMEOUT", "8s"}, code: "starting",
		},
		"it crashes": {
			boot: never, labels: []string{"RELAY_WAKE_TIMEOUT", "40s"}, code: "crashed",
			first: func(w *world) { w.marathon.SetCrashLoop("/sleepy", 100*time.Millisecond) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := sleeping(t, tt.boot, tt.labels...)
			if tt.first != nil {
				tt.first(w)
			}
			w.start()
			w.phase("/sleepy", api.PhaseAsleep)
			a := w.ask(http.MethodGet, nil)
			if tt.then != nil {
				w.held(1)
				tt.then(w)
			}
			got := <-a
			got.is(t, "a request", http.StatusServiceUnavailable, tt.code)
			if key, value, _ := strings.Cut(tt.header, ": "); tt.header != "" && got.header.Get(key) != value {
				t.Errorf("header: %v", got.header)
			}
		})
	}
}

// An app that people scale to 0 while it wakes stays so, and what waits is not kept waiting.
func TestSuspendedWhileItWakes(t *testing.T) {
	w := sleeping(t, time.Hour)
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	a := w.ask(http.MethodGet, nil)
	w.eventually("a task starts", func() error {
		if len(w.marathon.Tasks("/sleepy")) == 0 {
			return errors.New("none")
		}
		return nil
	})
	w.suspend()
	if got := <-a; got.status != http.StatusServiceUnavailable {
		t.Errorf("what waited: %+v", got)
	}
	w.eventually("it is offline", func() error {
		if a := <-w.ask(http.MethodGet, nil); a.header.Get("X-Relay-Error") != "offline" {
			return fmt.Errorf("%d %v", a.status, a.header)
		}
		return nil
	})
	w.eventually("it has no tasks", func() error {
		if n := len(w.marathon.Tasks("/sleepy")); n != 0 {
			return fmt.Errorf("it has %d", n)
		}
		return nil
	})
}

// A Relay that starts while Marathon is away knows no app, and holds what comes until it does.
func TestHeldBeforeAppsAreRead(t *testing.T) {
	w := sleeping(t, 100*time.Millisecond)
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	w.relay.stop()
	w.marathon.Down()
	w.relay.start()
	a := w.ask(http.MethodPost, make([]byte, bodySize))
	w.held(1)
	var waiting api.Wakes
	if w.admin.read("/api/v1/wakes", &waiting); len(waiting.Wakes) != 1 || !strings.Contains(waiting.Wakes[0].Why, "apps to be read") {
		t.Errorf("what waits: %+v", waiting)
	}
	if err := w.marathon.Up(); err != nil {
		t.Fatal(err)
	}
	got := <-a
	got.is(t, "what waited", http.StatusOK, "")
}

// suspend has people scale the app that sleeps to 0, whatever runs.
func (w *world) suspend() {
	w.t.Helper()
	definition := sleepyApp("/sleepy", "sleepy.test", 0, map[string]string{"RELAY_IDLE_AFTER": "30m"})
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, w.marathon.URL()+"/v2/apps/sleepy?force=true", strings.NewReader(definition))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusOK {
		w.t.Fatalf("people suspend the app: %s", resp.Status)
	}
}

// A browser is shown how far the app is, and asks again by itself until it gets there.
func TestPageWhileAppWakes(t *testing.T) {
	w := sleeping(t, 2*time.Second, "RELAY_WAKE_PAGE", "true")
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	html := []string{"Accept", "text/html,application/xhtml+xml"}
	first := <-w.ask(http.MethodGet, nil, html...)
	first.is(t, "the first request", http.StatusServiceUnavailable, "asleep")
	if first.header.Get("Refresh") != "2" || !strings.Contains(first.body, "asleep, and is being woken") {
		t.Errorf("%v %s", first.header, first.body)
	}
	other := w.ask(http.MethodPost, nil, html...)
	w.eventually("the app is there", func() error {
		a := <-w.ask(http.MethodGet, nil, html...)
		if a.status == http.StatusOK {
			return nil
		}
		a.is(t, "a request", http.StatusServiceUnavailable, "asleep")
		return errors.New(a.body)
	})
	last := <-other
	last.is(t, "what is no page", http.StatusOK, "")
}

// Marathon that is away delays the wake, and no more.
func TestWokenWhenMarathonIsBack(t *testing.T) {
	w := sleeping(t, 100*time.Millisecond)
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	back := w.marathon.Inject(marathontest.WriteOf("/sleepy"), marathontest.Fault{Status: http.StatusInternalServerError})
	a := w.ask(http.MethodGet, nil)
	w.eventually("Relay tries", func() error {
		if w.marathon.Requests(marathontest.WriteOf("/sleepy")) < 2 {
			return errors.New("not yet")
		}
		return nil
	})
	w.held(1)
	back()
	got := <-a
	got.is(t, "a request", http.StatusOK, "")
}

// Envoys ask by their certificate, as for all else: who may not be of a fleet wakes nothing.
func TestWakesByCertificate(t *testing.T) {
	w := sleeping(t, 100*time.Millisecond)
	client := w.relay.secure()
	w.relay.start()
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, TLS: client})
	w.envoy.ready()
	w.phase("/sleepy", api.PhaseAsleep)
	for name, want := range map[string]codes.Code{"one.core.test": codes.PermissionDenied, "": codes.Unavailable} {
		var shown *certstest.Issued
		if name != "" {
			shown = w.certs.ca.TestIssue(t, []string{name}, certstest.Options{})
		}
		conn, err := grpc.NewClient(w.relay.config.XDS.Address, grpc.WithTransportCredentials(showing(t, w.certs.ca, shown)))
		if err != nil {
			t.Fatal(err)
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-relay-fleet", "external")
		_, err = authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{})
		_ = conn.Close()
		if status.Code(err) != want {
			t.Errorf("a client named %q: %v, want %s", name, err, want)
		}
	}
	a := <-w.ask(http.MethodGet, nil)
	a.is(t, "an Envoy of the fleet", http.StatusOK, "")
}
