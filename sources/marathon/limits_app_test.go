package marathon

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"relay/internal/cputest"
	"relay/sources"
)

// wholeApp is an app with one of everything; the modes are told apart by network.
func wholeApp(network string) *appJSON {
	zero, yes, seconds := 0, true, 5
	mappings := []portMappingJSON{{ContainerPort: 80, HostPort: &zero, ServicePort: 10000, Name: "http", Protocol: "tcp", NetworkNames: []string{"dcos"}}}
	a := ported(1, 1, map[string]string{"HAPROXY_0_VHOST": "a.test"})
	a.Container = &containerJSON{}
	a.Container.PortMappings = mappings
	a.Ports = []int{10000}
	a.HealthChecks = []*healthCheckJSON{{GracePeriodSeconds: &seconds, Protocol: "TCP"}}
	a.Deployments = []deploymentJSON{{"d"}}
	a.KillSelection = "OLDEST_FIRST"
	a.ReadinessChecks = append(a.ReadinessChecks, nil)
	a.ReadinessCheckResults = append(a.ReadinessCheckResults, struct {
		TaskID string `json:"taskId"`
		Ready  bool   `json:"ready"`
	}{"a.00000", true})
	task := &a.Tasks[0]
	task.StagedAt, task.StartedAt, task.Region, task.Zone = "2024-05-01T10:00:00.000Z", "2024-05-01T10:00:00.000Z", "eu", "eu-1"
	task.IPAddresses = []ipAddressJSON{{"9.0.0.1"}}
	task.HealthCheckResults = []*healthResultJSON{{Alive: &yes}}
	switch network {
	case "host", "container/bridge", "container":
		a.Networks = []networkJSON{{Mode: network, Name: "dcos"}}
	case "discovery":
		a.IPAddress = &ipPerTaskJSON{}
		a.IPAddress.Discovery = &struct {
			Ports []struct {
				Number   int    `json:"number"`
				Name     string `json:"name"`
				Protocol string `json:"protocol"`
			} `json:"ports"`
		}{}
		a.IPAddress.Discovery.Ports = append(a.IPAddress.Discovery.Ports, struct {
			Number   int    `json:"number"`
			Name     string `json:"name"`
			Protocol string `json:"protocol"`
		}{80, "http", "tcp"})
	case "ports":
		a.PortDefinitions = nil
	case "docker":
		a.Container.PortMappings = nil
		a.Container.Docker = &struct {
			Network      string            `json:"network"`
			PortMappings []portMappingJSON `json:"portMappings"`
		}{"BRIDGE", mappings}
	}
	return a
}

const wholePod = `{"id":"/pod","spec":{"id":"/pod","version":"2024-05-01T10:00:00.000Z","labels":{"HAPROXY_GROUP":"external"},"networks":[{"mode":"%s","name":"dcos"}],"scaling":{"instances":1},
	"containers":[{"name":"web","healthCheck":{"http":{"endpoint":"http"}},"endpoints":[{"name":"http","containerPort":80,"hostPort":0,"protocol":["tcp"],"networkNames":["dcos"],"labels":{"HAPROXY_VHOST":"a.test"}}]}]},
	"instances":[{"id":"pod.1","status":"STABLE","message":"x","agentHostname":"10.0.0.1","agentRegion":"eu","agentZone":"eu-1","specReference":"/v2/pods/pod::versions/2024-05-01T10:00:00.000Z",
	"networks":[{"name":"dcos","addresses":["9.0.0.1"]}],"containers":[{"name":"web","status":"TASK_RUNNING","endpoints":[{"name":"http","allocatedHostPort":31000,"healthy":true}],"conditions":[{"name":"healthy","value":"true","reason":"x"}]}]}]}`

// grow returns the ways to blow up the value at a path: each list to n entries,
// each text to 1 MB.
func grow(v reflect.Value, path string, n int) map[string]func(reflect.Value) {
	ways := map[string]func(reflect.Value){}
	deeper := func(at reflect.Value, step string, reach func(reflect.Value) reflect.Value) {
		for name, way := range grow(at, path+step, n) {
			ways[name] = func(v reflect.Value) { way(reach(v)) }
		}
	}
	switch v.Kind() {
	case reflect.String:
		ways[path+" of 1 MB"] = func(v reflect.Value) { v.SetString(strings.Repeat("1.", 1<<19)) }
	case reflect.Pointer:
		if !v.IsNil() {
			deeper(v.Elem(), "", reflect.Value.Elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			deeper(v.Field(i), "."+v.Type().Field(i).Name, func(v reflect.Value) reflect.Value { return v.Field(i) })
		}
	case reflect.Slice:
		if v.Len() == 0 {
			break
		}
		ways[fmt.Sprintf("%s with %d entries", path, n)] = func(v reflect.Value) { repeat(v, n) }
		deeper(v.Index(0), "[]", func(v reflect.Value) reflect.Value { return v.Index(0) })
	case reflect.Map:
		ways[fmt.Sprintf("%s with %d entries", path, n)] = func(v reflect.Value) {
			for i := range n {
				v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("HAPROXY_%d_VHOST", i)), reflect.ValueOf(fmt.Sprintf("a%d.test", i)))
			}
		}
	}
	return ways
}

