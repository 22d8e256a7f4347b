// Package labels reads what the labels of an app say about its routes: those of
// marathon-lb (HAPROXY_*, see LABELS / templates in its documentation), marathon-acme's
// MARATHON_ACME_{n}_DOMAIN, and Relay's own RELAY_{n}_*. It serves any source whose
// apps have labels. Each label is an entry in a table (see Label).
package labels

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"relay/internal/problem"
	"relay/sources"
)

const (
	// maxUnknown is how many labels that are not known are named, each with what
	// was likely meant.
	maxUnknown = 20
	// maxLongLists is how many lists of domains of an app that are too long are
	// read to where they are cut.
	maxLongLists = 4
)

// DeclaredPort is a port that an app declares. Its position is the n of the labels.
type DeclaredPort struct {
	// Name may stand in place of the n; it may be empty.
	Name string
	// ServicePort is what load balancers listen on for the port; 0 if there is none.
	ServicePort uint16
	// SpeaksHTTP tells that the port is an HTTP service even without a domain.
	SpeaksHTTP bool
	// UDPOnly tells that no TCP client can use the port.
	UDPOnly bool
}

// App is what the labels of an app say.
type App struct {
	// Ports has one entry for each declared port, without endpoints.
	Ports      []sources.Port
	Deployment *sources.Deployment
	// Scaling is nil unless Relay may change the number of instances.
	Scaling *sources.Scaling
	// Asleep is the number in RELAY_ASLEEP; 0 if there is none that Relay may have written.
	Asleep      int
	Maintenance bool
	// TooMany is set if the app has more labels than are read, so that none was.
	TooMany bool
	// Owner is who is told when the app fails.
	Owner string
	// Problems are ordered by label.
	Problems []problem.Problem
	// Shown are the labels as people are shown them.
	Shown sources.Labels
	// Unrouted are domains in labels that do not lead to a port.
	Unrouted []sources.Unrouted

	values   map[int][]settingValue
	disabled map[int]bool
}

// Disabled reports whether HAPROXY_{n}_ENABLED takes a port out.
func (a App) Disabled(port int) bool { return a.disabled[port] }

// settingValue is a label that holds a setting, and what it says.
type settingValue struct {
	label *Label
	value string
}

// Settings returns the settings that the labels of a port have, to be added to. Their problems are among those of the
// App, and in no result of Finish.
func (a App) Settings(port int) *Settings {
	s := NewSettings()
	for _, v := range a.values[port] {
		s.read(v.label, v.value)
	}
	s.problems = sources.Problems{}
	return s
}

// Read reads the labels of an app. A bad label costs only itself. Of an app with too
// many labels none is read: one that restricts access could be among those left out.
func Read(labels map[string]string, declared []DeclaredPort) App {
	r := newReader(declared)
	keys, near, tooMany := r.ownKeys(labels)
	if tooMany != "" {
		return App{TooMany: true, Ports: r.ports, Shown: r.labels(len(keys)), Problems: []problem.Problem{{Severity: problem.Failing, Reason: tooMany + ": nothing of the app is routed"}}}
	}
	r.shown = make([]sources.Label, 0, len(keys)+len(near))
	for _, key := range keys {
		r.read(key, labels[key])
	}
	for _, key := range near {
		r.notKnown(key, labels[key])
	}
	if more := r.unknown - maxUnknown; more > 0 {
		r.problem("", "has %d more labels that are not known", more)
	}
	if len(declared) == 0 {
		problems := r.problems.List()
		if r.relevant {
			problems = append([]problem.Problem{{Severity: problem.Failing, Reason: "has routing labels but declares no port: nothing is routed", Action: "declare a port in the app's definition: portDefinitions, or portMappings of its container"}}, problems...)
		}
		return App{Ports: r.ports, Problems: problems, Unrouted: r.unrouted, Shown: r.labels(0)}
	}
	for i := range r.ports {
		r.finish(i)
	}
	scaling := r.finishScaling()
	app := App{Ports: r.ports, Scaling: scaling, Asleep: r.scaling.asleep, Maintenance: r.scaling.maintenance, Owner: r.owner, Problems: r.problems.List(), Unrouted: r.unrouted, Shown: r.labels(0), values: r.values, disabled: r.disabled}
	slices.SortStableFunc(app.Problems, func(a, b problem.Problem) int { return strings.Compare(a.Subject, b.Subject) })
	if r.deployment.Group != "" {
		app.Deployment = &r.deployment
	}
	return app
}

