package file

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/internal/cputest"
	"relay/sources"
)

// entries is a YAML list of so many entries.
func entries(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+", ", i)
	}
	return "[" + b.String() + "]"
}

// TestAppsAreBounded gives every field of a file 1 MB, and every list ten thousand
// entries: the app is read quickly, and there is not much to say about it.
func TestAppsAreBounded(t *testing.T) {
	const many = 10_000
	mb := strings.Repeat("a.", 1<<19)
	endpoint := "{address: %s, health: %s, region: %s, zone: %s}"
	ports := map[string]string{
		"a name": "{name: " + mb + "}", "groups": "{groups: " + entries(many, "g%d") + "}", "a group": "{groups: [" + mb + "]}",
		"domains": "{domains: " + entries(many, "d%d.test") + "}", "bad domains": "{domains: " + entries(2000, "d_%d.test") + "}", "a domain": "{domains: [" + mb + "]}",
		"a domain of other letters": "{acmeDomains: [" + strings.Repeat("ü", 1<<19) + "]}",
		"endpoints":                 "{endpoints: " + entries(3*many, `{address: "10.0.0.1:%d"}`) + "}", "bad endpoints": "{endpoints: " + entries(many, "{address: a%d}") + "}",
		"an address": fmt.Sprintf("{endpoints: ["+endpoint+"]}", mb, "healthy", "eu", "a"), "a health": fmt.Sprintf("{endpoints: ["+endpoint+"]}", `"10.0.0.1:80"`, mb, "eu", "a"),
		"a region and a zone": fmt.Sprintf("{endpoints: ["+endpoint+"]}", `"10.0.0.1:80"`, "healthy", mb, mb),
	}
	for field := range settingFields {
		if cputest.Slow > 1 && field != "paths" { // this build looks for races, not for time
			continue
		}
		ports["setting "+field] = "{domains: [a.test], " + field + ": " + mb + "}"
		ports["list of "+field] = "{domains: [a.test], " + field + ": " + entries(many, "/%d") + "}"
	}
	for _, field := range []string{"requestHeadersToAdd", "responseHeadersToAdd"} {
		headers := entries(many, "x-%d: a")
		ports["mapping of "+field] = "{" + field + ": {" + headers[1:len(headers)-1] + "}}"
	}
	apps := map[string]string{"ports": "ports: " + entries(many, "{name: p%d}"), "a deployment group": "deployment: {group: " + mb + "}"}
	for name, port := range ports {
		apps[name] = "ports: [" + port + "]"
	}
	apps["settings"] = "ports: " + entries(1000, "{paths: /%d, mode: http, sticky: true, hsts: true, tls: false, timeout: 1s}")
	apps["long settings"] = "ports: " + entries(50, "{paths: [/%d, "+strings.Repeat("/x ", 2000)+"]}")
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		specs, err := decode("apps.yaml", []byte("apps: [{id: /a, "+apps[name]+"}]"))
		if err != nil || len(specs) != 1 {
			t.Fatalf("%s: %d apps, %.300v", name, len(specs), err)
		}
		best, app := time.Duration(math.MaxInt64), (*sources.App)(nil)
		for range 5 { // garbage may be collected meanwhile
			c := converter{file: "apps.yaml"}
			if best = min(best, cputest.Thread(func() { app = c.app(specs[0]) })); best <= cputest.Slow*100*time.Millisecond {
				break
			}
		}
		if best > cputest.Slow*100*time.Millisecond {
			t.Errorf("%s: takes %s", name, best.Round(time.Millisecond))
		}
		size, domains, endpoints := 0, 0, 0
		for _, p := range app.Problems {
			size += len(p.Subject) + len(p.Reason)
		}
		for _, p := range app.Ports {
			size += len(p.Name)
			domains += len(p.Domains) + len(p.ACMEDomains)
			endpoints += len(p.Endpoints)
			for _, e := range p.Endpoints {
				size += len(e.Region) + len(e.Zone)
			}
		}
		if n := len(app.Problems); n > 120 || size > 50_000 || domains > sources.MaxDomains || endpoints > sources.MaxEndpoints || len(app.Ports) > sources.MaxPorts {
			t.Errorf("%s: %d problems and texts of %d bytes, %d domains, %d endpoints, %d ports", name, n, size, domains, endpoints, len(app.Ports))
		}
		hasLimit := strings.Contains(fmt.Sprint(app.Problems), "than") || strings.Contains(fmt.Sprint(app.Problems), "only the first")
		if field, ok := strings.CutPrefix(name, "setting "); ok && !hasLimit {
			t.Errorf("%s: problems %v", field, app.Problems)
		}
	}
}

// Of an app with too many settings none counts: one that restricts access could be
// among those left out.
func TestTooManySettings(t *testing.T) {
	t.Parallel()
	const text = "apps: [{id: /a, deployment: {group: g}, ports: %s}]"
	for n, served := range map[int]bool{833: true, 834: false} { // six settings each, and at most 5000 in all
		apps, err := Parse("apps.yaml", fmt.Appendf(nil, text, entries(n, "{domains: [d%d.test], mode: http, sticky: true, hsts: true, tls: false, timeout: 1s, order: 1}")))
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(apps[0].Problems); !served && !strings.Contains(text, "the app has 5004 settings, and at most 5000 are read: nothing of the app is routed") {
			t.Errorf("%d ports: problems %s", n, text)
		}
		port := apps[0].Ports[n-1]
		if got := len(port.Groups) > 0 && len(port.Domains) > 0 && apps[0].Deployment != nil; got != served || len(apps[0].Problems) > 0 == served {
			t.Errorf("%d ports: served %t, problems %v", n, got, apps[0].Problems)
		}
	}
}

