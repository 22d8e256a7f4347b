package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/internal/relay"
)

// newScalingWorld is a world in which Relay may change the number of instances.
func newScalingWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.relay.config.Scaling = relay.Scaling{
		Enabled: true, Marathon: w.relay.config.Apps.Marathon, WaitingPerApp: 2000, WaitingInAll: 20_000, WakeRate: 1000,
	}
	return w
}

// sleepyApp is the definition of an app with so many instances and labels.
func sleepyApp(id, domain string, instances int, labels map[string]string) string {
	all := map[string]string{"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": domain}
	for k, v := range labels {
		all[k] = v
	}
	text, err := json.Marshal(map[string]any{
		"id": id, "instances": instances, "labels": all,
		"portDefinitions": []any{map[string]any{"port": 0, "name": "http"}},
		"healthChecks":    []any{map[string]any{"protocol": "HTTP", "path": "/"}},
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// scaling returns what the admin endpoint says of the instances of an app.
func (w *world) scaling(id string) *api.Scaling {
	w.t.Helper()
	var story api.AppStory
	w.admin.read("/api/v1/apps/"+strings.TrimPrefix(id, "/"), &story)
	return story.Scaling
}

// phase waits until an app is in a phase.
func (w *world) phase(id, phase string) {
	w.t.Helper()
	wait := eventually
	if phase == api.PhaseFallingAsleep {
		wait = forAMoment
	}
	wait(w.t, id+" is "+phase, func() error {
		if s := w.scaling(id); s == nil || s.Phase != phase {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	})
}

// The first request to an app that sleeps waits until the app has started.
func TestWakes(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.SetBoot("/sleepy", 200*time.Millisecond)
	w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 0, map[string]string{"RELAY_IDLE_AFTER": "30m", "RELAY_ASLEEP": "2"}))
	w.start()
	w.phase("/sleepy", api.PhaseAsleep)
	start := time.Now()
	request, _ := http.NewRequest(http.MethodGet, "http://"+w.clients.http+"/private-path?token=s3cr3t-query", nil)
	request.Host = "sleepy.test"
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s\n%s", response.Status, response.Header, body)
	}
	t.Logf("the first request took %s", time.Since(start))
	w.phase("/sleepy", api.PhaseAwake)
	w.wokenAsTold()
}

// wokenAsTold checks what people are told of the wake of TestWakes: the domain, the network, and how
// long it took. Nothing else of the request is told to anybody.
func (w *world) wokenAsTold() {
	w.t.Helper()
	s := w.scaling("/sleepy")
	if !strings.HasPrefix(s.Reason, "a request for sleepy.test from 127.0.0.0/24 woke it: ") || !strings.Contains(s.Text, "sleep") {
		w.t.Errorf("why it is awake: %q; what next: %q", s.Reason, s.Text)
	}
	if len(s.Events) != 2 || s.Events[0].Kind != "woke up" || s.Events[0].Took < 0.2 || s.Events[1].Kind != "is woken" {
		w.t.Errorf("events %+v", s.Events)
	}
	var status api.Status
	w.admin.read("/api/v1/status", &status)
	if status.Scaling == nil || status.Scaling.Decisions < 2 || status.Scaling.Apps[api.PhaseAwake] != 1 {
		w.t.Errorf("the status has %+v", status.Scaling)
	}
	var list api.Apps
	w.admin.read("/api/v1/apps?phase=awake", &list)
	if len(list.Apps) != 1 || list.Apps[0].ID != "/sleepy" {
		w.t.Errorf("apps that are awake: %+v", list.Apps)
	}
	w.admin.read("/api/v1/apps?phase=asleep", &list)
	if len(list.Apps) != 0 {
		w.t.Errorf("apps that sleep: %+v", list.Apps)
	}
	seen := w.relay.log.String()
	for _, path := range []string{"/apps/sleepy", "/api/v1/apps/sleepy", "/domains/sleepy.test", "/api/v1/status", "/metrics"} {
		_, text := w.admin.get(path)
		seen += text
	}
	for _, secret := range []string{"private-path", "s3cr3t-query"} {
		if strings.Contains(seen, secret) {
			w.t.Errorf("something tells %s of a request", secret)
		}
	}
}

// An app that nobody uses is put to sleep, and what it had is kept in Marathon.
func TestSleeps(t *testing.T) {
	w := newScalingWorld(t)
	w.marathon.deploy(sleepyApp("/sleepy", "sleepy.test", 2, map[string]string{"RELAY_IDLE_AFTER": "1s", "OWNER": "shop"}))
	w.start()
	w.relay.running.Loads().Pace("external", time.Second)
	start := time.Now()
	w.phase("/sleepy", api.PhaseAsleep)
	t.Logf("asleep after %s: %+v", time.Since(start), w.scaling("/sleepy"))
	var app struct {
		Instances int
		Labels    map[string]string
	}
	if err := json.Unmarshal(w.marathon.AppJSON("/sleepy"), &app); err != nil {
		t.Fatal(err)
	}
	if app.Instances != 0 || app.Labels["RELAY_ASLEEP"] != "2" || app.Labels["OWNER"] != "shop" {
		t.Fatalf("Marathon has %+v", app)
	}
	request, _ := http.NewRequest(http.MethodGet, "http://"+w.clients.http+"/", nil)
	request.Host = "sleepy.test"
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", response.Status, response.Header)
	}
}
