package relay

import (
	"fmt"
	"slices"
	"strings"

	"relay/collator"
	"relay/collator/envoy"
	"relay/internal/hostname"
	"relay/internal/plural"
)

// limitsOf says what of a fleet's apps Envoys lack that are older than each of FeaturesSince; nothing if that is
// nothing.
func limitsOf(fleet string, apps []collator.AppView) map[int]string {
	all := make(map[int]string)
	since := domainsSince(fleet, apps)
	for _, minor := range envoy.FeaturesSince() {
		l := limits{minor: minor}
		for _, app := range apps {
			l.look(fleet, app, since)
		}
		if lacks := l.words(); lacks != "" {
			all[minor] = lacks
		}
	}
	return all
}

// domainsSince are the minor versions of Envoy 1 from which on Envoys can do all that ports ask for, by domain. An Envoy
// that lacks one filter of a domain is sent none of them.
func domainsSince(fleet string, apps []collator.AppView) map[string]int {
	since := make(map[string]int)
	for _, app := range apps {
		for i, port := range app.Ports {
			if asked := askedOf(fleet, app, i); len(asked) > 0 {
				for _, d := range port.Domains {
					since[d] = max(since[d], envoy.SinceOf(app.Routed.Ports[i].HTTP))
				}
			}
		}
	}
	return since
}

// askedOf is what a port asks of filters, in a fleet.
func askedOf(fleet string, app collator.AppView, port int) []envoy.Asked {
	if !slices.Contains(app.Ports[port].Fleets, fleet) || port >= len(app.Routed.Ports) || app.Routed.Ports[port].HTTP == nil {
		return nil
	}
	return envoy.AskedOf(app.Routed.Ports[port].HTTP)
}

// limits are what Envoys before a minor version lack.
type limits struct {
	minor           int
	closed, without []string // apps
	// restrictions and conveniences are what they ask for, and unknown is what of it the Envoys do not know.
	restrictions, conveniences, unknown []string
	wildcards                           int
}

func (l *limits) look(fleet string, app collator.AppView, since map[string]int) {
	restricted, filtered := false, false
	for i, port := range app.Ports {
		if !slices.Contains(port.Fleets, fleet) {
			continue
		}
		for _, d := range port.Domains {
			if _, wildcard := hostname.CutWildcard(d); wildcard && l.minor == envoy.ChainsSince {
				l.wildcards++
			}
		}
		asked := askedOf(fleet, app, i)
		if !slices.ContainsFunc(port.Domains, func(d string) bool { return since[d] >= l.minor }) {
			continue
		}
		for _, a := range asked {
			if a.Since >= l.minor {
				l.unknown = addOnce(l.unknown, a.Name)
			}
			if a.Restricts {
				restricted = true
				l.restrictions = addOnce(l.restrictions, a.Name)
			} else {
				filtered = true
				l.conveniences = addOnce(l.conveniences, a.Name)
			}
		}
	}
	switch {
	case restricted:
		l.closed = append(l.closed, app.ID)
	case filtered:
		l.without = append(l.without, app.ID)
	}
}

// words says so for people; nothing if nothing is lacking.
func (l *limits) words() string {
	var lacks []string
	if len(l.closed) > 0 {
		lacks = append(lacks, fmt.Sprintf("answer 403 for %s with %s (%s)", plural.Of(len(l.closed), "app"), orWords(l.restrictions), someOf(l.closed, maxApps)))
	}
	if len(l.without) > 0 {
		lacks = append(lacks, fmt.Sprintf("serve %s without the %s that %s for (%s)", plural.Of(len(l.without), "app"), orWords(l.conveniences), theyAsk(len(l.without)), someOf(l.without, maxApps)))
	}
	if l.wildcards > 0 {
		lacks = append(lacks, fmt.Sprintf("answer 404 for hosts below %s", plural.Of(l.wildcards, "wildcard domain")))
	}
	if len(lacks) == 0 {
		return ""
	}
	why := ""
	if l.minor > envoy.ChainsSince {
		why = fmt.Sprintf("they do not know %s, and get no filters of domains that ask for that: ", orWords(l.unknown))
	}
	return fmt.Sprintf("%sthey %s. Install Envoy 1.%d or newer (docs/compatibility.md)", why, strings.Join(lacks, ", and "), l.minor)
}

func theyAsk(n int) string {
	if n == 1 {
		return "it asks"
	}
	return "they ask"
}

func addOnce(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// orWords joins a list with commas and an "or".
func orWords(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}
