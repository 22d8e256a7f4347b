package marathon

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"relay/sources"
)

// mappingLimit is how long the mapping of one app may take, whatever it holds.
const mappingLimit = slow * 100 * time.Millisecond

// shapes are texts of a given size, by what they are made of.
func shapes(size int) map[string]string {
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	distinct := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size-16; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	letters := make([]rune, size/3)
	for i := range letters {
		letters[i] = '\u4e00' + rune(i%20_000)
	}
	all := map[string]string{
		"one word": repeat("a"), "one word of other letters": repeat("ü"), "one word of all letters": string(letters), "digits": repeat("1"), "underscores": repeat("_"), "dots": repeat("."), "colons": repeat(":"),
		"commas": repeat(","), "spaces": repeat(" "), "lines": repeat("\n"), "escapes": repeat("%4"), "backslashes": repeat(`\"`), "not UTF-8": repeat("\xff"),
		"words": distinct("%x "), "items": distinct("%x,"), "domains": distinct("%x.a,"), "domains of other letters": distinct("%x.ü "), "long domains of other letters": repeat(strings.Repeat("ü", 500) + ","),
		"paths": distinct("/%x "), "networks": distinct("10.%d.0.0 "), "headers": distinct("%x:a\n"), "known words": repeat("5xx "), "no paths": repeat("-i "), "auth": "r:u:" + repeat("x"),
	}
	if slow > 1 { // this build looks for races, not for time
		maps.DeleteFunc(all, func(shape, _ string) bool { return shape != "words" && shape != "one word of other letters" })
	}
	return all
}

// allLabels are the keys of all labels that are known, for port 0.
func allLabels() []string {
	keys := append([]string{"MARATHON_ACME_0_DOMAIN"}, appLabelNames...)
	for _, name := range portLabelNames {
		keys = append(keys, "HAPROXY_0_"+name)
	}
	for _, family := range portLabelFamilies {
		keys = append(keys, "HAPROXY_0_"+family+"X")
	}
	for _, name := range relayNames {
		keys = append(keys, "RELAY_0_"+name)
	}
	return keys
}

// wantQuick maps an app or pod, and looks at how long that takes and at how much
// there is to read for people.
func wantQuick(t *testing.T, name string, do func() mapped) mapped {
	t.Helper()
	var out mapped
	best := time.Duration(math.MaxInt64)
	for range 5 { // garbage may be collected meanwhile
		if best = min(best, cpuTime(func() { out = do() })); best <= mappingLimit {
			break
		}
	}
	if best > mappingLimit {
		t.Errorf("%s: the mapping takes %s", name, best.Round(time.Millisecond))
	}
	size := len(out.app.Version)
	for _, p := range out.app.Problems {
		size += len(p.Subject) + len(p.Reason)
	}
	if n := len(out.app.Problems); n > 120 || size > 50_000 {
		t.Errorf("%s: %d problems, %d bytes", name, n, size)
	}
	tasks := 0
	for _, p := range out.app.Ports {
		tasks += len(p.Endpoints) + len(p.Excluded)
		if len(p.Name) > sources.MaxNameBytes {
			t.Errorf("%s: the name of a port has %d bytes", name, len(p.Name))
		}
		checkPort(t, p)
	}
	if n := len(out.app.Ports); n > sources.MaxPorts || tasks > sources.MaxEndpoints {
		t.Errorf("%s: %d ports, %d endpoints", name, n, tasks)
	}
	return out
}

// ported is an app with so many ports and tasks, and these labels beside its group.
func ported(ports, tasks int, labels map[string]string) *appJSON {
	a := &appJSON{ID: "/a", Version: "2024-05-01T10:00:00.000Z", Labels: map[string]string{"HAPROXY_GROUP": "external"}, PortDefinitions: make([]portDefinitionJSON, ports)}
	for key, value := range labels {
		a.Labels[key] = value
	}
	for i := range a.PortDefinitions {
		a.PortDefinitions[i] = portDefinitionJSON{Port: 10000 + i, Name: fmt.Sprint("p", i), Protocol: "tcp"}
	}
	numbers := make([]int, ports)
	for i := range numbers {
		numbers[i] = 31000 + i%1000
	}
	for i := range tasks {
		a.Tasks = append(a.Tasks, taskJSON{ID: fmt.Sprintf("a.%05d", i), Host: "10.0.0.1", State: "TASK_RUNNING", Ports: numbers})
	}
	return a
}

