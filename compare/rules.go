package compare

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"relay/collator"
	"relay/collator/routing"
	"relay/compare/marathonlb"
	"relay/internal/hostname"
)

// Sides are both that are compared: what a fleet of Relay does with the apps, and what
// marathon-lb makes of them.
type Sides struct {
	relay *relaySide
	old   *marathonlb.Rules
	// services are those of marathon-lb by each app and port.
	services map[string]*marathonlb.Service
	skipped  map[string]marathonlb.Skipped
}

// NewSides returns the sides for a fleet. The collator has read everything, and apps are
// those of the same read, in the order of Marathon's list.
func NewSides(c *collator.Collator, fleet string, apps []marathonlb.App, o marathonlb.Options) (*Sides, error) {
	for _, f := range c.Snapshot().Fleets {
		if f.Name != fleet {
			continue
		}
		s := &Sides{
			relay: newRelaySide(c, f), old: marathonlb.RulesOf(apps, o),
			services: make(map[string]*marathonlb.Service), skipped: make(map[string]marathonlb.Skipped),
		}
		for _, one := range s.old.Services {
			for _, m := range one.Members {
				s.services[portName([]string{m}, one.Port)] = one
			}
		}
		for _, one := range s.old.Skipped {
			s.skipped[portName([]string{one.App}, one.Port)] = one
		}
		return s, nil
	}
	return nil, fmt.Errorf("there is no fleet %q", fleet)
}

// probe is a request by which rules are compared: all requests with the same longest prefix
// have the same answer.
type probe struct{ host, path string }

func (p probe) String() string { return p.host + p.path }

// unlikely is the first label of hosts that stand for all names below a wildcard domain.
const unlikely = "relay-compare"

// probes returns requests for each domain and each prefix of a path that one of the sides has,
// in order.
func (s *Sides) probes() (all []probe) {
	paths := make(map[string]map[string]struct{})
	add := func(host, prefix string, ignoreCase bool) {
		if paths[host] == nil {
			paths[host] = map[string]struct{}{"/": {}}
		}
		paths[host][prefix] = struct{}{}
		if ignoreCase {
			paths[host][strings.ToLower(prefix)] = struct{}{}
			paths[host][strings.ToUpper(prefix)] = struct{}{}
		}
	}
	for domain, rules := range s.relay.rules {
		host := domain
		if parent, wildcard := hostname.CutWildcard(domain); wildcard {
			host = unlikely + "." + parent
		}
		add(host, "/", false)
		for _, r := range rules {
			add(host, r.Path.Prefix, r.Path.IgnoreCase)
		}
	}
	for host, prefixes := range s.old.Domains() {
		if !sendable(host) {
			continue
		}
		for _, p := range prefixes {
			if strings.HasPrefix(p.Text, "/") {
				add(host, p.Text, p.IgnoreCase)
			}
		}
	}
	for _, host := range slices.Sorted(maps.Keys(paths)) {
		for _, path := range slices.Sorted(maps.Keys(paths[host])) {
			all = append(all, probe{host, path})
		}
	}
	return all
}

// sendable reports whether a client can send a text as the host of a request, and would.
func sendable(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`*/\?#@"`, c) })
}

// CompareRules compares what both make of the apps.
func (s *Sides) CompareRules(r *Report) {
	t := r.tally(Rules, s.relay.fleet.Name)
	for _, f := range s.old.Failures {
		r.count(t, []Finding{{
			Verdict: Different, Kind: Broken, Subject: f.App, App: f.App, Old: "makes no new configuration for any app, and keeps the last one", New: "ignores or closes what the label is about",
			Reason: strings.TrimSpace(f.Label + " " + f.Reason), Do: "mend the label before you compare further: what marathon-lb has is old",
		}})
	}
	for _, p := range s.probes() {
		r.count(t, s.compareProbe(p))
	}
	for _, one := range s.old.Services {
		r.count(t, s.compareService(one))
	}
	s.compareTCP(r, t)
	s.compareFleet(r, t)
}

