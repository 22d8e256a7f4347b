package marathon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"relay/sources/marathon/marathontest"
)

// TestConvertPodGolden maps pods as Marathon 1.4 and later shows them.
func TestConvertPodGolden(t *testing.T) {
	t.Parallel()
	prior := history{
		"shop_pod.instance-lost web http":  {result: healthy, rotation: true},
		"shop_pod.instance-blind web http": {result: healthy, rotation: true},
	}
	inputs, err := filepath.Glob("../../testdata/marathon/pods/*.json")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	for _, input := range inputs {
		if strings.HasSuffix(input, ".golden.json") {
			continue
		}
		t.Run(filepath.Base(input), func(t *testing.T) {
			data, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			d, err := decodeOnePod(bytes.NewReader(data))
			if err != nil || d.mismatch != "" {
				t.Fatalf("%v %s", err, d.mismatch)
			}
			got, err := json.MarshalIndent(convertPod(&d.pod, prior, testMapping()).app, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden := strings.TrimSuffix(input, ".json") + ".golden.json"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("differs from %s (-want +got); if that is right, run with -update:\n%s", golden, diff)
			}
			slices.Reverse(d.pod.Instances)
			if again := convertPod(&d.pod, prior, testMapping()).app; !cmp.Equal(again, convertPod(&d.pod, prior, testMapping()).app) {
				t.Error("the result depends on the order of the instances")
			}
		})
	}
}

// onePod is a pod with one instance at an address of its own.
func onePod(id, domain, version string, port int) string {
	return fmt.Sprintf(`{"id":%q,"spec":{"id":%[1]q,"version":%[3]q,"labels":{"HAPROXY_GROUP":"external"},"networks":[{"mode":"container","name":"dcos"}],
		"containers":[{"name":"web","endpoints":[{"name":"http","containerPort":%[4]d,"protocol":["tcp"],"labels":{"HAPROXY_VHOST":%[2]q}}]}]},
		"instances":[{"id":"pod.1","status":"STABLE","agentHostname":"10.0.0.1","specReference":"/v2/pods%[1]s::versions/2024-05-01T10:00:00.000Z",
		"networks":[{"name":"dcos","addresses":["9.0.0.1"]}],"containers":[{"name":"web","status":"TASK_RUNNING","endpoints":[{"name":"http"}]}]}]}`, id, domain, version, port)
}

func podConfig(m *marathontest.Server) Config {
	cfg := fastConfig(m.URL())
	cfg.Pods = true
	return cfg
}

func TestPods(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	const first, second = "2024-05-01T10:00:00.000Z", "2024-05-01T11:00:00.000Z"
	if err := m.SetPod(onePod("/pod", "pod.test", first, 8080)); err != nil {
		t.Fatal(err)
	}
	_, sink, _ := watch(t, podConfig(m))
	sink.await(t, "synced", func(s string) bool {
		return strings.Contains(s, "/a [a.test]") && strings.Contains(s, "/pod [pod.test] [pod.1@9.0.0.1:8080/healthy]")
	})
	if err := m.ApplyPod(onePod("/pod", "new.test", second, 9090)); err != nil {
		t.Fatal(err)
	}
	// The instance still runs the first definition, with its port.
	sink.await(t, "changed", contains("/pod [new.test] [pod.1@9.0.0.1:8080/healthy]"))
	if err := m.ApplyPod(onePod("/pod2", "two.test", first, 80)); err != nil {
		t.Fatal(err)
	}
	sink.await(t, "created", contains("/pod2 [two.test]"))
	m.DeletePod("/pod")
	sink.await(t, "deleted", lacks("/pod "))
}

// TestPodsAreOptional has a Marathon with pods whose operator does not route them.
func TestPodsAreOptional(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	if err := m.SetPod(onePod("/pod", "pod.test", "2024-05-01T10:00:00.000Z", 80)); err != nil {
		t.Fatal(err)
	}
	_, sink, _ := watch(t, fastConfig(m.URL()))
	sink.await(t, "synced", contains("/a "))
	status(m, "/pod")
	poll(t, "read", func() bool { return m.Requests(marathontest.ReadOf("/pod")) > 0 })
	if n := m.Requests(marathontest.KindPod) + m.Requests(marathontest.KindPods); n > 0 || strings.Contains(sink.state(), "pod") {
		t.Errorf("%d reads of pods; state\n%s", n, sink.state())
	}
}

func TestMarathonWithoutPods(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Version: "1.3.13"})
	load(t, m, "/a")
	_, sink, logged := watch(t, podConfig(m))
	sink.await(t, "synced", contains("/a "))
	if s := logged.String(); !strings.Contains(s, "has no pods") {
		t.Errorf("nothing was logged:\n%s", s)
	}
}

// TestFailedReadOfPodsChangesNothing has pods that cannot be read.
func TestFailedReadOfPodsChangesNothing(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{})
	load(t, m, "/a")
	if err := m.SetPod(onePod("/pod", "pod.test", "2024-05-01T10:00:00.000Z", 80)); err != nil {
		t.Fatal(err)
	}
	w, sink, _ := watch(t, podConfig(m))
	sink.await(t, "synced", contains("/pod "))
	for _, fault := range []marathontest.Fault{{Status: 503}, {Status: 404, Body: `{"message":"x"}`}, {Body: `[{"id":"/pod"`}, {Body: `{}`}, {Truncate: 10}} {
		fault.Times = 2
		m.Inject(marathontest.KindPods, fault)
		reload(t, w)
	}
	if n := sink.count(&sink.fewest); n != 2 {
		t.Errorf("down to %d", n)
	}
}

