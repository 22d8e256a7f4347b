package traefik

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// tcpRouter adds what a router of TCP asks for.
func (r *reader) tcpRouter(one router) {
	key := r.config.key(one.at("rule"))
	failing := func(format string, args ...any) {
		r.problems.AddFailing(key, "the router %s is not routed: "+format, append([]any{one.name}, args...)...)
	}
	rule, _ := r.config.take(one.at("rule"))
	r.config.take(one.at("priority"))
	domains, err := serverNames(rule)
	if err != nil {
		failing("its rule %s", err)
		return
	}
	h := r.handlingOf(one)
	passthrough := r.config.flag(one.at("tls.passthrough"))
	tls := r.config.flag(one.at("tls")) || len(r.config.below(one.at("tls"))) > 0
	r.checkTLS(one, &h)
	entry, port, err := r.tcpEntry(r.config.list(one.at("entrypoints")))
	if err != nil {
		failing("it %s", err)
		return
	}
	switch {
	case passthrough && len(domains) == 0, !tls && len(domains) > 0:
		failing("HostSNI(`*`) is for connections without TLS, and other names are for those with TLS")
		return
	case passthrough && port == 0:
		h.set("TLS_PASSTHROUGH", "true", key)
	case passthrough:
		failing("TLS is passed through by the https listener, which is an entry point for https")
		return
	case port == 0:
		failing("its entry point is not for TCP: say in Relay's entry points which port it has")
		return
	case tls:
		h.set("TLS_TERMINATE", "true", key)
		h.set("PORT", strconv.Itoa(int(port)), key)
	default:
		h.set("MODE", "tcp", key)
		h.set("PORT", strconv.Itoa(int(port)), key)
	}
	service := r.serviceOf(one, &h)
	index, err := r.portOf(service)
	if err != nil {
		failing("%s", err)
		return
	}
	if r.routed(index) && !r.used[index] {
		r.problems.Add(key, "does not count: labels of marathon-lb say how port %d is routed", index)
		return
	}
	r.add(one, index, exits{"": []string{entry.Fleet}}, []route{{domains: domains}}, h, 0)
}

// serverNames reads the rule of a router of TCP; none are all.
func serverNames(rule string) ([]string, error) {
	all, err := parseRule(rule)
	if err != nil {
		return nil, err
	}
	var domains []string
	for _, one := range all {
		if len(one) != 1 || one[0].not || one[0].matcher != "HostSNI" && one[0].matcher != "HostSNIRegexp" {
			return nil, fmt.Errorf("has more than HostSNI and ||, which Relay cannot do for TCP")
		}
		for _, value := range one[0].values {
			if value == "*" {
				return nil, nil
			}
			domain, pattern, err := hostOf(value, one[0].matcher == "HostSNIRegexp")
			if err != nil {
				return nil, err
			}
			if pattern != "" {
				return nil, fmt.Errorf("has the pattern %.80q, which Relay cannot look for in the TLS of connections: it can take {any:.+}.example.com", value)
			}
			domains = append(domains, domain)
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains), nil
}

// tcpEntry returns the entry point of a router of TCP: the first one that fits.
func (r *reader) tcpEntry(names []string) (EntryPoint, uint16, error) {
	if len(names) == 0 {
		names = sorted(r.EntryPoints)
	}
	var https *EntryPoint
	for _, name := range names {
		e, known := r.EntryPoints[strings.ToLower(name)]
		switch {
		case !known:
			return EntryPoint{}, 0, fmt.Errorf("names the entry point %.40q, which is none of those that Relay knows", name)
		case e.Scheme == "tcp":
			return e, e.Port, nil
		case e.Scheme == "https" && https == nil:
			https = &e
		}
	}
	if https == nil {
		return EntryPoint{}, 0, fmt.Errorf("has no entry point for TCP")
	}
	return *https, 0, nil
}
