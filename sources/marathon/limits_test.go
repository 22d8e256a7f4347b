package marathon

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"relay/internal/cputest"
	"relay/sources"
	"relay/sources/labels"
)

// mappingLimit is how long the mapping of one app may take, whatever it holds.
const mappingLimit = cputest.Slow * 100 * time.Millisecond

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
	if cputest.Slow > 1 { // this build looks for races, not for time
		maps.DeleteFunc(all, func(shape, _ string) bool { return shape != "words" && shape != "one word of other letters" })
	}
	return all
}

// allLabels are the keys of all labels that are known, for port 0.
func allLabels() []string {
	var keys []string
	for _, l := range labels.All() {
		keys = append(keys, strings.Replace(l.For("0"), "*", "X", 1))
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
		if best = min(best, cputest.Thread(func() { out = do() })); best <= mappingLimit {
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
					out := wantQuick(t, name, func() mapped { return convertApp(ported(2, 2, labels), nil, testMapping()) })
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

// TestManyLabelsAreBounded fills an app with as many labels as it may have,
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
			for i := range room / labels.MaxKeyBytes {
				key := fmt.Sprintf("HAPROXY_%d_", i)
				l[key+strings.Repeat("_", labels.MaxKeyBytes-len(key))] = ""
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
		wantQuick(t, name, func() mapped { return convertApp(ported(200, 2, labels), nil, testMapping()) })
	}
	tooMany := map[string]string{}
	tests["ten thousand unknown labels"](tooMany)
	tooMany["HAPROXY_0_VHOST"] = "a.test"
	if out := convertApp(ported(1, 1, tooMany), nil, testMapping()); len(out.app.Ports[0].Groups)+len(out.app.Ports[0].Domains) > 0 {
		t.Errorf("an app with too many labels is routed: %+v", out.app.Ports[0])
	} else if text := fmt.Sprint(out.app.Problems); !strings.Contains(text, "10002 labels") || !strings.Contains(text, "5000") {
		t.Errorf("problems %s", text)
	}
}