func TestPodCheckResult(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, check, endpoint, conditions string
		want, outdated                    checkResult // of an instance of the newest definition, and of an older one
	}{
		{"no check", `null`, `{}`, `[]`, healthy, healthy},
		{"healthy", `{"http":{"endpoint":"http"}}`, `{"healthy":true}`, `[]`, healthy, healthy},
		{"unhealthy", `{"http":{"endpoint":"http"}}`, `{"healthy":false}`, `[{"name":"healthy","value":"false","reason":"health-reported-by-mesos"}]`, unhealthy, unhealthy},
		{"not reported", `{"http":{"endpoint":"http"}}`, `{"healthy":false}`, `[{"name":"healthy","value":"false","reason":"health-unreported-by-mesos"}]`, unknown, unknown},
		{"no result", `{"tcp":{"endpoint":"http"}}`, `{}`, `[]`, unknown, healthy},
		{"another endpoint's check", `{"tcp":{"endpoint":"admin"}}`, `{}`, `[]`, healthy, healthy},
		{"command fails", `{"exec":{"command":{"shell":"x"}}}`, `{}`, `[{"name":"healthy","value":"false","reason":"health-reported-by-mesos"}]`, unhealthy, unhealthy},
		{"command of the older one fails", `null`, `{}`, `[{"name":"healthy","value":"false","reason":"health-reported-by-mesos"}]`, healthy, unhealthy},
		{"command of the older one is not reported", `null`, `{}`, `[{"name":"healthy","value":"false","reason":"health-unreported-by-mesos"}]`, healthy, unknown},
		{"the older one's check of another endpoint fails", `null`, `{}`, `[{"name":"healthy","value":"false","reason":"health-reported-by-mesos"}],"endpoints":[{"name":"admin","healthy":false}]`, healthy, healthy},
		{"command succeeds", `{"exec":{"command":{"shell":"x"}}}`, `{}`, `[{"name":"healthy","value":"true","reason":"health-reported-by-mesos"},{"name":"other","value":"false"}]`, healthy, healthy},
	}
	for _, tt := range tests {
		var spec podContainerJSON
		var state podContainerStatusJSON
		var endpoint podEndpointStatusJSON
		for in, out := range map[string]any{`{"healthCheck":` + tt.check + `}`: &spec, `{"conditions":` + tt.conditions + `}`: &state, tt.endpoint: &endpoint} {
			if err := json.Unmarshal([]byte(in), out); err != nil {
				t.Fatal(err)
			}
		}
		status := statusOf(&podInstanceJSON{Containers: []podContainerStatusJSON{state}}).containers[""]
		e := podEndpoint{podEndpointJSON: podEndpointJSON{Name: "http"}, check: spec.HealthCheck}
		if got := podCheckResult(e, status, endpoint, false); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
		if got := podCheckResult(e, status, endpoint, true); got != tt.outdated {
			t.Errorf("%s, of an older version: %d, want %d", tt.name, got, tt.outdated)
		}
	}
}

func FuzzPod(f *testing.F) {
	inputs, _ := filepath.Glob("../../testdata/marathon/pods/*.json")
	for _, input := range inputs {
		if data, err := os.ReadFile(input); err == nil {
			f.Add(data)
		}
	}
	f.Add([]byte(onePod("/pod", "pod.test", "2024-05-01T10:00:00.000Z", 80)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decodeOnePod(bytes.NewReader(data))
		if err != nil {
			return
		}
		first := convertPod(&d.pod, nil, testMapping())
		second := convertPod(&d.pod, first.history, testMapping())
		if len(first.app.Ports) != len(second.app.Ports) {
			t.Errorf("the number of ports changed from %d to %d", len(first.app.Ports), len(second.app.Ports))
		}
		if again := convertPod(&d.pod, nil, testMapping()); !first.app.Equal(again.app) {
			t.Error("equal answers give different apps")
		}
		for _, p := range first.app.Ports {
			checkPort(t, p)
		}
	})
}

// Relay scales no pods: one that asks for it is told so, and runs on.
func TestPodsAreNotScaled(t *testing.T) {
	t.Parallel()
	var p podJSON
	pod := `{"id":"/p","spec":{"id":"/p","labels":{"HAPROXY_GROUP":"external","HAPROXY_0_VHOST":"p.test","RELAY_IDLE_AFTER":"30m"},"containers":[{"name":"c","endpoints":[{"name":"http","containerPort":80,"hostPort":0}]}]}}`
	if err := json.Unmarshal([]byte(pod), &p); err != nil {
		t.Fatal(err)
	}
	app := convertPod(&p, nil, testMapping()).app
	if app.Scaling != nil || app.Orchestration != nil || len(app.Problems) != 1 || !strings.Contains(app.Problems[0].Reason, "neither sleeps") {
		t.Errorf("%+v", app)
	}
}