// compareFleet compares what is the same for all apps.
func (s *Sides) compareFleet(r *Report, t *Tally) {
	without := 0
	for _, one := range s.old.Services {
		if port, known := s.relay.port(one.Members, one.Port); known && one.Balance == "roundrobin" && newBalance(port) == leastRequest && len(one.Servers) > 1 {
			without++
		}
	}
	if without > 0 {
		r.count(t, []Finding{Finding{
			Kind: Balance, Subject: fmt.Sprintf("%d ports with several tasks", without), Old: inTurn, New: leastRequest,
		}.expected("balance")})
	}
	if len(s.old.ByAppID()) > 0 {
		r.count(t, []Finding{Finding{
			Kind: AppID, Subject: "port 9091", Old: fmt.Sprintf("finds %d apps by the header X-Marathon-App-Id", len(s.old.ByAppID())), New: "has no such port",
		}.expected("application id")})
	}
	if !s.relay.fleet.OffersHTTPS() && len(s.old.Services) > 0 {
		r.count(t, []Finding{{
			Verdict: Different, Kind: NoHTTPS, Subject: "https", Old: "takes HTTPS on port 443", New: "the fleet has no https listener",
			Do: "give --https and certificates, unless a balancer in front ends all TLS",
		}})
	}
}

// compareProbe compares what becomes of a request, by HTTP and by HTTPS.
func (s *Sides) compareProbe(p probe) (findings []Finding) {
	rule, domain := s.relay.rule(p.host, p.path)
	plain := s.old.AnswerHTTP(p.host, p.path)
	findings = s.compareAnswer(p, plain, rule, domain, true)
	if !s.relay.fleet.HasHTTPS() || s.relay.passed(p.host) {
		return findings
	}
	if reason := s.relay.uncovered[domain]; reason != "" && p.path == "/" && rule != nil {
		findings = append(findings, Finding{
			Verdict: Different, Kind: Certificate, Subject: "https://" + p.host, App: s.relay.members(rule.Claim.App)[0], Old: "shows one of --ssl-certs, or its default",
			New: "has no certificate that clients accept", Reason: reason, Do: "put the certificate into --certs-dir or Vault; nothing if nobody comes by HTTPS",
		})
	}
	for _, f := range s.compareAnswer(p, s.old.AnswerHTTPS(p.host, p.path), rule, domain, false) {
		if !slices.ContainsFunc(findings, func(other Finding) bool { return other.Kind == f.Kind && other.Old == f.Old && other.New == f.New }) {
			f.Subject = "https://" + f.Subject
			findings = append(findings, f)
		}
	}
	return findings
}

func (s *Sides) compareAnswer(p probe, old marathonlb.Answer, rule *routing.Rule, domain string, plain bool) []Finding {
	f := Finding{Verdict: Different, Subject: p.String(), Old: oldWords(old), New: s.newWords(rule, plain)}
	owner := cmp.Or(old.Service, old.Redirect, old.Auth)
	switch {
	case owner == nil && rule == nil:
		return nil
	case rule == nil:
		f.Kind, f.App = Missing, owner.App
		f.Reason, f.Do = s.relay.why(owner.Members, owner.Port, p.host, "VHOST", "PATH", "ENABLED", "GROUP", "MODE")
		for _, loss := range s.relay.losses[domain] {
			if f.Reason == "" && slices.Contains(owner.Members, loss.Rule.Claim.App) {
				f.Reason = loss.String()
			}
		}
		return []Finding{f}
	case owner == nil:
		return s.extra(f, rule)
	}
	f.App = owner.App
	var findings []Finding
	found := func(kind Kind, reason, do string) {
		one := f
		one.Kind, one.Reason, one.Do = kind, reason, do
		findings = append(findings, one)
	}
	redirects := plain && s.relay.redirects(rule)
	if (old.Redirect != nil) != redirects && old.Auth == nil {
		reason, do := s.whyRedirect(old, rule)
		found(Redirect, reason, do)
	}
	if old.Redirect != nil && redirects {
		return findings // the app is asked by https
	}
	findings = append(findings, s.compareAccess(f, p, old, rule)...)
	if old.Service != nil && !s.same(old.Service, rule) && old.Redirect == nil {
		found(OtherApp, s.whyOther(p, old.Service, rule), "give one of them another domain or path, or set HAPROXY_n_BACKEND_WEIGHT so that both decide alike")
	}
	return findings
}

// same reports whether a rule leads to a service, or to others as well, by their weights.
func (s *Sides) same(old *marathonlb.Service, rule *routing.Rule) bool {
	return slices.ContainsFunc(rule.Targets, func(t routing.Target) bool { return s.relay.is(t.Cluster, old.Members, old.Port) })
}

