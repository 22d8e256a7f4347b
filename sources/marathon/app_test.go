package marathon

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/internal/hostname"
	"relay/sources"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var testNow = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

func testMapping() mapping {
	return mapping{now: testNow, unreachable: UnreachableDegraded, addressing: addressing{
		container: ContainerAuto,
		resolve: func(host string) (netip.Addr, string) {
			if host == "agent-1.example" {
				return netip.MustParseAddr("10.0.0.9"), ""
			}
			return netip.Addr{}, ""
		},
	}}
}

// TestConvertAppGolden maps apps as Marathon releases from 0.13 to 1.11 show them.
func TestConvertAppGolden(t *testing.T) {
	t.Parallel()
	prior := history{"states.3": {result: healthy, rotation: true}}
	inputs, err := filepath.Glob("../../testdata/marathon/apps/*.json")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no inputs: %v", err)
	}
	used := map[string]bool{}
	for _, input := range inputs {
		if strings.HasSuffix(input, ".golden.json") {
			continue
		}
		golden := strings.TrimSuffix(input, ".json") + ".golden.json"
		used[golden] = true
		t.Run(filepath.Base(input), func(t *testing.T) {
			app := readTestApp(t, input)
			got, err := json.MarshalIndent(convertApp(&app, prior, testMapping()).app, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
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
			slices.Reverse(app.Tasks)
			again, _ := json.MarshalIndent(convertApp(&app, prior, testMapping()).app, "", "  ")
			if !bytes.Equal(append(again, '\n'), got) {
				t.Error("the result depends on the order of the tasks")
			}
		})
	}
	for _, input := range inputs {
		if strings.HasSuffix(input, ".golden.json") && !used[input] {
			t.Errorf("%s belongs to no input", input)
		}
	}
}

func readTestApp(t *testing.T, file string) appJSON {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d, err := decodeOneApp(bytes.NewReader(data))
	if err != nil || d.mismatch != "" {
		t.Fatalf("%s: %v %s", file, err, d.mismatch)
	}
	return d.app
}

func TestModeOf(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]networkMode{
		`{}`:                                  modeHost,
		`{"networks":[]}`:                     modeHost,
		`{"networks":[{"mode":"host"}]}`:      modeHost,
		`{"networks":[{"name":"x"}]}`:         modeContainer,
		`{"networks":[{"mode":"container"}]}`: modeContainer,
		`{"networks":[{"mode":"container/bridge"}],"container":{"docker":{"network":"HOST"}}}`: modeBridge,
		`{"container":{"docker":{"network":"USER"}}}`:                                          modeContainer,
		`{"container":{"docker":{"network":"BRIDGE"}},"ipAddress":null}`:                       modeBridge,
		`{"container":{"docker":{"network":"HOST"}},"ipAddress":{}}`:                           modeHost,
		`{"container":{"docker":{"network":"NONE"}}}`:                                          modeNone,
		`{"container":{"docker":{"network":null}},"ipAddress":{}}`:                             modeContainer,
		`{"ipAddress":{}}`: modeContainer,
	} {
		var app appJSON
		if err := json.Unmarshal([]byte(in), &app); err != nil {
			t.Fatal(err)
		}
		if got := modeOf(&app); got != want {
			t.Errorf("modeOf(%s) = %d, want %d", in, got, want)
		}
	}
}

func TestContainerAddress(t *testing.T) {
	t.Parallel()
	app := readTestApp(t, "../../testdata/marathon/apps/v1.11_container_mixed_host_ports.json")
	tests := []struct {
		choice     ContainerAddress
		task, port int
		want       string // an address, or why there is none
	}{
		{ContainerAuto, 0, 0, "9.0.4.2:8080"},
		{ContainerAuto, 0, 1, "9.0.4.2:9090"},
		{ContainerAuto, 0, 2, "9.0.4.2:31011"},
		{ContainerAuto, 1, 0, "has no usable IP address yet"},
		{ContainerAuto, 1, 1, "10.0.1.8:31020"},
		{ContainerIP, 1, 1, "has no usable IP address yet"},
		{ContainerHost, 0, 0, "9.0.4.2:8080"},
		{ContainerHost, 0, 1, "10.0.1.7:31010"},
		{ContainerHost, 0, 2, "10.0.1.7:31011"},
	}
	for _, tt := range tests {
		a := addressing{container: tt.choice}
		declared, _ := declarations(&app, modeContainer)
		got, why := a.endpoint(layout{mode: modeContainer}, declared[tt.port], a.placeOf(modeContainer, &app.Tasks[tt.task]))
		if why == "" {
			why = got.String()
		}
		if why != tt.want {
			t.Errorf("%s: task %d port %d: %s, want %s", tt.choice, tt.task, tt.port, why, tt.want)
		}
	}
}

