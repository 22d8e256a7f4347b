// Package traefik reads the labels that Traefik 2 and Traefik 1 take from apps of Marathon, and says in sources.Port what
// they ask for. See https://doc.traefik.io/traefik/v2.11/routing/providers/marathon/ and
// https://doc.traefik.io/traefik/v1.7/configuration/backends/marathon/.
//
// A router becomes a port of its app, with the instances of the port that its service names: so each has domains,
// paths and handling of its own.
package traefik

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"relay/internal/plural"
	"relay/internal/problem"
	"relay/sources"
	"relay/sources/labels"
)

// maxRouters is how many routers of an app are read, and services, and maxPorts how many ports they may come to.
const maxRouters, maxPorts = 100, 200

// Options say what is in the configuration of Traefik and in no label. The zero value reads no label.
type Options struct {
	// EntryPoints are where clients come from, by their names in lower case.
	EntryPoints map[string]EntryPoint
	// DefaultEntryPoints are those of routers that name none; all if it is empty.
	DefaultEntryPoints []string
	// DefaultRule is that of routers that have none; nil leaves these out.
	DefaultRule *template.Template
	// ExposedByDefault reads apps that do not say traefik.enable.
	ExposedByDefault bool
	// Constraints leave out the apps for which they do not hold; nil leaves out none.
	Constraints *Constraints
}

// EntryPoint is where clients come from.
type EntryPoint struct {
	// Fleet is that whose Envoys they come to.
	Fleet string
	// Scheme is "http" or "https", or "tcp".
	Scheme string
	// Port is what a TCP service listens on.
	Port uint16
}

// App is an app whose labels are read.
type App struct {
	ID     string
	Labels map[string]string
	Ports  []Port
}

// Port is a port that the app declares.
type Port struct {
	labels.DeclaredPort
	// Numbers are those by which the port is known: of the host, of the container, of the service.
	Numbers []uint16
}

// Read returns what the labels of an app say, those for Traefik included. said is what the others say, which count
// for more. of has the declared port of each port beyond the declared ones: it has the same instances.
func Read(said labels.App, app App, o *Options) (all labels.App, of []int) {
	if o == nil {
		return unread(said, app), nil
	}
	if len(app.Ports) == 0 || len(said.Ports) != len(app.Ports) || said.TooMany {
		return said, nil
	}
	r := &reader{Options: o, app: app, said: said, used: make(map[int]bool)}
	r.read()
	if len(r.shown) > 0 {
		said.Shown = said.Shown.With(r.shown)
	}
	said.Ports, said.Unrouted = append(slices.Clone(r.said.Ports), r.more...), r.said.Unrouted
	if found := r.problems.List(); len(found) > 0 {
		for i := range found {
			found[i].Action = cmp.Or(found[i].Action, "change the app's definition; docs/traefik.md says what each label does")
		}
		said.Problems = append(slices.Clone(said.Problems), found...)
		slices.SortStableFunc(said.Problems, func(a, b problem.Problem) int { return strings.Compare(a.Subject, b.Subject) })
	}
	return said, r.of
}

// reader collects what the labels of one app ask for.
type reader struct {
	*Options
	app      App
	said     labels.App
	config   config
	used     map[int]bool // declared ports that have a router
	more     []sources.Port
	of       []int
	problems sources.Problems
	shown    []sources.Label
	// backends are those of the services of an app with labels of Traefik 1; nil with labels of Traefik 2.
	backends map[string]backend
}

func (r *reader) read() {
	keys, tooMany := r.keys()
	if tooMany != "" {
		r.problems.AddFailing("traefik", "%s: none is read", tooMany)
		return
	}
	if len(keys) == 0 && r.DefaultRule == nil {
		return
	}
	r.config = r.newConfig(keys)
	if !r.enabled() {
		return
	}
	if r.said.Deployment != nil {
		r.ignored(keys, "HAPROXY_DEPLOYMENT_GROUP says how the app is routed")
		return
	}
	if !r.config.v2() {
		r.config = r.fromV1(r.config)
	} else if r.config.v1() {
		r.problems.AddTo(problem.Problem{Subject: "traefik", Severity: problem.Advice}, "has labels of Traefik 1 beside those of Traefik 2: only the latter count")
	}
	for _, what := range []string{"routers", "services"} {
		if len(r.config.names("http."+what))+len(r.config.names("tcp."+what)) > maxRouters {
			r.problems.AddFailing("traefik", "has more than %d %s: none is read", maxRouters, what)
			return
		}
	}
	routers := r.routers("http")
	tcp := r.routers("tcp")
	for _, one := range routers {
		r.router(one)
	}
	for _, one := range tcp {
		r.tcpRouter(one)
	}
	for _, key := range r.config.names("udp.routers") {
		r.problems.AddFailing(r.config.key("udp.routers."+key), "is not routed: Relay does not route UDP")
	}
	r.config.reportUnread(&r.problems)
}

func (r *reader) ignored(keys []string, why string) {
	if len(keys) > 0 {
		r.problems.AddTo(problem.Problem{Subject: sources.Clip(keys[0]), Severity: problem.Advice}, "and the other labels of Traefik do not count: %s", why)
	}
}

