package statuspage

import "strings"

// fits reports whether a text fits a pattern, in which * stands for any characters, also none.
func fits(pattern, text string) bool {
	head, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == text
	}
	if !strings.HasPrefix(text, head) {
		return false
	}
	text = text[len(head):]
	for {
		var part string
		if part, pattern, ok = strings.Cut(rest, "*"); !ok {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part) // the first one leaves most for what follows
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], pattern
	}
}

// patterns are those of one list, by how they are compared: most are plain.
type patterns struct {
	plain map[string]bool
	wild  []string
}

func newPatterns(list []string) patterns {
	p := patterns{plain: make(map[string]bool)}
	for _, pattern := range list {
		if strings.Contains(pattern, "*") {
			p.wild = append(p.wild, pattern)
		} else {
			p.plain[pattern] = true
		}
	}
	return p
}

func (p patterns) empty() bool { return len(p.plain)+len(p.wild) == 0 }

func (p patterns) fit(text string) bool {
	if text == "" {
		return false
	}
	if p.plain[text] {
		return true
	}
	for _, pattern := range p.wild {
		if fits(pattern, text) {
			return true
		}
	}
	return false
}

// selector says which probes are of a service.
type selector struct{ domains, apps, probes, fleets patterns }

func newSelector(s ServiceSettings) selector {
	return selector{newPatterns(s.Domains), newPatterns(s.Apps), newPatterns(s.Probes), newPatterns(s.Fleets)}
}

func (s selector) selects(p seenProbe) bool {
	if !s.fleets.empty() && !s.fleets.fit(p.Fleet) {
		return false
	}
	if s.domains.empty() && s.apps.empty() && s.probes.empty() {
		return true // the fleets are all that is asked for
	}
	return s.domains.fit(p.Domain) || s.apps.fit(p.App) || s.probes.fit(p.ID) || s.probes.plain[p.Name] || p.named() && s.probes.fit(p.Name)
}

// named reports whether who runs the probes chose the name of one: of a virtual device, or a target of the settings. Others have
// the name of a domain, which an app chooses: that may begin as a device's does.
func (p seenProbe) named() bool { return p.Kind == "device" || p.App == "" }