// extra is about what only Relay serves.
func (s *Sides) extra(f Finding, rule *routing.Rule) []Finding {
	id, port := routing.SplitClusterName(rule.Targets[0].Cluster)
	f.Kind, f.App = Extra, id
	members := s.relay.members(id)
	f.App = members[0]
	p, _ := s.relay.port(members, port)
	skipped, known := s.skippedPort(members, port)
	switch {
	case len(p.Endpoints) == 0 && !known, known && !skipped.Refused && len(p.Endpoints) == 0 && strings.HasPrefix(skipped.Reason, "no task"):
		return []Finding{f.expected("suspended")}
	case known:
		f.Reason = "for marathon-lb: " + skipped.Reason
	case s.services[portName(members[:1], port)] != nil:
		f.Reason = "marathon-lb compares the host and path with the labels as they are written"
	default:
		f.Reason = "marathon-lb has no such port"
	}
	f.Do = "see whether it is meant to be reached"
	return []Finding{f}
}

func (s *Sides) skippedPort(members []string, port int) (marathonlb.Skipped, bool) {
	for _, m := range members {
		if skipped, known := s.skipped[portName([]string{m}, port)]; known {
			return skipped, true
		}
	}
	// A deployment group is skipped by its own name.
	for _, skipped := range s.old.Skipped {
		if skipped.Port == port && slices.ContainsFunc(members, func(m string) bool { return s.groupOf(m) == skipped.App }) {
			return skipped, true
		}
	}
	return marathonlb.Skipped{}, false
}

// groupOf is what marathon-lb calls the deployment group of an app; empty if it has none.
func (s *Sides) groupOf(member string) string {
	view, known := s.relay.apps[member]
	if !known || view.Routed == nil || view.Routed.ID == member {
		return ""
	}
	_, group, _ := strings.Cut(view.Routed.ID, "/")
	return "/" + group
}

func (s *Sides) whyRedirect(old marathonlb.Answer, rule *routing.Rule) (reason, do string) {
	switch {
	case old.Redirect != nil && old.Service != nil && old.Redirect != old.Service:
		return fmt.Sprintf("for marathon-lb the redirect of %s is for all paths of the domain; for Relay it is for the port's own", portName(old.Redirect.Members, old.Redirect.Port)),
			fmt.Sprintf("set HAPROXY_%d_REDIRECT_TO_HTTPS on the other app as well", old.Service.Port)
	case old.Redirect != nil && rule.Redirect:
		return "the fleet offers no HTTPS", "give --https and certificates, or --trusted-proxies"
	case old.Redirect != nil:
		reason, do = s.relay.why(old.Redirect.Members, old.Redirect.Port, "", "REDIRECT_TO_HTTPS")
		return reason, do
	case s.relay.fleet.TLS.RequiresCertificates():
		return "the fleet asks all clients for certificates (--client-certificates)", ""
	}
	return "marathon-lb knows only true, t, yes and y for true", "write true"
}

func (s *Sides) whyOther(p probe, old *marathonlb.Service, rule *routing.Rule) string {
	if r, _ := s.relay.port(s.relay.members(rule.Claim.App), rule.Claim.Port); len(r.Endpoints) == 0 {
		return "marathon-lb asks the next app while no task of the first one runs; Relay answers 503, so that no request goes where it is not meant to"
	}
	for _, loss := range s.relay.losses[p.host] {
		if s.relay.is(loss.Rule.Targets[0].Cluster, old.Members, old.Port) {
			return loss.String()
		}
	}
	return "marathon-lb asks first the largest weight, then the lowest app id and service port, of apps that have a task; Relay the largest weight, then the lowest app id and port"
}

// oldWords says what marathon-lb does with a request.
func oldWords(a marathonlb.Answer) string {
	switch {
	case a.Auth != nil:
		return "asks for the password of " + portName(a.Auth.Members, a.Auth.Port) + then(a)
	case a.Redirect != nil:
		return "redirects to https, as " + portName(a.Redirect.Members, a.Redirect.Port) + " asks for"
	case a.Service != nil:
		return portName(a.Service.Members, a.Service.Port)
	}
	return "503: no rule"
}

func then(a marathonlb.Answer) string {
	if a.Service == nil || a.Service == a.Auth {
		return ""
	}
	return ", then " + portName(a.Service.Members, a.Service.Port)
}

// newWords says what Relay does with a request.
func (s *Sides) newWords(rule *routing.Rule, plain bool) string {
	switch {
	case rule == nil:
		return "404: no rule"
	case plain && s.relay.redirects(rule):
		return "redirects to https, as " + s.relay.named(rule.Claim.Cluster()) + " asks for"
	case rule.HTTP.Closed:
		return "answers 403 in place of " + s.relay.named(rule.Claim.Cluster())
	}
	var targets []string
	for _, t := range rule.Targets {
		targets = append(targets, s.relay.named(t.Cluster))
	}
	words := strings.Join(targets, " or ")
	if rule.HTTP.BasicAuth != nil {
		words = "asks for a password, then " + words
	}
	return words
}
