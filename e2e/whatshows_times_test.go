package e2e

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// TestWhatShows asks probes six times as often as is the default, and divides by as much how long probes have to fail for an
// alert. What has to be wrong for long otherwise is so for a thirtieth of it.
const (
	quickerProbes = 6
	quickerOthers = 30
)

func quickerBy(group string) time.Duration {
	if group == "probes" {
		return quickerProbes
	}
	return quickerOthers
}

var (
	groupOfRules = regexp.MustCompile(`(?m)^- name: (\w+)$`)
	forOfRule    = regexp.MustCompile(`(?m)^( +for): (\w+)$`)
	ageOfRule    = regexp.MustCompile(`(?m)(expr: time\(\) - \w+ >) (\d+)$`)
)

// quickerRules divides the time for which something has to be wrong, and the age that something has to have. Windows of
// rates stay as they are.
func quickerRules(t *testing.T, rules string) string {
	t.Helper()
	groups := groupOfRules.FindAllStringSubmatchIndex(rules, -1)
	changed := rules[:groups[0][0]]
	for i, at := range groups {
		end := len(rules)
		if i+1 < len(groups) {
			end = groups[i+1][0]
		}
		by := quickerBy(rules[at[2]:at[3]])
		group := forOfRule.ReplaceAllStringFunc(rules[at[0]:end], func(text string) string {
			m := forOfRule.FindStringSubmatch(text)
			return fmt.Sprintf("%s: %dms", m[1], (parsedDuration(t, m[2]) / by).Milliseconds())
		})
		changed += ageOfRule.ReplaceAllStringFunc(group, func(text string) string {
			m := ageOfRule.FindStringSubmatch(text)
			seconds, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%s %d", m[1], seconds/int(by))
		})
	}
	return changed
}

func parsedDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// ruleTimes are those of an alert: how often it is looked at, and how long it has to be so.
type ruleTimes struct {
	group            string
	evaluation, wait time.Duration
}

// shippedTimes reads how long each alert takes by the files in deploy, and how long Alertmanager waits.
func shippedTimes(t *testing.T) (rules map[string]ruleTimes, scrape, group time.Duration) {
	t.Helper()
	var alerts struct {
		Groups []struct {
			Name, Interval string
			Rules          []struct{ Alert, Expr, For string }
		}
	}
	var prometheus struct {
		Global struct {
			Evaluation string `yaml:"evaluation_interval"`
		}
		Jobs []struct {
			Name   string `yaml:"job_name"`
			Scrape string `yaml:"scrape_interval"`
		} `yaml:"scrape_configs"`
	}
	var alertmanager struct {
		Route struct {
			Wait string `yaml:"group_wait"`
		}
	}
	for name, into := range map[string]any{"alerts.yaml": &alerts, "prometheus.yml": &prometheus, "alertmanager.yml": &alertmanager} {
		if err := yaml.Unmarshal([]byte(readSettings(t, name, nil)), into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, job := range prometheus.Jobs {
		if job.Name == "relay" {
			scrape = parsedDuration(t, job.Scrape)
		}
	}
	rules = make(map[string]ruleTimes)
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			times := ruleTimes{group: g.Name, evaluation: parsedDuration(t, prometheus.Global.Evaluation)}
			if g.Interval != "" {
				times.evaluation = parsedDuration(t, g.Interval)
			}
			if r.For != "" {
				times.wait = parsedDuration(t, r.For)
			}
			if m := ageOfRule.FindStringSubmatch("expr: " + r.Expr); m != nil {
				times.wait += parsedDuration(t, m[2]+"s")
			}
			rules[r.Alert] = times
		}
	}
	return rules, scrape, parsedDuration(t, alertmanager.Route.Wait)
}

// inWords writes a time as people do, and no shorter one.
func inWords(d time.Duration) string {
	seconds := int(math.Ceil(d.Seconds()))
	minutes := (seconds + 59) / 60
	switch {
	case seconds <= 120:
		return fmt.Sprintf("%d s", seconds)
	case minutes < 10 && seconds%60 != 0:
		return fmt.Sprintf("%d min %d s", seconds/60, seconds%60)
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	}
	return strings.TrimSuffix(fmt.Sprintf("%d h %d min", minutes/60, minutes%60), " 0 min")
}
