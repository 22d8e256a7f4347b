package traefik

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"relay/sources"
	"relay/sources/labels"
)

// router is a router, with the service that it leads to.
type router struct {
	kind, name, service string
}

func (o router) at(field string) string { return o.kind + ".routers." + o.name + "." + field }

// routers returns the routers of a kind with the services that they lead to: one that names none leads to the only
// one. Without any router, the app has one of the default rule.
func (r *reader) routers(kind string) (all []router) {
	services := r.config.names(kind + ".services")
	for _, service := range services {
		r.config.below(kind + ".services." + service)
	}
	if len(services) == 0 {
		services = []string{""}
	}
	names := r.config.names(kind + ".routers")
	if kind == "http" && len(names) == 0 && (r.config.hasBelow("http.") || !r.config.v2()) {
		if len(services) > 1 {
			r.problems.AddFailing(r.config.key("http.services"), "has several services and no router: nothing is routed")
			return nil
		}
		names = []string{serviceName(r.app.ID)}
	}
	for _, name := range names {
		one := router{kind: kind, name: name}
		for _, field := range []string{"rule", "entrypoints", "middlewares", "priority"} {
			r.config.take(one.at(field))
		}
		r.config.below(one.at("tls"))
		named, given := r.config.take(one.at("service"))
		own, provider, _ := strings.Cut(strings.ToLower(named), "@")
		key := r.config.key(kind + ".routers." + name)
		switch {
		case given && provider != "" && provider != "marathon":
			r.problems.AddFailing(r.config.key(one.at("service")), "%.60q is of no app of Marathon: the router is not routed", named)
		case given && slices.Contains(services, own):
			one.service = own
			all = append(all, one)
		case given && services[0] == "" && own == serviceName(r.app.ID):
			all = append(all, one)
		case given:
			r.problems.AddFailing(r.config.key(one.at("service")), "%.60q is no service of this app: the router is not routed, as Relay sends requests to the app that has the labels", named)
		case len(services) > 1:
			r.problems.AddFailing(key, "is not routed: the app has several services, so say which by its label service")
		default:
			one.service = services[0]
			all = append(all, one)
		}
	}
	return all
}

// serviceName is what Traefik calls the service of an app that names none.
func serviceName(id string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(id, "/"), "/", "_"))
}

// router adds what a router asks for. What is wrong costs that router alone. If it keeps clients out, and only that
// cannot be had, it is closed.
func (r *reader) router(one router) {
	key := r.config.key(one.at("rule"))
	failing := func(err error) { r.problems.AddFailing(key, "the router %s is not routed: its rule %s", one.name, err) }
	rule, priority, err := r.ruleOf(one)
	if err != nil {
		failing(err)
		return
	}
	h := r.handlingOf(one)
	all, err := parseRule(rule)
	if err != nil {
		failing(err)
		return
	}
	routes, err := routesOf(all)
	if errors.Is(err, errNever) {
		failing(err)
		return
	}
	if err != nil {
		if !h.restricts {
			failing(err)
			return
		}
		// Another router would take the requests, and let everybody in.
		if routes, err = routesOf(widened(all)); err != nil {
			failing(err)
			return
		}
		h.close(key, "its rule cannot be had, and it keeps clients out")
	}
	tls := r.config.flag(one.at("tls")) || len(r.config.below(one.at("tls"))) > 0
	r.checkTLS(one, &h)
	exits, err := r.exitsOf(r.config.list(one.at("entrypoints")), tls)
	if err != nil {
		r.notRouted(r.config.key(one.at("entrypoints")), one, routes, "it "+err.Error())
		return
	}
	service := r.serviceOf(one, &h)
	index, err := r.portOf(service)
	if err != nil {
		r.notRouted(r.config.key(one.kind+".services."+one.service), one, routes, err.Error())
		return
	}
	if r.routed(index) && !r.used[index] {
		r.problems.Add(key, "does not count: labels of marathon-lb say how port %d is routed", index)
		return
	}
	if len(r.said.Ports[index].Groups) > 0 && !r.used[index] {
		exits = r.groupsWin(exits, r.said.Ports[index].Groups)
	}
	if routes, refused := h.allowedHosts(routes); len(refused) > 0 {
		r.add(one, index, exits, routes, h, priority)
		h.close(h.hostsKey, fmt.Sprintf("leaves out %s, which the router has", strings.Join(refused[0].domains, ", ")))
		r.add(one, index, exits, refused, h, priority)
		return
	}
	r.add(one, index, exits, routes, h, priority)
}

