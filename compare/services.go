package compare

import (
	"fmt"
	"slices"
	"strings"

	"relay/compare/marathonlb"
	"relay/sources"
)

// compareService compares how both serve a port that both have, whatever leads to it.
func (s *Sides) compareService(old *marathonlb.Service) (findings []Finding) {
	port, known := s.relay.port(old.Members, old.Port)
	if !known || !slices.Contains(port.Groups, s.relay.fleet.Name) {
		return nil // what leads to it is missing, and that is told
	}
	name := portName(old.Members, old.Port)
	found := func(kind Kind, was, is, reason, do string) {
		if was != is {
			findings = append(findings, Finding{
				Verdict: Different, Kind: kind, Subject: name, App: old.App, Old: was, New: is, Reason: reason, Do: do,
			})
		}
	}
	label := func(name string) string { return fmt.Sprintf("HAPROXY_%d_%s", old.Port, name) }
	findings = append(findings, s.compareInstances(old, port)...)
	findings = append(findings, s.compareLabels(old)...)
	was, is := balanceWords(old.Balance), newBalance(port)
	if is == leastRequest && old.Balance == "roundrobin" {
		is = was // told once for all
	}
	found(Balance, was, is, "", "look at "+label("BALANCE"))
	if old.Mode != "http" {
		return findings
	}
	h := port.HTTP
	if h == nil {
		h = &sources.HTTP{}
	}
	onlyTrue := "marathon-lb knows only true, t, yes and y, without spaces, for true"
	found(Sticky, onOff(old.Sticky), onOff(h.Sticky), onlyTrue, "look at "+label("STICKY"))
	found(HSTS, onOff(old.HSTS), onOff(h.HSTS && s.relay.fleet.OffersHTTPS()), onlyTrue+", and Relay sends it over HTTPS only", "look at "+label("USE_HSTS"))
	findings = append(findings, s.comparePaths(old, h)...)
	both := func(kind Kind, set bool, was, is string, e expectation) {
		if set {
			findings = append(findings, Finding{Kind: kind, Subject: name, App: old.App, Old: was, New: is}.expected(e))
		}
	}
	both(Sticky, old.Sticky && h.Sticky, "cookie mesosphere_server_id", "a cookie for each app port", "sticky")
	both(HSTS, old.HSTS && h.HSTS && s.relay.fleet.OffersHTTPS(), "on HTTP and HTTPS", "on HTTPS", "HSTS")
	return findings
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// comparePaths compares what is done with paths and hosts on the way to an app.
func (s *Sides) comparePaths(old *marathonlb.Service, h *sources.HTTP) (findings []Finding) {
	several := len(old.Hosts) > 1
	for _, one := range []struct{ label, was, is string }{
		{"HTTP_BACKEND_REDIR", old.RootRedirect, h.RootRedirect},
		{"HTTP_BACKEND_PROXYPASS_PATH", old.StripPrefix, h.StripPrefix},
		{"HTTP_BACKEND_REVPROXY_PATH", strings.TrimRight(old.LocationPrefix, "/"), h.LocationPrefix},
	} {
		reason, do := "", ""
		name := fmt.Sprintf("HAPROXY_%d_%s", old.Port, one.label)
		switch {
		case one.was == one.is && (!several || one.was == ""):
			continue
		case several && one.was != "":
			reason = "with more than one domain, marathon-lb compares or sends all of them as one host: the label works for none of them"
			do = "see whether the app copes with it"
			one.was = "does not work"
		default:
			reason, do = s.relay.why(old.Members, old.Port, "", one.label)
		}
		findings = append(findings, Finding{
			Verdict: Different, Kind: Paths, Subject: portName(old.Members, old.Port), App: old.App,
			Old: name + ": " + orNone(one.was), New: name + ": " + orNone(one.is), Reason: reason, Do: do,
		})
	}
	return findings
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// compareLabels finds the labels that have an effect on marathon-lb alone: Relay reports them
// as problems.
func (s *Sides) compareLabels(old *marathonlb.Service) (findings []Finding) {
	prefix := fmt.Sprintf("HAPROXY_%d_", old.Port)
	for _, m := range old.Members {
		for _, p := range s.relay.apps[m].Problems {
			name, own := strings.CutPrefix(p.Subject, prefix)
			if own && (slices.Contains(old.Templates, p.Subject) || name == "SSL_CERT" || name == "BIND_OPTIONS") {
				findings = append(findings, Finding{
					Verdict: Different, Kind: Template, Subject: portName(old.Members, old.Port), App: old.App,
					Old: "does what " + p.Subject + " says", New: "ignores it", Reason: p.Reason, Do: "see whether the app needs it, and the table of labels in docs/migrating.md",
				})
			}
		}
	}
	return findings
}

// The ways to choose an instance, for people.
const (
	inTurn       = "the next in turn"
	leastRequest = "the one with the fewest requests"
	byChance     = "one by chance"
	byHash       = "by a hash"
)

func balanceWords(algorithm string) string {
	name, _, _ := strings.Cut(strings.ToLower(algorithm), " ")
	name, _, _ = strings.Cut(name, "(")
	switch name {
	case "roundrobin", "static-rr":
		return inTurn
	case "leastconn":
		return leastRequest
	case "random":
		return byChance
	case "source", "uri", "url_param", "hdr":
		return byHash
	}
	return algorithm
}

func newBalance(port sources.Port) string {
	if port.Upstream == nil {
		return leastRequest
	}
	switch port.Upstream.Balance {
	case sources.BalanceRoundRobin:
		return inTurn
	case sources.BalanceRandom:
		return byChance
	case sources.BalanceHash:
		return byHash
	}
	return leastRequest
}