// The values of the settings of an app have a limit together, too.
func TestTooLongSettings(t *testing.T) {
	t.Parallel()
	value := strings.Repeat("a", 60_000)
	apps, err := Parse("apps.yaml", fmt.Appendf(nil, "apps: [{id: /a, ports: %s}]", entries(6, "{domains: [d%d.test], stripPrefix: /"+value+"}")))
	if err != nil {
		t.Fatal(err)
	}
	const want = "the values of the app's settings take 360006 bytes together, and at most 262144 are read: nothing of the app is routed"
	if text := fmt.Sprint(apps[0].Problems); !strings.Contains(text, want) || len(apps[0].Ports[0].Groups) > 0 {
		t.Errorf("problems %s, want %q; groups %v", text, want, apps[0].Ports[0].Groups)
	}
}

// However many mistakes there are in a file, some are told, and how many more.
func TestMistakesAreBounded(t *testing.T) {
	t.Parallel()
	mb := strings.Repeat("a", 1<<18)
	for name, text := range map[string]string{
		"ids":         "apps: " + entries(2_000, "{id: A%d}"),
		"a long id":   "apps: [{id: /" + mb + "}]",
		"a bad id":    "apps: [{id: " + mb + "}]",
		"fields":      "apps: [{id: /a, ports: " + entries(2_000, "{f%d: 1}") + "}]",
		"a field":     "apps: [{id: /a, " + mb + ": 1}]",
		"a setting":   "apps: [{id: /a, ports: [{" + mb + ": 1}]}]",
		"empty items": "apps: [{id: /a, ports: [" + strings.Repeat("null, ", 2_000) + "]}]",
		"types":       "apps: [{id: /a, ports: " + entries(2_000, "{redirectToHTTPS: %d}") + "}]",
		"keys":        "apps: [{id: /a, ports: [{? " + mb + " : 1, ? " + mb + " : 1}]}]",
		"an anchor":   "apps: *" + mb,
	} {
		_, err := Parse("apps.yaml", []byte(text))
		if err == nil || len(err.Error()) > 20_000 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	apps, err := Parse("apps.yaml", []byte("apps: "+entries(2_000, "{id: /a, ports: [{name: p%d}]}")))
	if err != nil || len(apps) != 1 || len(apps[0].Problems) > sources.MaxProblems {
		t.Errorf("one id again and again: %d apps, %.300v", len(apps), err)
	}
}

// Of lists of domains that are too long the first entries are kept, and those beside
// them count.
func TestDomainsOverTheLimit(t *testing.T) {
	t.Parallel()
	const most = sources.MaxDomains
	for _, tt := range []struct {
		given, kept []int
		problem     string
	}{
		{[]int{most, 1}, []int{most, 1}, ""},
		{[]int{most + 1, 1}, []int{most, 1}, "apps.yaml:1: has 2001 entries, and at most 2000 are allowed: those after the first 2000 are not routed. Split the app"},
		{[]int{2 * most, 3 * most, 1, 0}, []int{most, most, 0, 0}, "has 6000 entries"},
		{[]int{most, most - 1, 2, 1}, []int{most, most - 1, 1, 0}, "has 2 entries, and the app has more than 4000 in all such lists: only the first 1 of this list"},
	} {
		for _, field := range []string{"domains", "acmeDomains"} {
			var text strings.Builder
			for i, n := range tt.given {
				fmt.Fprintf(&text, "{%s: %s}, ", field, entries(n, fmt.Sprint("d", i, "-%d.test")))
			}
			// The other kind of domains has limits of its own.
			fmt.Fprint(&text, "{domains: [z.test], acmeDomains: [z.test]}")
			apps, err := Parse("apps.yaml", []byte("apps: [{id: /a, ports: ["+text.String()+"]}]"))
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range tt.kept {
				got, other := apps[0].Ports[i].Domains, apps[0].Ports[len(tt.given)].ACMEDomains
				if field == "acmeDomains" {
					got, other = apps[0].Ports[i].ACMEDomains, apps[0].Ports[len(tt.given)].Domains
				}
				if len(got) != want || len(other) != 1 || want > 0 && got[want-1] != fmt.Sprintf("d%d-%d.test", i, want-1) {
					t.Errorf("%s %v: port %d has %d, want the first %d; and %d of the other kind, want 1", field, tt.given, i, len(got), want, len(other))
				}
			}
			if got := fmt.Sprint(apps[0].Problems); !strings.Contains(got, tt.problem) || tt.problem == "" && len(apps[0].Problems) > 0 {
				t.Errorf("%s %v: problems %s, want %q", field, tt.given, got, tt.problem)
			}
		}
	}
}