func TestContainerIPChoice(t *testing.T) {
	t.Parallel()
	task := taskJSON{IPAddresses: []ipAddressJSON{{"fe80::1%eth0"}, {"9.0.1.1"}}}
	six := taskJSON{IPAddresses: []ipAddressJSON{{"fd00::1"}, {"9.0.1.1"}, {"0.0.0.0"}, {"::ffff:9.0.2.2"}}}
	tests := []struct {
		name string
		a    addressing
		d    declaration
		task taskJSON
		want string
	}{
		{"the mapping's network by order", addressing{}, declaration{network: 2}, taskJSON{IPAddresses: []ipAddressJSON{{"9.0.1.1"}, {"9.0.2.2"}}}, "9.0.2.2"},
		{"one with a zone is not usable", addressing{}, declaration{network: 1}, task, "9.0.1.1"},
		{"IPv4 by default", addressing{}, declaration{}, six, "9.0.1.1"},
		{"IPv6 by choice", addressing{preferIPv6: true}, declaration{}, six, "fd00::1"},
		{"by network", addressing{networks: []netip.Prefix{netip.MustParsePrefix("9.0.2.0/24")}}, declaration{}, six, "9.0.2.2"},
	}
	for _, tt := range tests {
		tt.d.containerPort = 80
		got, why := tt.a.endpoint(layout{mode: modeContainer, networks: 2}, tt.d, tt.a.placeOf(modeContainer, &tt.task))
		if got.Addr().String() != tt.want {
			t.Errorf("%s: %v %s, want %s", tt.name, got, why, tt.want)
		}
	}
}

