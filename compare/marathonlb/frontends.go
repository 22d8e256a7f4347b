package marathonlb

import (
	"regexp"
	"slices"
	"strings"
)

// frontend has what is done with requests, in the order in which HAProxy does it: it asks for
// passwords before it redirects, and redirects before it looks for a backend, whatever the
// order of the configuration.
type frontend struct {
	hosts     map[string][]string // by the name of an ACL, which several services may share
	auth      []rule
	redirects []rule
	uses      []rule
}

// rule is one line of a frontend.
type rule struct {
	service *Service // nil for the map of domains
	// acl is the name of the ACL of hosts; hosts are there in its place if it is empty.
	acl   string
	hosts []string
	path  paths
}

// paths are prefixes; empty for all.
type paths struct {
	prefixes   []string
	ignoreCase bool
}

// parsePaths reads the label as HAProxy reads patterns.
func parsePaths(label string) (p paths) {
	fields := strings.Fields(label)
	for len(fields) > 0 && (fields[0] == "-i" || fields[0] == "--") {
		p.ignoreCase = p.ignoreCase || fields[0] == "-i"
		fields = fields[1:]
	}
	p.prefixes = fields
	return p
}

func (p paths) match(path string) bool {
	if len(p.prefixes) == 0 {
		return true
	}
	return slices.ContainsFunc(p.prefixes, func(prefix string) bool {
		if p.ignoreCase {
			return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix)
		}
		return strings.HasPrefix(path, prefix)
	})
}

type mapEntry struct {
	host    string
	service *Service
}

var unclean = regexp.MustCompile(`[^a-zA-Z0-9\-]`)

// aclName is the same for all ports of an app that have the same first domain: their domains
// are one list then.
func aclName(s *Service) string {
	first, _, _ := strings.Cut(s.hostText, ",")
	return unclean.ReplaceAllString(first, "_") + "_" + underscored(s.App)
}

// weighted are the lines of one service in one frontend.
type weighted struct {
	weight int
	acls   [][2]string // name and host
	auth   []rule
	redirs []rule
	uses   []rule
}

// frontends returns those of HTTP and HTTPS. With a map, domains of services without anything
// special are found by it: that comes last, and is the end.
func (r *Rules) frontends(withMap bool) (http, https frontend) {
	var ofHTTP, ofHTTPS []weighted
	mapUsed, mapUsedByHTTPS := false, false
	for _, s := range r.Services {
		if s.hostText == "" {
			continue
		}
		weight := s.Weight
		plain := withMap && s.Path == "" && !s.HasAuth
		h, secure := linesOf(s, plain)
		if plain && !s.Redirect && !mapUsed {
			mapUsed, weight = true, -1
			h.uses = append(h.uses, rule{})
		}
		if plain && !mapUsedByHTTPS {
			mapUsedByHTTPS, weight = true, -1
			secure.uses = append(secure.uses, rule{})
		}
		if plain {
			r.addToMap(s)
		}
		h.weight, secure.weight = weight, weight
		ofHTTP, ofHTTPS = append(ofHTTP, h), append(ofHTTPS, secure)
	}
	return join(ofHTTP), join(ofHTTPS)
}

func (r *Rules) addToMap(s *Service) {
	for _, host := range s.Hosts {
		r.mapped = append(r.mapped, mapEntry{host, s})
	}
}

// linesOf returns the lines of a service. If its domains are mapped, there are only those
// that redirect.
func linesOf(s *Service, mapped bool) (http, https weighted) {
	name, path := aclName(s), parsePaths(s.Path)
	one := rule{service: s, acl: name, path: path}
	if !mapped || s.Redirect {
		for _, host := range s.Hosts {
			http.acls = append(http.acls, [2]string{name, host})
		}
	}
	switch {
	case s.Redirect:
		http.redirs = append(http.redirs, one)
		if !s.multiple() && s.Path == "" {
			http.uses = append(http.uses, one)
		}
	case mapped:
	default:
		if s.HasAuth {
			http.auth = append(http.auth, one)
		}
		http.uses = append(http.uses, one)
	}
	if mapped {
		return http, https
	}
	for _, host := range s.Hosts {
		one := rule{service: s, hosts: strings.Fields(host), path: path}
		if s.HasAuth {
			https.auth = append(https.auth, one)
		}
		https.uses = append(https.uses, one)
	}
	return http, https
}

// join puts the lines in order: the largest weight first.
func join(all []weighted) frontend {
	slices.SortStableFunc(all, func(a, b weighted) int { return b.weight - a.weight })
	f := frontend{hosts: make(map[string][]string)}
	for _, w := range all {
		for _, acl := range w.acls {
			f.hosts[acl[0]] = append(f.hosts[acl[0]], strings.Fields(acl[1])...)
		}
		f.auth, f.redirects, f.uses = append(f.auth, w.auth...), append(f.redirects, w.redirs...), append(f.uses, w.uses...)
	}
	return f
}

func (f *frontend) hostsOf(r rule) []string {
	if r.acl != "" {
		return f.hosts[r.acl]
	}
	return r.hosts
}

// match reports whether a rule is for a request. The host is compared as it is sent, with its
// port.
func (f *frontend) match(r rule, host, path string) bool {
	return r.path.match(path) && slices.Contains(f.hostsOf(r), host)
}

// Answer is what marathon-lb does with a request. At most one of its fields counts: the first
// that is set.
type Answer struct {
	// Auth asks for the password of this service, whatever service gets the request then.
	Auth *Service
	// Redirect sends the client to https, as this service asks for.
	Redirect *Service
	// Service gets the request. Nil answers 503.
	Service *Service
}

// AnswerHTTP says what becomes of a request by plain HTTP. The host is in lower case, and has
// the port if the client sends one.
func (r *Rules) AnswerHTTP(host, path string) Answer { return r.answer(&r.http, host, path) }

// AnswerHTTPS says what becomes of a request by HTTPS. It goes by the server name, not by the
// host.
func (r *Rules) AnswerHTTPS(serverName, path string) Answer {
	return r.answer(&r.https, serverName, path)
}

func (r *Rules) answer(f *frontend, host, path string) (a Answer) {
	first := func(rules []rule) *Service {
		for _, one := range rules {
			if one.service == nil {
				return r.inMap(host)
			}
			if f.match(one, host, path) {
				return one.service
			}
		}
		return nil
	}
	return Answer{Auth: first(f.auth), Redirect: first(f.redirects), Service: first(f.uses)}
}

func (r *Rules) inMap(host string) *Service {
	for _, e := range r.mapped {
		if slices.Contains(strings.Fields(e.host), host) {
			return e.service
		}
	}
	return nil
}

// Domains are those of all rules that a request can have as its host, each once, in order, and
// the prefixes of paths that rules of it have.
func (r *Rules) Domains() map[string][]Prefix {
	domains := make(map[string][]Prefix)
	for _, s := range r.Services {
		p := parsePaths(s.Path)
		for _, label := range s.Hosts {
			for _, host := range strings.Fields(label) {
				for _, prefix := range p.prefixes {
					domains[host] = append(domains[host], Prefix{prefix, p.ignoreCase})
				}
				if len(p.prefixes) == 0 {
					domains[host] = append(domains[host], Prefix{Text: "/"})
				}
			}
		}
	}
	return domains
}

// Prefix is the beginning of a path.
type Prefix struct {
	Text       string
	IgnoreCase bool
}