// TestLabelsAreBounded gives every label that is known, and one that is not, values
// of 1 MB, and of the longest that is read, in many shapes.
func TestLabelsAreBounded(t *testing.T) {
	for _, size := range []int{1 << 20, sources.MaxSettingBytes} {
		for shape, value := range shapes(size) {
			for _, mode := range []string{"http", "tcp"} {
				for _, key := range append(allLabels(), "HAPROXY_0_NONE", "HAPROXY_p1_VHOST") {
					labels := map[string]string{"HAPROXY_0_MODE": mode}
					labels[key] = value
					name := fmt.Sprintf("%s of %d bytes of %s in %s mode", key, size, shape, mode)
					out := wantQuick(t, name, func() mapped { return mapApp(ported(2, 2, labels), nil, testMapping()) })
					wantClosed(t, name, key, out.app)
				}
			}
		}
	}
}

// wantClosed holds that a label that restricts access, and is not understood, lets nobody in.
func wantClosed(t *testing.T, name, key string, app *sources.App) {
	t.Helper()
	p := app.Ports[0]
	restricts := key == "HAPROXY_0_AUTH" || key == "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL"
	switch {
	case restricts && (p.HTTP == nil || !p.HTTP.Closed && p.HTTP.BasicAuth == nil && len(p.HTTP.AllowedNetworks) == 0):
		t.Errorf("%s: the port is open", name)
	case key == "HAPROXY_0_PATH" && p.TCP == nil && p.HTTP != nil && p.HTTP.Paths != nil && len(p.HTTP.Paths) > 500:
		t.Errorf("%s: %d paths", name, len(p.HTTP.Paths))
	}
}

// TestManyLabelsAreBounded fills an app with as many labels as there is room for,
// and with more.
func TestManyLabelsAreBounded(t *testing.T) {
	const room = sources.MaxSettingsBytes - 100
	tests := map[string]func(labels map[string]string){
		"a key of 1 MB": func(l map[string]string) { l["RELAY_"+strings.Repeat("_", 1<<20)] = "x" },
		"a key of 1 MB, with a port": func(l map[string]string) {
			l["HAPROXY_"+strings.Repeat("p0_", 300_000)+"VHOST"] = "x"
		},
		"ten thousand labels of ports that are not there": func(l map[string]string) {
			for i := range 10_000 {
				l[fmt.Sprintf("HAPROXY_%d_VHOST", 100_000+i)] = "a.test"
			}
		},
		"ten thousand unknown labels": func(l map[string]string) {
			for i := range 10_000 {
				l[fmt.Sprintf("HAPROXY_%d_XX", i)] = ""
			}
		},
		"as many unknown labels as are read": func(l map[string]string) {
			for i := range sources.MaxSettings - 10 {
				l[fmt.Sprintf("RELAY_%05d_TIMEOUTS", i)] = "" // not an index
			}
		},
		"long unknown labels": func(l map[string]string) {
			for i := range room / maxKeyBytes {
				key := fmt.Sprintf("HAPROXY_%d_", i)
				l[key+strings.Repeat("_", maxKeyBytes-len(key))] = ""
			}
		},
		"long labels of others": func(l map[string]string) {
			for i := range 10_000 {
				l[fmt.Sprintf("traefik.http.routers.r%d.rule", i)] = strings.Repeat("x", 100)
			}
		},
	}
	for _, key := range allLabels() {
		for shape, value := range shapes(3000) {
			label, ok := strings.CutPrefix(key, "HAPROXY_0_")
			prefix := "HAPROXY_"
			if !ok {
				if label, ok = strings.CutPrefix(key, "RELAY_0_"); !ok {
					continue
				}
				prefix = "RELAY_"
			}
			tests["every port's "+key+" of "+shape] = func(l map[string]string) {
				for i := range room / 3100 {
					l[fmt.Sprint(prefix, i, "_", label)] = value
				}
			}
		}
	}
	for name, add := range tests {
		labels := map[string]string{}
		add(labels)
		wantQuick(t, name, func() mapped { return mapApp(ported(200, 2, labels), nil, testMapping()) })
	}
	tooMany := map[string]string{}
	tests["ten thousand unknown labels"](tooMany)
	tooMany["HAPROXY_0_VHOST"] = "a.test"
	if out := mapApp(ported(1, 1, tooMany), nil, testMapping()); len(out.app.Ports[0].Groups)+len(out.app.Ports[0].Domains) > 0 {
		t.Errorf("an app with too many labels is routed: %+v", out.app.Ports[0])
	} else if text := fmt.Sprint(out.app.Problems); !strings.Contains(text, "10002 labels") || !strings.Contains(text, "5000") {
		t.Errorf("problems %s", text)
	}
}