// allowedHosts parts routes in those for the hosts that are let in, and the rest.
func (h *handling) allowedHosts(routes []route) (in, refused []route) {
	if len(h.hosts) == 0 {
		return routes, nil
	}
	isIn := func(domain string) bool {
		return slices.ContainsFunc(h.hosts, func(host string) bool { return strings.EqualFold(strings.TrimSuffix(host, "."), domain) })
	}
	for _, one := range routes {
		rest := one
		one.domains = slices.DeleteFunc(slices.Clone(one.domains), func(domain string) bool { return !isIn(domain) })
		rest.domains = slices.DeleteFunc(slices.Clone(rest.domains), isIn)
		if len(one.domains) > 0 {
			in = append(in, one)
		}
		if len(rest.domains) > 0 {
			refused = append(refused, rest)
		}
	}
	return in, refused
}

// notRouted says why a router is not, also to whoever looks for one of its domains.
func (r *reader) notRouted(key string, one router, routes []route, why string) {
	r.problems.AddFailing(key, "the router %s is not routed: %s", one.name, why)
	for _, route := range routes {
		for _, domain := range route.domains {
			if len(r.said.Unrouted) < sources.MaxUnrouted {
				r.said.Unrouted = append(slices.Clip(r.said.Unrouted), sources.Unrouted{Domain: domain, Reason: sources.ClipReason(key + ": " + why)})
			}
		}
	}
}

// groupsWin has the fleets be those of HAPROXY_GROUP.
func (r *reader) groupsWin(e exits, groups []string) exits {
	scheme := ""
	if len(e) == 1 {
		scheme = sorted(e)[0]
	}
	return exits{scheme: groups}
}

// checkTLS closes a router whose options of TLS may ask clients for certificates.
func (r *reader) checkTLS(one router, h *handling) {
	if options, ok := r.config.take(one.at("tls.options")); ok && options != "" && !strings.HasPrefix(strings.ToLower(options), "default") {
		h.close(r.config.key(one.at("tls.options")), "options of TLS are in no label, and may ask clients for certificates")
	}
}

// ruleOf returns the rule of a router, and its priority: the longest rule is tried first, unless a label says more.
func (r *reader) ruleOf(one router) (rule string, priority int, err error) {
	rule, _ = r.config.take(one.at("rule"))
	if rule == "" {
		if rule, err = r.defaultRule(); err != nil {
			return "", 0, err
		}
	}
	priority = len(rule)
	if value, ok := r.config.take(one.at("priority")); ok {
		n, err := strconv.ParseInt(value, 10, 32)
		switch {
		case err != nil:
			r.problems.Add(r.config.key(one.at("priority")), "%.40q is ignored: write a whole number", value)
		case n != 0:
			priority = int(n)
		}
	}
	return rule, priority, nil
}

func (r *reader) defaultRule() (string, error) {
	if r.DefaultRule == nil {
		return "", errors.New("is missing, and Relay has no default rule: write one, such as Host(`a.example.com`)")
	}
	var text strings.Builder
	if err := r.DefaultRule.Execute(&text, map[string]any{"Name": r.app.ID, "Labels": r.app.Labels}); err != nil {
		return "", errors.New("is missing, and the default rule cannot be made for this app")
	}
	if text.Len() == 0 {
		return "", errors.New("is missing, and the default rule is empty for this app")
	}
	return text.String(), nil
}

// widened leaves out of alternatives all but hosts and paths.
func widened(all []alternative) []alternative {
	var wide []alternative
	for _, one := range all {
		wide = append(wide, slices.DeleteFunc(slices.Clone(one), func(c condition) bool {
			return c.not || c.matcher != "Host" && c.matcher != "HostRegexp" && c.matcher != "Path" && c.matcher != "PathPrefix"
		}))
	}
	return wide
}

// add makes a port of each route of a router, and of each scheme.
func (r *reader) add(one router, index int, e exits, routes []route, h handling, priority int) {
	for _, scheme := range sorted(e) {
		for _, route := range routes {
			port, problems := r.portFor(index, h, route, scheme)
			port.Name, port.Groups, port.Domains = sources.BoundedName(one.name), e[scheme], route.domains
			port.RedirectToHTTPS = port.RedirectToHTTPS || h.redirectToHTTPS
			if port.HTTP == nil {
				port.HTTP = &sources.HTTP{}
			}
			port.HTTP.Order = priority
			r.port(index, port)
			for _, p := range problems {
				setting := p.Subject
				if p.Subject = h.keys[setting]; p.Subject == "" {
					continue // of a label of marathon-lb, which was reported
				}
				p.Reason = fmt.Sprintf("as %s of the router %s: %s", setting, one.name, p.Reason)
				r.problems.Append(p)
			}
		}
	}
}

// allowed limits the clients of a port to networks.
func allowed(h *sources.HTTP, networks []netip.Prefix) {
	if len(h.AllowedNetworks) > 0 {
		networks = inBoth(h.AllowedNetworks, networks)
	}
	h.AllowedNetworks = networks
	if len(networks) == 0 || len(networks) > labels.MaxNetworks {
		h.Closed, h.AllowedNetworks = true, nil
	}
}