// ownKeys returns the keys of the labels that are for Relay, and those that nearly are, both
// sorted, or says that there are too many of the former. Those that are too long count for
// their number only: no more than the beginning of a few is looked at.
func (r *reader) ownKeys(labels map[string]string) (keys, near []string, tooMany string) {
	size := 0
	for key, value := range labels {
		if !isOwn(key) {
			if meant, ok := r.near.meant(key); ok && !meant.noEffect {
				near = append(near, key)
			}
			continue
		}
		keys = append(keys, key)
		if len(key) <= MaxKeyBytes && len(value) <= sources.MaxSettingBytes {
			size += len(key) + len(value)
		}
	}
	switch {
	case len(keys) > sources.MaxSettings:
		return keys, nil, fmt.Sprintf("has %d labels for routing, and at most %d are read", len(keys), sources.MaxSettings)
	case size > sources.MaxSettingsBytes:
		return keys, nil, fmt.Sprintf("its labels for routing take %d bytes, keys and values together, and at most %d are read", size, sources.MaxSettingsBytes)
	}
	slices.Sort(keys)
	slices.Sort(near)
	return keys, near, ""
}

// reader collects what labels say, one label at a time.
type reader struct {
	declared   []DeclaredPort
	names      map[string]int // index of a declared port
	ports      []sources.Port
	settings   []*Settings // of each port; nil if it has none
	values     map[int][]settingValue
	deployment sources.Deployment
	scaling    scalingLabelsRead
	owner      string
	seen       map[nameOfPort]string // the key that said it
	groups     []string              // HAPROXY_GROUP
	ownGroups  map[int][]string      // HAPROXY_{n}_GROUP
	disabled   map[int]bool          // by HAPROXY_{n}_ENABLED
	problems   sources.Problems
	near       nearKeys
	unknown    int // labels that are not known
	relevant   bool

	domains, acmeDomains sources.DomainCount
	longLists            int // of domains
	unrouted             []sources.Unrouted
	shown                []sources.Label
}

// nameOfPort is the name of a label for the port with an index.
type nameOfPort struct {
	port int
	name string
}

func newReader(declared []DeclaredPort) *reader {
	r := &reader{
		declared: declared, names: make(map[string]int, len(declared)), ports: make([]sources.Port, len(declared)), settings: make([]*Settings, len(declared)), values: map[int][]settingValue{},
		seen: map[nameOfPort]string{}, ownGroups: map[int][]string{}, disabled: map[int]bool{}, near: nearKeys{declared: declared},
	}
	for i, d := range declared {
		r.ports[i].Name = d.Name
		if _, twice := r.names[d.Name]; !twice && d.Name != "" {
			r.names[d.Name] = i
		}
	}
	return r
}

func (r *reader) problem(key, format string, args ...any) { r.problems.Add(key, format, args...) }

func (r *reader) read(key, value string) {
	if l := known.ofApp(key); l != nil && !mistaken(l, key) {
		r.relevant = true
		r.show(key, value, l)
		if value = strings.TrimSpace(value); l.ofApp != nil && r.short(key, value) {
			l.ofApp(r, key, value)
		}
		return
	}
	split, ok := r.splitKey(key)
	if !ok {
		r.notKnown(key, value)
		return
	}
	r.relevant = true
	r.show(key, value, split.label)
	if len(r.declared) == 0 {
		r.leaveOut(split.name, key, value, "the app declares no port")
		return
	}
	index, ok := r.portIndex(split.port)
	if !ok {
		r.noSuchPort(split, key, value)
		return
	}
	if first, twice := r.seen[nameOfPort{index, split.name}]; twice {
		r.problem(key, "is ignored: %s says it already", sources.Clip(first))
		r.leaveOut(split.name, key, value, sources.Clip(first)+" says it already")
		return
	}
	r.seen[nameOfPort{index, split.name}] = key
	switch l := split.label; {
	case l.ofPort != nil:
		l.ofPort(r, key, index, value)
	case l.setting != nil:
		if r.settings[index] == nil {
			r.settings[index] = NewSettings()
		}
		r.settings[index].read(l, value)
		r.values[index] = append(r.values[index], settingValue{l, value})
	case l.unsupported != "":
		r.problem(key, "is not supported and has no effect: %s", l.unsupported)
	}
}

