package statuspage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "page.yaml")
	text := `
title: Example
url: https://status.example.com/
thresholds: {degraded: 20}
services:
  - name: Shop
    description: Where things are bought
    group: Customers
    domains: ["*.Shop.Test"]
    slow: 2s
    thresholds: {down: 90}
  - {name: Devices, probes: ["imp-*"], fleets: [tcp]}
places:
  - {name: far, url: "https://probe.example.com:9091", token-file: token, ca-file: /etc/ca.pem}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ReadSettings(path)
	if err != nil {
		t.Fatal(err)
	}
	shop, far := s.Services[0], s.Places[0]
	if s.Title != "Example" || shop.Domains[0] != "*.shop.test" || shop.Slow != 2*time.Second || shop.Thresholds != (Thresholds{20, 90}) || s.Services[1].Thresholds != (Thresholds{20, 51}) {
		t.Errorf("%+v", s)
	}
	if far.TokenFile != filepath.Join(dir, "token") || far.CAFile != "/etc/ca.pem" {
		t.Errorf("%+v", far)
	}
	if _, err := ReadSettings(filepath.Join(dir, "none.yaml")); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestSettingsMistakes(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"services: there is none":                                  "",
		`line 1: there is no setting "titel" here`:                 "titel: x\nservices: [{name: a, apps: [/a]}]",
		`line 1: there is no setting "domain" here`:                "services: [{name: a, domain: a.test}]",
		"line 1: a value of type str `a` does not belong here":     "services: a",
		"line 1: 2 is no time: write it with its unit, such as 2s": "services: [{name: a, apps: [/a], slow: 2}]",
		"second document":                                   "services: [{name: a, apps: [/a]}]\n---\ntitle: x",
		`services[0] (""): name: it is empty`:               "services: [{apps: [/a]}]",
		"another service has this name":                     "services: [{name: a, apps: [/a]}, {name: a, apps: [/a]}]",
		"nothing says how it is":                            "services: [{name: a}]",
		"an empty pattern":                                  `services: [{name: a, apps: [""]}]`,
		"a comma is between":                                `services: [{name: "a,b", apps: [/a]}]`,
		"name: want one line":                               `services: [{name: "a\nb", apps: [/a]}]`,
		"description: the character U+202E is not allowed":  `services: [{name: a, description: "a\u202e", apps: [/a]}]`,
		"degraded is 60 and down is 51":                     "services: [{name: a, apps: [/a], thresholds: {degraded: 60}}]",
		"degraded is 10 and down is 101":                    "thresholds: {down: 101}\nservices: [{name: a, apps: [/a]}]",
		"slow is below 0":                                   "services: [{name: a, apps: [/a], slow: -1s}]",
		"url: want one such as https://status.example.com/": "url: status.test\nservices: [{name: a, apps: [/a]}]",
		"without a user in it":                              `{services: [{name: a, apps: [/a]}], places: [{name: b, url: "http://joe:secret@b.test"}]}`,
		"another place has this name":                       `{services: [{name: a, apps: [/a]}], places: [{name: b, url: "http://b.test"}, {name: b, url: "http://c.test"}]}`,
		"at most 100 and 20":                                "services: [" + strings.Repeat("{name: a, apps: [/a]},", 101) + "]",
		"it has 201 patterns":                               "services: [{name: a, apps: [" + strings.Repeat("/a,", 201) + "]}]",
	} {
		_, err := ParseSettings([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret@") || strings.Contains(err.Error(), "statuspage.") {
			t.Errorf("%.80s: %v; want %s", text, err, want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(threeServices))
	f.Add([]byte("thresholds: {degraded: 1}\nservices: [{name: a, apps: ['*'], slow: 1s}]\nplaces: [{name: b, url: http://b.test}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSettings(text)
		if err != nil {
			return
		}
		if len(s.Services) == 0 || len(s.Services) > maxServices || s.Title == "" {
			t.Errorf("%+v", s)
		}
		m := New(Config{Settings: s, Log: quiet})
		m.look(noon)
		if v := m.View(); len(v.Services) != len(s.Services) || v.State != Unknown {
			t.Error(fmt.Sprint(v))
		}
	})
}
