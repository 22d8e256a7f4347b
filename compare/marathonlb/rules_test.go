package marathonlb

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ruleCase is a case of testdata/rules.json. What is wanted is what marathon-lb itself made
// of the apps, with HAProxy to say which of them it refuses, in a form of our own.
type ruleCase struct {
	Name    string            `json:"name"`
	Options Options           `json:"options"`
	Apps    []json.RawMessage `json:"apps"`
	Want    shape             `json:"want"`
}

type shape struct {
	// Fails is set if marathon-lb made nothing at all.
	Fails    bool           `json:"fails,omitempty"`
	Refused  []string       `json:"refused,omitempty"`
	HTTP     []shapeLine    `json:"http,omitempty"`
	HTTPS    []shapeLine    `json:"https,omitempty"`
	Services []shapeService `json:"services,omitempty"`
	// Apps are the backends of the frontend that goes by the id of the app.
	Apps []string `json:"apps,omitempty"`
	Map  []string `json:"map,omitempty"`
}

// shapeLine is what is done with some requests: use, redirect, auth or map.
type shapeLine struct {
	Do      string   `json:"do"`
	Backend string   `json:"backend,omitempty"`
	Realm   string   `json:"realm,omitempty"`
	Hosts   []string `json:"hosts,omitempty"`
	Paths   []string `json:"paths,omitempty"`
}

type shapeService struct {
	Backend        string   `json:"backend"`
	Bind           string   `json:"bind"`
	Mode           string   `json:"mode"`
	Balance        string   `json:"balance,omitempty"`
	Sticky         bool     `json:"sticky,omitempty"`
	HSTS           bool     `json:"hsts,omitempty"`
	Networks       []string `json:"networks,omitempty"`
	RootRedirect   string   `json:"rootRedirect,omitempty"`
	StripPrefix    string   `json:"stripPrefix,omitempty"`
	LocationPrefix string   `json:"locationPrefix,omitempty"`
	Servers        []string `json:"servers"`
}

func ruleCases(t *testing.T) (cases []ruleCase) {
	t.Helper()
	data, err := os.ReadFile("testdata/rules.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func readAll(t *testing.T, all []json.RawMessage) (apps []App) {
	t.Helper()
	for _, raw := range all {
		app, err := Read(raw)
		if err != nil {
			t.Fatal(err)
		}
		apps = append(apps, app)
	}
	return apps
}

func TestRulesAreThoseOfMarathonLB(t *testing.T) {
	t.Parallel()
	cases := ruleCases(t)
	if len(cases) < 70 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			if len(c.Options.Groups) == 0 {
				c.Options.Groups = []string{"external"}
			}
			r := RulesOf(readAll(t, c.Apps), c.Options)
			if c.Want.Fails {
				if len(r.Failures) == 0 {
					t.Error("it made rules, and marathon-lb does not")
				}
				return
			}
			if len(r.Failures) > 0 {
				t.Errorf("marathon-lb does not fail: %+v", r.Failures)
			}
			normal := cmp.Transformer("sorted", func(s []string) []string { return slices.Sorted(slices.Values(s)) })
			if diff := cmp.Diff(c.Want, shapeOf(r), cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "Hosts") }, normal)); diff != "" {
				t.Errorf("marathon-lb has (-), the model has (+):\n%s", diff)
			}
		})
	}
}

func shapeOf(r *Rules) (s shape) {
	s.HTTP, s.HTTPS = shapeLines(&r.http), shapeLines(&r.https)
	refused := make(map[string]bool)
	for _, one := range r.Skipped {
		if one.Refused {
			refused[one.App] = true
		}
	}
	s.Refused = slices.Sorted(maps.Keys(refused))
	for _, one := range r.Services {
		v := shapeService{
			Backend: one.Backend(), Bind: one.BindAddress + ":" + strconv.Itoa(one.ServicePort), Mode: one.Mode, Sticky: one.Sticky,
			Networks: one.Networks,
		}
		if one.Mode == "http" {
			v.HSTS, v.RootRedirect, v.StripPrefix, v.LocationPrefix = one.HSTS, one.RootRedirect, one.StripPrefix, one.LocationPrefix
		}
		if one.Balance != "roundrobin" {
			v.Balance = one.Balance
		}
		for _, server := range one.Servers {
			text := server.Host + ":" + strconv.Itoa(server.Port)
			if server.Draining {
				text += " draining"
			}
			v.Servers = append(v.Servers, text)
		}
		slices.Sort(v.Servers)
		s.Services = append(s.Services, v)
	}
	for _, one := range r.Services {
		if r.byAppID[one.App] == one {
			s.Apps = append(s.Apps, one.Backend())
		}
	}
	seen := make(map[string]bool)
	for _, e := range r.mapped {
		if line := e.host + " " + e.service.Backend(); !seen[line] {
			seen[line] = true
			s.Map = append(s.Map, line)
		}
	}
	return s
}

func shapeLines(f *frontend) (lines []shapeLine) {
	add := func(do string, rules []rule) {
		for _, r := range rules {
			if r.service == nil {
				lines = append(lines, shapeLine{Do: "map"})
				continue
			}
			hosts := slices.Compact(slices.Sorted(slices.Values(f.hostsOf(r))))
			line := shapeLine{Do: do, Hosts: hosts, Paths: strings.Fields(r.service.Path)}
			switch do {
			case "use":
				line.Backend = r.service.Backend()
			case "auth":
				line.Realm = r.service.Realm
			}
			if len(line.Paths) == 0 {
				line.Paths = nil
			}
			lines = append(lines, line)
		}
	}
	add("auth", f.auth)
	add("redirect", f.redirects)
	add("use", f.uses)
	return lines
}