func TestCheckResults(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	check := []*healthCheckJSON{{}, {}}
	alive, dead := &healthResultJSON{Alive: &yes}, &healthResultJSON{Alive: &no}
	old, young := "2024-05-01T11:00:00Z", "2024-05-01T11:59:00.000Z"
	task := func(started string, results ...*healthResultJSON) taskJSON {
		return taskJSON{ID: "t", State: "TASK_RUNNING", StartedAt: started, HealthCheckResults: results}
	}
	other := task(old, alive, alive)
	other.ID = "other"
	tests := []struct {
		name   string
		checks []*healthCheckJSON
		tasks  []taskJSON
		prior  history
		first  bool
		want   checkResult
	}{
		{name: "no checks", tasks: []taskJSON{task(old)}, want: healthy},
		{name: "all alive", checks: check, tasks: []taskJSON{task(old, alive, alive)}, want: healthy},
		{name: "one dead", checks: check, tasks: []taskJSON{task(old, alive, dead)}, want: unhealthy},
		{name: "dead beats history", checks: check, tasks: []taskJSON{task(old, dead)}, prior: history{"t": {result: healthy}}, want: unhealthy},
		{name: "part is unknown", checks: check, tasks: []taskJSON{task(old, alive)}, want: unknown},
		{name: "null results are unknown", checks: check, tasks: []taskJSON{task(old, nil, alive, &healthResultJSON{})}, want: unknown},
		{name: "unknown keeps good", checks: check, tasks: []taskJSON{task(old)}, prior: history{"t": {result: healthy}}, want: healthy},
		{name: "unknown keeps bad", checks: check, tasks: []taskJSON{task(old)}, prior: history{"t": {result: unhealthy}}, first: true, want: unhealthy},
		{name: "history of another task", checks: check, tasks: []taskJSON{task(old)}, prior: history{"u": {result: healthy}}, want: unknown},
		{name: "first sync admits old", checks: check, tasks: []taskJSON{task(old)}, first: true, want: healthy},
		{name: "first sync refuses young", checks: check, tasks: []taskJSON{task(young)}, first: true, want: unknown},
		{name: "first sync with results of others", checks: check, tasks: []taskJSON{task(old), other}, first: true, want: unknown},
	}
	for _, tt := range tests {
		if got := checkResults(tt.tasks, newStandards(definitionOf(&appJSON{HealthChecks: tt.checks}, modeHost, nil), nil), tt.prior, tt.first, testNow)[0].result; got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	lost := &taskJSON{ID: "t", State: "TASK_UNREACHABLE", Ports: []int{31000}, StartedAt: "2024-05-01T11:00:00Z"}
	gone := &taskJSON{ID: "t", State: "TASK_UNREACHABLE"}
	in, out := record{result: healthy, rotation: true}, record{result: healthy}
	tests := []struct {
		task   *taskJSON
		before record
		choice Unreachable
		health sources.Health
		reason string
	}{
		{lost, in, UnreachableDegraded, sources.Degraded, ""},
		{lost, in, UnreachableKeep, sources.Healthy, ""},
		{lost, in, UnreachableDrop, 0, "is unreachable"},
		{lost, out, UnreachableDegraded, 0, "is unreachable"},
		{lost, out, UnreachableKeep, 0, "is unreachable"},
		{gone, in, UnreachableKeep, 0, "is unreachable and was replaced"},
	}
	for _, tt := range tests {
		if health, reason := rotation(tt.task, healthy, tt.before, tt.choice); health != tt.health || reason != tt.reason {
			t.Errorf("%s %v %s: %v %q, want %v %q", tt.task.State, tt.before.rotation, tt.choice, health, reason, tt.health, tt.reason)
		}
	}
}

func TestDecodeApps(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, ids, err string
	}{
		{in: `{"apps":[]}`},
		{in: ` {"other":{"a":[1]},"apps":[{"id":"/a"},{"id":"b"},null],"more":1} `, ids: "/a /b "},
		{in: `{"apps":[{"id":"/a","labels":{"x":1},"version":"v"}]}`, ids: "/a!"},
		{in: ``, err: "unexpected EOF"},
		{in: `{}`, err: `no "apps"`},
		{in: `{"apps":null}`, err: "expected"},
		{in: `[]`, err: "expected"},
		{in: `{"apps":[{"id":"/a"}`, err: "EOF"},
		{in: `{"apps":[{"id":"/a"}]`, err: "EOF"},
		{in: `{"apps":[]} {`, err: "more after the end"},
		{in: `{"apps":[],"apps":[]}`, err: "twice"},
		{in: `<html>`, err: "invalid character"},
	}
	for _, tt := range tests {
		var ids []string
		err := decodeApps(strings.NewReader(tt.in), nil, func(d decoded) error {
			if d.mismatch != "" {
				d.app.ID += "!"
			}
			ids = append(ids, d.app.ID)
			return nil
		})
		switch {
		case tt.err == "" && (err != nil || strings.Join(ids, " ") != tt.ids):
			t.Errorf("%s: %q, %v; want %q", tt.in, ids, err, tt.ids)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: %v, want an error with %q", tt.in, err, tt.err)
		}
	}
}

func FuzzApp(f *testing.F) {
	inputs, _ := filepath.Glob("../../testdata/marathon/apps/v*.json")
	for _, input := range inputs {
		if data, err := os.ReadFile(input); err == nil {
			f.Add(data)
		}
	}
	f.Add([]byte(`{"app":{"id":"/a","ipAddress":{},"container":{"portMappings":[{"hostPort":-1}]},"tasks":[{"id":"t","state":"TASK_RUNNING","ports":[99999999]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decodeOneApp(bytes.NewReader(data))
		if err != nil {
			return
		}
		first := convertApp(&d.app, nil, testMapping())
		second := convertApp(&d.app, first.history, testMapping())
		if len(first.app.Ports) != len(second.app.Ports) {
			t.Errorf("the number of ports changed from %d to %d", len(first.app.Ports), len(second.app.Ports))
		}
		if again := convertApp(&d.app, nil, testMapping()); !first.app.Equal(again.app) {
			t.Error("equal answers give different apps")
		}
		for _, p := range first.app.Ports {
			checkPort(t, p)
		}
	})
}

// checkPort checks what must hold for any input.
func checkPort(t *testing.T, p sources.Port) {
	for _, e := range p.Endpoints {
		if !e.Address.IsValid() || e.Address.Port() == 0 || e.Address.Addr().Zone() != "" || e.Address.Addr().IsUnspecified() {
			t.Errorf("endpoint %v cannot be used", e)
		}
	}
	for _, d := range slices.Concat(p.Domains, p.ACMEDomains) {
		if again, err := hostname.Domain(d); err != nil || again != d {
			t.Errorf("domain %q is not normalised: %q, %v", d, again, err)
		}
	}
}
