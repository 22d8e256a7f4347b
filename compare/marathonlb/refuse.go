package marathonlb

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// refuse leaves out the apps for which HAProxy would refuse the whole configuration:
// marathon-lb tries one app after another in the order of the list, and leaves out each with
// which the configuration is not valid.
func (r *Rules) refuse(services []*Service, apps []App, withMap bool) []*Service {
	byMember := make(map[string][]*Service)
	for _, s := range services {
		for _, member := range s.Members {
			byMember[member] = append(byMember[member], s)
		}
	}
	refused := make(map[*Service]bool)
	names := make(map[string]*Service)
	for _, app := range apps {
		own := byMember[app.ID]
		reason := ""
		for _, s := range own {
			if names[s.Backend()] == s || refused[s] {
				continue
			}
			if reason = s.refusal(withMap); reason == "" && names[s.Backend()] != nil {
				reason = fmt.Sprintf("another port is called %s in HAProxy, too", s.Backend())
			}
			if reason != "" {
				break
			}
			names[s.Backend()] = s
		}
		if reason == "" {
			continue
		}
		for _, s := range own {
			if names[s.Backend()] == s {
				delete(names, s.Backend())
			}
			if !refused[s] {
				refused[s] = true
				if len(s.Members) > 1 {
					r.refusedGroups = append(r.refusedGroups, s.App)
				}
				r.Skipped = append(r.Skipped, Skipped{App: app.ID, Port: s.Port, Refused: true, Reason: "HAProxy refuses the rules of the app, so all of it is left out: " + reason})
			}
		}
	}
	return slices.DeleteFunc(services, func(s *Service) bool { return refused[s] })
}

// balances are the algorithms by their first words.
var balances = []string{"roundrobin", "static-rr", "leastconn", "first", "source", "uri", "url_param", "random", "rdp-cookie", "hdr"}

// refusal says why HAProxy does not take the rules of a service; empty if it does, as far as
// is known.
func (s *Service) refusal(withMap bool) string {
	label := func(name string) string { return "HAPROXY_" + strconv.Itoa(s.Port) + "_" + name }
	mode := s.Mode
	if mode == "" {
		mode = "http" // or tcp: both are taken
	}
	algorithm, _, _ := strings.Cut(s.Balance, " ")
	algorithm, _, _ = strings.Cut(algorithm, "(")
	switch {
	case mode != "http" && mode != "tcp":
		return fmt.Sprintf("%s is neither http nor tcp", label("MODE"))
	case mode == "tcp" && s.hostText != "" && !s.inMapOnly(withMap):
		return fmt.Sprintf("%s is tcp, and %s is there, which is for HTTP", label("MODE"), label("VHOST"))
	case !slices.Contains(balances, algorithm):
		return fmt.Sprintf("%s is no algorithm of it", label("BALANCE"))
	case s.ServicePort < 1 || s.ServicePort > 65535:
		return fmt.Sprintf("the service port %d is none", s.ServicePort)
	}
	if s.raw != "" && len(s.Networks) == 0 {
		return fmt.Sprintf("%s names no network", label("BACKEND_NETWORK_ALLOWED_ACL"))
	}
	for _, network := range s.Networks {
		if !validNetwork(network) {
			return fmt.Sprintf("%s has %.40q, which is no network", label("BACKEND_NETWORK_ALLOWED_ACL"), network)
		}
	}
	return ""
}

// inMapOnly reports whether only the map of domains leads to a service, which HAProxy does not
// check.
func (s *Service) inMapOnly(withMap bool) bool {
	return withMap && s.Path == "" && !s.HasAuth && (!s.Redirect || s.multiple())
}

// refusedMembers returns the apps of deployment groups that HAProxy refuses, and what is
// skipped of each. The rest of a group may be taken: each app is tried alone, after those
// before it.
func (r *Rules) refusedMembers(apps []App, o Options) map[string][]Skipped {
	ofGroups := make(map[string]bool) // names of groups
	for _, g := range r.refusedGroups {
		ofGroups[g] = true
	}
	if len(ofGroups) == 0 {
		return nil
	}
	refused := make(map[string][]Skipped)
	var kept []App
	for _, app := range apps {
		name, given := app.Labels[deploymentPrefix+"GROUP"]
		if !given || !ofGroups["/"+strings.TrimPrefix(name, "/")] {
			continue
		}
		tried := rulesOf(append(slices.Clip(kept), app), o)
		if i := slices.IndexFunc(tried.Skipped, func(s Skipped) bool { return s.Refused }); i < 0 {
			kept = append(kept, app)
			continue
		}
		for _, s := range tried.Skipped {
			if s.Refused {
				s.App = app.ID
				refused[app.ID] = append(refused[app.ID], s)
			}
		}
	}
	return refused
}

func validNetwork(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	if _, err := netip.ParsePrefix(text); err == nil {
		return true
	}
	address, mask, ok := strings.Cut(text, "/")
	_, err := netip.ParseAddr(address)
	_, masked := netip.ParseAddr(mask)
	return ok && err == nil && masked == nil
}