// TestLabelsOverALimit shows what labels cost that have more than is allowed, and
// that those with just as much count.
func TestLabelsOverALimit(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(" ", sources.MaxSettingBytes) + "x"
	list := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	groups := func(p portLabels) int { return len(p.groups) }
	domains := func(p portLabels) int { return len(p.domains) + len(p.acmeDomains) }
	tests := []struct {
		name    string
		labels  map[string]string
		of      func(portLabels) int // of both ports, added up
		want    int
		problem string
	}{
		{"groups", map[string]string{"HAPROXY_GROUP": list(100, "g%d,")}, groups, 200, ""},
		{"too many groups", map[string]string{"HAPROXY_GROUP": list(101, "g%d,")}, groups, 0, "more than 100 groups"},
		{"long groups", map[string]string{"HAPROXY_GROUP": "g", "HAPROXY_1_GROUP": long}, groups, 1, "more than 65536 bytes"},
		{"long groups of the app", map[string]string{"HAPROXY_GROUP": strings.Repeat("g", 1<<20)}, groups, 0, "more than 65536 bytes"},
		{"long switch", map[string]string{"HAPROXY_GROUP": "g", "HAPROXY_1_ENABLED": long}, groups, 1, "more than 65536 bytes"},
		{"long name of a deployment group", map[string]string{"HAPROXY_GROUP": "g", "HAPROXY_DEPLOYMENT_GROUP": strings.Repeat("g", 1<<20)}, groups, 2, "more than 65536 bytes"},
		{"domains", map[string]string{"HAPROXY_0_VHOST": list(2000, "d%d.test,")}, domains, 2000, ""},
		{"too many domains", map[string]string{"HAPROXY_0_VHOST": list(2001, "d%d.test,"), "HAPROXY_1_VHOST": "a.test"}, domains, 2001, "has 2001 entries, and at most 2000 are allowed: those after the first 2000 are not routed. Split the app"},
		{"long domains", map[string]string{"HAPROXY_0_VHOST": long, "HAPROXY_1_VHOST": "a.test"}, domains, 1, "only its first 0 entries"},
		{"many bytes of domains", map[string]string{"HAPROXY_0_VHOST": list(1500, "d%d."+strings.Repeat("a", 60)+".test,")}, domains, 924, "at most 65536 are read: only its first 924 entries"},
		{"many long lists of domains", map[string]string{"HAPROXY_0_VHOST": "a.test" + long, "HAPROXY_1_VHOST": "a.test" + long, "HAPROXY_2_VHOST": "a.test" + long, "MARATHON_ACME_0_DOMAIN": "a.test" + long,
			"MARATHON_ACME_1_DOMAIN": "a.test" + long}, domains, 3, "is ignored: it has more than 65536 bytes"},
		{"too many ACME domains", map[string]string{"MARATHON_ACME_0_DOMAIN": list(3000, "d%d.test,")}, domains, 2000, "has 3000 entries"},
		{"domains of an app", map[string]string{"HAPROXY_0_VHOST": list(2000, "d%d.test,"), "MARATHON_ACME_0_DOMAIN": list(2000, "d%d.test,")}, domains, 4000, ""},
		{"too many domains of an app", map[string]string{"HAPROXY_0_VHOST": list(2000, "d%d.test,"), "HAPROXY_1_VHOST": list(2000, "d%d.test,"), "HAPROXY_2_VHOST": "a.test", "MARATHON_ACME_0_DOMAIN": "a.test"},
			domains, 4001, "has 1 entries, and the app has more than 4000 in all such lists: only the first 0 of this list are routed"},
	}
	for _, tt := range tests {
		read, problems := parseLabels(tt.labels, []declaration{{}, {}, {}})
		if n := tt.of(read.ports[0]) + tt.of(read.ports[1]); n != tt.want || read.deployment != nil {
			t.Errorf("%s: %d, want %d; deployment %v", tt.name, n, tt.want, read.deployment)
		}
		if text := fmt.Sprint(problems); !strings.Contains(text, tt.problem) || (tt.problem == "") != (len(problems) == 0) {
			t.Errorf("%s: problems %.300s, want %q", tt.name, text, tt.problem)
		}
	}
}