// keys returns the labels that are for Traefik, sorted.
func (r *reader) keys() (keys []string, tooMany string) {
	size := 0
	for key, value := range r.app.Labels {
		if len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix) {
			keys = append(keys, key)
			size += len(key) + len(value)
		}
	}
	switch {
	case len(keys) > sources.MaxSettings:
		return nil, fmt.Sprintf("has %d labels of Traefik, and at most %d are read", len(keys), sources.MaxSettings)
	case size > sources.MaxSettingsBytes:
		return nil, fmt.Sprintf("its labels of Traefik take %d bytes, and at most %d are read", size, sources.MaxSettingsBytes)
	}
	slices.Sort(keys)
	for _, key := range keys {
		r.shown = append(r.shown, sources.Label{Name: sources.Clip(key), Value: shown(key, r.app.Labels[key])})
	}
	return keys, ""
}

// enabled reports whether the app is one that Traefik would take.
func (r *reader) enabled() bool {
	exposed := r.ExposedByDefault
	if value, ok := r.config.take("enable"); ok {
		truth, known := parseBool(value)
		if !known {
			r.problems.AddFailing(r.config.key("enable"), "%.40q is neither true nor false: the app is not routed by labels of Traefik", value)
		}
		exposed = truth
	}
	return exposed && (r.Constraints == nil || r.Constraints.hold(r.app.Labels))
}

// port adds what a router asks for, as a port with the instances of a declared one.
func (r *reader) port(index int, port sources.Port) {
	if !r.used[index] && !r.routed(index) {
		r.used[index] = true
		// The rest of what marathon-acme's label says of the port holds as before.
		port.Name, port.ACMEDomains = r.said.Ports[index].Name, r.said.Ports[index].ACMEDomains
		ports := slices.Clone(r.said.Ports)
		ports[index] = port
		r.said.Ports = ports
		return
	}
	if len(r.more) >= maxPorts {
		r.problems.AddFailing("traefik", "its routers come to more than %d ports: the others are not routed", maxPorts)
		return
	}
	r.more, r.of = append(r.more, port), append(r.of, index)
}

// routed reports whether labels of marathon-lb route a port.
func (r *reader) routed(index int) bool {
	p := r.said.Ports[index]
	return len(p.Domains) > 0 || p.TCP != nil && !p.TCP.Implicit
}

// portOf finds the port that a service names, and that can be routed.
func (r *reader) portOf(value string) (int, error) {
	index, err := r.namedPort(value)
	switch {
	case err != nil:
		return 0, err
	case r.app.Ports[index].UDPOnly:
		return 0, fmt.Errorf("port %d is UDP only", index)
	case r.said.Disabled(index):
		return 0, fmt.Errorf("HAPROXY_%d_ENABLED takes its port out", index)
	}
	return index, nil
}

// namedPort finds a port by its number, by "index:1" or "name:http", or else the first one.
func (r *reader) namedPort(value string) (int, error) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, nil
	}
	if name, ok := strings.CutPrefix(value, "name:"); ok {
		for i, p := range r.app.Ports {
			if p.Name == name {
				return i, nil
			}
		}
		return 0, fmt.Errorf("no port of the app is called %.40q", name)
	}
	index, byIndex := strings.CutPrefix(value, "index:")
	n, err := parseNumber(index)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%.40q is no port: write its number, index:0 or name:http", value)
	case byIndex && n >= len(r.app.Ports):
		return 0, fmt.Errorf("the app declares %s, so that there is none with index %d", plural.Of(len(r.app.Ports), "port"), n)
	case byIndex:
		return n, nil
	}
	for i, p := range r.app.Ports {
		if slices.Contains(p.Numbers, uint16(min(n, 65535))) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("the app declares no port %d: Relay sends requests to declared ports only", n)
}

// exits are the fleets of entry points, by the scheme of the requests that are for a router: "" for both.
type exits map[string][]string

// exitsOf says where a router takes its requests from. tls is set if it takes those alone that come by TLS.
func (r *reader) exitsOf(names []string, tls bool) (exits, error) {
	if len(names) == 0 {
		names = r.DefaultEntryPoints
	}
	all := len(names) == 0
	if all {
		for name := range r.EntryPoints {
			names = append(names, name)
		}
	}
	schemes := make(map[string][]string) // by fleet
	for _, name := range names {
		e, known := r.EntryPoints[strings.ToLower(strings.TrimSpace(name))]
		switch {
		case !known:
			return nil, fmt.Errorf("names the entry point %.40q, which is none of those that Relay knows", name)
		case e.Scheme == "tcp":
			if !all {
				return nil, fmt.Errorf("names the entry point %.40q, which is for TCP", name)
			}
		case all && (e.Scheme == "https") != tls:
			// Of all entry points, those that fit.
		case tls && e.Scheme == "http":
			return nil, fmt.Errorf("asks for TLS at the entry point %.40q, which has none", name)
		default:
			schemes[e.Fleet] = append(schemes[e.Fleet], e.Scheme)
		}
	}
	out := make(exits)
	for fleet, of := range schemes {
		scheme := of[0]
		if slices.ContainsFunc(of, func(other string) bool { return other != scheme }) {
			scheme = ""
		}
		out[scheme] = append(out[scheme], fleet)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("has no entry point from which it could get requests")
	}
	for _, fleets := range out {
		slices.Sort(fleets)
	}
	return out, nil
}

// sorted returns the keys of a map in order.
func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
