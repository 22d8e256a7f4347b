package compare

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"relay/collator/routing"
	"relay/compare/marathonlb"
)

// compareAccess compares whom both let in.
func (s *Sides) compareAccess(f Finding, p probe, old marathonlb.Answer, rule *routing.Rule) (findings []Finding) {
	found := func(kind Kind, oldWords, newWords, reason, do string) {
		one := f
		one.Kind, one.Old, one.New, one.Reason, one.Do = kind, oldWords, newWords, reason, do
		findings = append(findings, one)
	}
	asks := rule.HTTP.BasicAuth != nil
	switch {
	case rule.HTTP.Closed:
		reason, do := s.relay.why(s.relay.members(rule.Claim.App), rule.Claim.Port, "", "AUTH", "BACKEND_NETWORK_ALLOWED_ACL", "TLS_VERIFY")
		if reason == "" {
			reason, do = "a restriction was asked for that Relay cannot keep", "see relay check"
		}
		found(Closed, f.Old, f.New, reason, do)
		return findings
	case old.Auth != nil && !asks:
		reason, do := "", "set HAPROXY_n_AUTH on the app that gets the requests, too"
		if old.Service != nil && old.Auth != old.Service {
			reason = fmt.Sprintf("marathon-lb asks for the password of %s on all paths of its domains, also on those of other apps", portName(old.Auth.Members, old.Auth.Port))
		}
		found(Open, f.Old, f.New, reason, do)
	case old.Auth == nil && asks:
		reason := "marathon-lb asks for no password"
		if svc := old.Service; svc != nil && svc.Realm == "" {
			reason = fmt.Sprintf("HAPROXY_%d_AUTH has no realm: marathon-lb then asks for no password at all", svc.Port)
		}
		found(Closed, f.Old, f.New, reason, "see whether the app is meant to be open")
	}
	if old.Service == nil || !s.same(old.Service, rule) {
		return findings
	}
	if was, is := networks(old.Service.Networks), rule.HTTP.AllowedNetworks; !slices.Equal(was, is) {
		kind := Closed
		if len(is) == 0 || len(was) > 0 && covers(is, was) {
			kind = Open
		}
		found(kind, "lets in "+networkWords(was), "lets in "+networkWords(is), "", "look at HAPROXY_n_BACKEND_NETWORK_ALLOWED_ACL")
	}
	return findings
}

// networks reads networks in the forms that HAProxy takes, as Relay writes them.
func networks(texts []string) (all []netip.Prefix) {
	for _, text := range texts {
		if address, err := netip.ParseAddr(text); err == nil {
			address = address.Unmap()
			all = append(all, netip.PrefixFrom(address, address.BitLen()))
		} else if prefix, err := netip.ParsePrefix(text); err == nil {
			all = append(all, prefix.Masked())
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}

// covers reports whether all of the networks are within others.
func covers(others, networks []netip.Prefix) bool {
	return !slices.ContainsFunc(networks, func(n netip.Prefix) bool {
		return !slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) })
	})
}

func networkWords(all []netip.Prefix) string {
	const shown = 5
	if len(all) == 0 {
		return "everyone"
	}
	var words []string
	for _, n := range all[:min(len(all), shown)] {
		words = append(words, n.String())
	}
	if more := len(all) - shown; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, " ")
}
