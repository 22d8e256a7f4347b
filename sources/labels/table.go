package labels

import (
	"slices"
	"strings"
)

// Label is one label, and all that Relay knows of it. To add a label, add an
// entry to the section that it belongs to, each of which is a file of this folder,
// such as http.go. The keys that are understood, the fields of YAML files, and the
// tables of the docs follow from it; docs/adding-a-label.md has the rest.
type Label struct {
	// Key is the label with {n} in place of the port, as in HAPROXY_{n}_VHOST.
	// Without {n} it holds for the app as a whole. A "*" at the end stands for all
	// labels that begin so.
	Key string
	// Field says the same in a YAML file: it is a field of a port, or as
	// "deployment.group" one of the app. If there is no such field, noField says why.
	Field, noField string

	// Exactly one of the following says what the label does. A setting means the
	// same in a label and in a field of a file, and is read by the same function.
	setting func(s *Settings, value string)
	// ofPort and ofApp read what files write in another way than labels.
	ofPort func(r *reader, key string, port int, value string)
	ofApp  func(r *reader, key, value string)
	// unsupported is why the label has no effect: people are told so.
	unsupported string
	// noEffect is set if it has none and people need not know.
	noEffect bool

	// restricts tells that the setting keeps clients out: if it is not understood,
	// the port is closed.
	restricts bool
	// tooLong, if set, is what a value that is over a limit does in place of the
	// default, and says so. It keeps shut what the default would open.
	tooLong func(s *Settings) string
	// shown says how people are shown a value that may be secret, or has something secret in
	// it; nil shows it, but for what looks like a credential.
	shown func(value string) string
	// httpOnly settings have no effect on TCP services, tcpOnly ones none on HTTP.
	httpOnly, tcpOnly bool

	// What the docs say. An example is a value that can be used.
	meaning, byDefault, envoy, example string
	// more are further rows, for some values each.
	more []docRow

	prefix, name string
}

// docRow is what the docs say about some values of a label.
type docRow struct{ meaning, envoy, example string }

// section is some labels under one heading of the docs.
type section struct {
	name   string
	labels []Label
}

// sections is the table of all labels, in the order of the docs.
var sections = []section{
	{"routing", routingLabels}, {"access", accessLabels}, {"sign_on", slices.Concat(signOnLabels, oidcLabels)}, {"request_limits", requestLimitLabels}, {"shaping", shapingLabels}, {"balance", balanceLabels}, {"http", httpLabels}, {"timeouts", timeoutLabels},
	{"upstream", upstreamLabels}, {"tcp", tcpLabels}, {"service_tls", serviceTLSLabels}, {"connections", connectionLabels}, {"redis", redisLabels}, {"holding", holdingLabels}, {"scaling", scalingLabels}, {"monitoring", monitoringLabels}, {"deployment", deploymentLabels}, {"unsupported", unsupportedLabels},
}

// prefixes are what labels for Relay begin with.
var prefixes = []string{"HAPROXY_", "MARATHON_ACME_", "RELAY_"}

// Name is what follows the port in the key, as VHOST. No two labels of ports have
// the same. Of a label for the whole app it is the key.
func (l *Label) Name() string { return l.name }

// For returns the key of the label for a port, given by index or name.
func (l *Label) For(port string) string { return strings.Replace(l.Key, "{n}", port, 1) }

// Example returns a value that can be used; "" if the label has no effect.
func (l *Label) Example() string { return l.example }

// TCPOnly reports whether the label has an effect on TCP services alone.
func (l *Label) TCPOnly() bool { return l.tcpOnly }

// index finds labels. It is built once.
type index struct {
	app      map[string]*Label            // by key
	port     map[string]map[string]*Label // by prefix and name
	families map[string][]*Label          // by prefix: those that end with "*"
	ofApps   []*Label                     // those that end with "*" and are for the app as a whole
	all      []*Label
	settings []*Label // sorted by name
	byName   map[string]*Label
	// httpOnly and tcpOnly are sorted by name.
	httpOnly, tcpOnly []*Label
	suggestions       []suggestion
	words             []prefixWord
}

var known = newIndex(sections)

func newIndex(sections []section) *index {
	x := &index{app: map[string]*Label{}, port: map[string]map[string]*Label{}, families: map[string][]*Label{}, byName: map[string]*Label{}}
	for _, s := range sections {
		for i := range s.labels {
			x.add(&s.labels[i])
		}
	}
	slices.SortFunc(x.settings, func(a, b *Label) int { return strings.Compare(a.name, b.name) })
	for _, l := range x.settings {
		if l.httpOnly {
			x.httpOnly = append(x.httpOnly, l)
		}
		if l.tcpOnly {
			x.tcpOnly = append(x.tcpOnly, l)
		}
	}
	x.suggestions, x.words = suggestionsFrom(x.all), prefixWordsOf(x.all)
	return x
}

func (x *index) add(l *Label) {
	x.all = append(x.all, l)
	var ofPort bool
	if l.prefix, l.name, ofPort = strings.Cut(l.Key, "{n}_"); !ofPort {
		l.name = l.Key
		if strings.HasSuffix(l.Key, "*") {
			x.ofApps = append(x.ofApps, l)
		} else {
			x.app[l.Key] = l
		}
		return
	}
	if family, ok := strings.CutSuffix(l.name, "*"); ok {
		l.name = family
		x.families[l.prefix] = append(x.families[l.prefix], l)
		return
	}
	if x.port[l.prefix] == nil {
		x.port[l.prefix] = map[string]*Label{}
	}
	x.port[l.prefix][l.name] = l
	if l.setting != nil {
		x.settings = append(x.settings, l)
		x.byName[l.name] = l
	}
}

// ofApp returns the label with a key that is for the app as a whole; nil if there is none.
func (x *index) ofApp(key string) *Label {
	if l := x.app[key]; l != nil {
		return l
	}
	for _, l := range x.ofApps {
		if strings.HasPrefix(key, strings.TrimSuffix(l.Key, "*")) {
			return l
		}
	}
	return nil
}

// ofPort returns the label of a port with a prefix and name; nil if there is none.
func (x *index) ofPort(prefix, name string) *Label {
	if l := x.port[prefix][name]; l != nil {
		return l
	}
	for _, l := range x.families[prefix] {
		if len(name) > len(l.name) && strings.HasPrefix(name, l.name) {
			return l
		}
	}
	return nil
}

// All returns all labels, in the order of the docs.
func All() []*Label { return slices.Clone(known.all) }

// AllSettings returns the labels that hold a setting, sorted by name.
func AllSettings() []*Label { return slices.Clone(known.settings) }