// repeat makes n entries of a list out of its first, with names of their own.
func repeat(list reflect.Value, n int) {
	all := reflect.MakeSlice(list.Type(), n, n)
	for i := range n {
		all.Index(i).Set(list.Index(0))
		if one := all.Index(i); one.Kind() == reflect.Struct {
			for _, name := range []string{"ID", "TaskID", "Name"} {
				if f := one.FieldByName(name); f.IsValid() && i > 0 {
					f.SetString(fmt.Sprint(f.String(), "-", i))
				}
			}
		}
	}
	list.Set(all)
}

// within tells that the second of two ways changes entries of the list that the
// first one makes.
func within(list, other string) bool {
	path, isList := strings.CutSuffix(list, " entries")
	path, _, _ = strings.Cut(path, " with ")
	return isList && strings.HasPrefix(other, path+"[")
}

// TestDefinitionsAreBounded blows up each field of apps and pods, alone and
// together with any other.
func TestDefinitionsAreBounded(t *testing.T) {
	m := testMapping()
	m.addressing.resolve = nil
	run := func(kind string, together bool, fresh func() (reflect.Value, func() mapped)) {
		v, _ := fresh()
		alone, pairs := grow(v, kind, 10_000), grow(v, kind, 1000)
		if len(alone) < 20 {
			t.Errorf("%s: only %d fields", kind, len(alone))
		}
		for name, way := range alone {
			v, do := fresh()
			way(v)
			wantQuick(t, name, do)
		}
		if !together || cputest.Slow > 1 {
			return
		}
		for name, way := range pairs {
			for other, also := range pairs {
				if name >= other || within(name, other) || within(other, name) { // the latter are many bytes anyway
					continue
				}
				if !strings.HasSuffix(name, "entries") && !strings.HasSuffix(other, "entries") {
					continue
				}
				v, do := fresh()
				way(v)
				also(v)
				wantQuick(t, name+" and "+other, do)
			}
		}
	}
	for _, network := range []string{"host", "container/bridge", "container", "discovery", "ports", "docker"} {
		run("app on "+network, network == "host" || network == "container", func() (reflect.Value, func() mapped) {
			a := wholeApp(network)
			return reflect.ValueOf(a), func() mapped { return convertApp(a, nil, m) }
		})
	}
	for _, network := range []string{"host", "container"} {
		run("pod on "+network, true, func() (reflect.Value, func() mapped) {
			d, err := decodeOnePod(strings.NewReader(fmt.Sprintf(wholePod, network)))
			if err != nil {
				t.Fatal(err)
			}
			return reflect.ValueOf(&d.pod), func() mapped { return convertPod(&d.pod, nil, m) }
		})
	}
}

// TestTooManyTasks has more tasks times ports than are listed. Ports that no group
// takes give way first, and then the tasks with the highest ids.
func TestTooManyTasks(t *testing.T) {
	t.Parallel()
	const one, all = "HAPROXY_7_GROUP", "HAPROXY_GROUP"
	tests := []struct {
		name         string
		labels       map[string]string
		ports, tasks int
		want         map[int]int // endpoints of some ports
		problem      string
	}{
		{"just as many", nil, 1000, 20, map[int]int{0: 20, 999: 20}, ""},
		{"one port is routed", map[string]string{all: "", one: "external"}, 1000, 300, map[int]int{0: 0, 7: 300}, ""},
		{"all ports are routed", nil, 1000, 300, map[int]int{0: 20, 999: 20}, "only the first 20 by id"},
		{"two ports", nil, 2, 10_001, map[int]int{0: 10_000, 1: 10_000}, "only the first 10000 by id"},
		{"no port is routed", map[string]string{all: ""}, 2, 10_001, map[int]int{0: 0, 1: 0}, ""},
		{"another app of the group may route the port", map[string]string{all: "", "HAPROXY_DEPLOYMENT_GROUP": "g"}, 1000, 300, map[int]int{0: 20, 999: 20}, "only the first 20 by id"},
		{"too many ports", nil, 1001, 1, map[int]int{0: 1, 999: 1}, "more than 1000"},
	}
	for _, tt := range tests {
		a := ported(tt.ports, tt.tasks, tt.labels)
		slices.Reverse(a.Tasks)
		app := convertApp(a, nil, testMapping()).app
		for port, n := range tt.want {
			endpoints := app.Ports[port].Endpoints
			if len(endpoints) != n {
				t.Errorf("%s: port %d has %d endpoints, want %d", tt.name, port, len(endpoints), n)
			} else if n > 0 && (endpoints[0].Task != "a.00000" || endpoints[n-1].Task != fmt.Sprintf("a.%05d", n-1)) {
				t.Errorf("%s: port %d has tasks from %s to %s", tt.name, port, endpoints[0].Task, endpoints[n-1].Task)
			}
		}
		if text := fmt.Sprint(app.Problems); !strings.Contains(text, tt.problem) || (tt.problem == "") != (len(app.Problems) == 0) {
			t.Errorf("%s: problems %s, want %q", tt.name, text, tt.problem)
		}
	}
	long := ported(1, 2, nil)
	long.Tasks[0].ID, long.Tasks[1].Host = strings.Repeat("a", sources.MaxIDBytes+1), strings.Repeat("a", 1<<20)
	app := convertApp(long, nil, testMapping()).app
	if p := app.Ports[0]; len(p.Endpoints) != 0 || len(p.Excluded) != 1 || len(p.Excluded[0].Reason) > 200 || !strings.Contains(fmt.Sprint(app.Problems), "512 bytes") {
		t.Errorf("%.300v, problems %v", p, app.Problems)
	}
}