// notKnown notes a label that is none of those that there are.
func (r *reader) notKnown(key, value string) {
	var like *Label // it, as far as that is sure
	defer func() { r.show(key, value, like) }()
	if r.unknown >= maxUnknown {
		r.unknown++
		return
	}
	if len(key) > MaxKeyBytes {
		r.unknown++
		r.problem(key, "is not a known label: those have fewer than %d bytes", MaxKeyBytes)
		return
	}
	meant, _ := r.near.meant(key)
	if meant.noEffect {
		return
	}
	r.unknown++
	sure := meant.label != ""
	if !sure {
		meant.label = nearestLabel(cmp.Or(meant.like, key))
		sure = sources.EditDistance(strings.ToUpper(cmp.Or(meant.like, key)), meant.label) <= 2
	}
	if sure {
		like = r.meantBy(key, meant.label)
	}
	if strings.HasSuffix(meant.label, "_VHOST") {
		r.leaveOut("VHOST", key, value, "it is not a known label, and "+meant.label+" is likely meant")
	}
	if split, ok := r.splitKey(meant.label); ok && split.label.restricts && sure {
		r.problems.AddFailing(key, "is not a known label: did you mean %s?%s As it is, it keeps nobody out", meant.label, spelled(key))
		return
	}
	r.problem(key, "is not a known label: did you mean %s?%s", meant.label, spelled(key))
}

// short tells whether a value may be looked at.
func (r *reader) short(key, value string) bool {
	if len(value) > sources.MaxSettingBytes {
		r.problem(key, "is ignored: it has more than %d bytes", sources.MaxSettingBytes)
		return false
	}
	return true
}

// finish settles what several labels say together about a port.
func (r *reader) finish(index int) {
	port := &r.ports[index]
	port.Groups = r.groups
	if own, ok := r.ownGroups[index]; ok {
		port.Groups = own
	}
	r.finishSettings(index)
	if port.TCP != nil && !port.TCP.Implicit {
		r.checkTCP(index)
	} else if len(port.Domains) == 0 {
		for _, name := range []string{"PATH", "REDIRECT_TO_HTTPS"} {
			if key, ok := r.seen[nameOfPort{index, name}]; ok && (name == "PATH" || port.RedirectToHTTPS) {
				r.problem(key, "has no effect without a domain: set HAPROXY_%d_VHOST", index)
			}
		}
	}
	udp := r.declared[index].UDPOnly
	if udp && len(port.Domains)+len(port.ACMEDomains) > 0 {
		r.problems.AddFailing("", "port %d is UDP only and cannot serve a domain", index)
	}
	if !udp && !r.disabled[index] {
		return
	}
	why := fmt.Sprintf("HAPROXY_%d_ENABLED takes the port out", index)
	if udp {
		why = "the port is UDP only"
	}
	for _, domain := range port.Domains {
		r.notRouted(sources.Unrouted{Domain: domain, Meant: !udp}, r.seen[nameOfPort{index, "VHOST"}], why)
	}
	*port = sources.Port{Name: port.Name}
}

func (r *reader) finishSettings(index int) {
	settings := r.settings[index]
	port := &r.ports[index]
	if settings == nil {
		if len(port.Groups) == 0 {
			return
		}
		settings = NewSettings()
	}
	declared := r.declared[index]
	var problems []problem.Problem
	port.TCP = settings.TCP(declared.ServicePort, len(port.Domains) > 0 || declared.SpeaksHTTP)
	port.Queue, port.Probe, port.UsedBy = settings.Queue(), settings.Probe(), settings.UsedBy()
	port.HTTP, port.Upstream, problems = settings.Finish()
	for _, p := range problems {
		p.Subject = r.seen[nameOfPort{index, p.Subject}]
		r.problems.Append(p)
	}
}

// checkTCP reports what has no effect on a TCP service.
func (r *reader) checkTCP(index int) {
	port := &r.ports[index]
	keyOf := func(name string) string { return r.seen[nameOfPort{index, name}] }
	switch {
	case port.TCP.Passthrough && len(port.Domains) == 0:
		r.problem(keyOf("TLS_PASSTHROUGH"), "has no effect without a domain: set HAPROXY_%d_VHOST", index)
	case !port.TCP.Passthrough && port.TCP.ServiceTLS == nil && len(port.Domains) > 0:
		r.problem(keyOf("VHOST"), "has no effect in tcp mode, unless RELAY_%d_TLS_PASSTHROUGH or RELAY_%[1]d_TLS_TERMINATE is true", index)
	}
	if port.RedirectToHTTPS {
		r.problem(keyOf("REDIRECT_TO_HTTPS"), "has no effect in tcp mode")
		port.RedirectToHTTPS = false
	}
}
