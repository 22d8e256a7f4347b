package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/collator/collatortest"
	"relay/sources/labels"
)

// labelSet is an app with random labels.
type labelSet struct {
	id     string
	labels map[string]string
	// names of its ports may be empty; services are their service ports, and tasks the ports of its task.
	names           []string
	services, tasks []int
	// routers are the domains of its routers of Traefik, by their names. No other app has these domains.
	routers map[string]string
	// group is its deployment group, and started when it began, in hours; 0 is never.
	group   string
	started int
}

// labelSets makes random apps.
type labelSets struct {
	*rand.Rand
	round int
	// open are ports that services may open.
	open []int
	// values are good values of each setting, by its name.
	values map[string][]string
	// good is set while all values are.
	good bool
}

// setPorts is how many ports an app has at most.
const setPorts = 3

func newLabelSets(seed uint64, open []int) *labelSets {
	g := &labelSets{Rand: rand.New(rand.NewPCG(seed, 1)), open: open, values: map[string][]string{}}
	for _, s := range collatortest.Settings {
		g.values[s[0]] = append(g.values[s[0]], s[1])
	}
	for _, l := range labels.AllSettings() {
		g.values[l.Name()] = append(g.values[l.Name()], l.Example())
	}
	for name, values := range map[string][]string{
		"AUTH_APP": {"/shop/a2", "/bank/a1 /auth", "/shop/a4:1 /auth?x=1", "deployment-group/group1"}, "MIRROR": {"/shop/a2 5%", "/bank/a1 100%"}, "REDIS_PREFIXES": {"sess: /shop/a2", "sess: /bank/a1:1"},
		"USED_BY": {"*", "/shop/*"}, "REDIS_PASSWORD": {"here", "cache-clients"}, "JWT_JWKS": {"keys", "jwks", "gone"}, "CLIENT_CA": {"devices", "devices"},
	} {
		g.values[name] = append(values, g.values[name]...)
	}
	return g
}

func (g *labelSets) one(of ...string) string { return of[g.IntN(len(of))] }

// often reports true so many times of a hundred.
func (g *labelSets) often(percent int) bool { return g.IntN(100) < percent }

// app is the app with an index; the port of its task n is tasks[n].
func (g *labelSets) app(index int, tasks []int) *labelSet {
	s := &labelSet{id: fmt.Sprintf("/%s/a%d", []string{"shop", "bank"}[index%2], index), labels: map[string]string{}, routers: map[string]string{}, tasks: tasks[:1+g.IntN(setPorts)]}
	for n := range s.tasks {
		s.names = append(s.names, g.one("", "", fmt.Sprint("p", n)))
		s.services = append(s.services, []int{0, g.open[g.IntN(len(g.open))]}[g.IntN(2)])
	}
	if g.often(92) {
		s.labels["HAPROXY_GROUP"] = g.one("external", "external", "external,internal")
	}
	for n := range s.tasks {
		g.port(s, index, n)
	}
	switch {
	case g.often(25):
		g.traefik(s, index)
	case g.often(10):
		g.traefik1(s, index)
	case g.often(10):
		s.group, s.started = fmt.Sprintf("group%d", g.IntN(4)), g.IntN(1000)
		s.labels["HAPROXY_DEPLOYMENT_GROUP"] = s.group
		if s.started > 0 {
			s.labels["HAPROXY_DEPLOYMENT_STARTED_AT"] = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s.started) * time.Hour).Format(time.RFC3339)
		}
	}
	if g.often(10) {
		s.labels[g.one("RELAY_IDLE_AFTER", "RELAY_SCALE", "RELAY_WAKE_TIMEOUT", "RELAY_OWNER", "RELAY_MAINTENANCE", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES")] = g.one("8760h", "", "x", "-1", "true\x00")
	}
	if g.often(2) { // more than are read
		for i := range 5001 {
			s.labels[fmt.Sprintf("HAPROXY_%d_X%d", i%3, i)] = "x"
		}
	}
	return s
}

// port adds labels of a port.
func (g *labelSets) port(s *labelSet, index, n int) {
	set := func(name, value string) {
		l := labelNamed(name)
		port := strconv.Itoa(n)
		if s.names[n] != "" && g.often(30) {
			port = s.names[n]
		}
		s.labels[l.For(port)] = value
	}
	g.good = g.often(50)
	if g.often(85) {
		set("VHOST", g.domains(index, n))
	}
	switch {
	case g.often(15):
		set("MODE", "tcp")
		set("PORT", g.portNumber())
	case g.often(8):
		set("PROTOCOL", "redis")
		set("PORT", g.portNumber())
	case g.often(8):
		set(g.one("TLS_TERMINATE", "TLS_PASSTHROUGH"), "true")
	}
	all := labels.AllSettings()
	for range g.IntN(6) {
		name := all[g.IntN(len(all))].Name()
		if !s.has(n, name) && !(g.good && slices.Contains(restricting, name)) {
			set(name, g.value(name))
		}
	}
	if g.often(40) {
		name := restricting[g.IntN(len(restricting))]
		if g.often(20) {
			name = "AUTH"
		}
		// Some need others, and are closed alone.
		for _, other := range restricting {
			if !s.has(n, other) && (other == name || other[:3] == name[:3] && other != "AUTH" && name != "AUTH" && g.often(90)) {
				set(other, g.value(other))
			}
		}
	}
	if g.often(3) {
		set("ENABLED", g.one("false", "no", "x", "true"))
	}
}

func labelNamed(name string) *labels.Label {
	all := labels.All()
	i := slices.IndexFunc(all, func(l *labels.Label) bool { return l.Name() == name })
	return all[i]
}

// domains of a port are its own, or shared.
func (g *labelSets) domains(index, n int) string {
	own := fmt.Sprintf("a%d-%d.test", index, n)
	if g.often(50) {
		own = fmt.Sprintf("r%d-%s", g.round, own)
	}
	return g.one(own, own, own+", *."+own, fmt.Sprintf("s%d.test %s", g.IntN(8), own), fmt.Sprintf("*.w%d.test", g.IntN(4)), fmt.Sprintf("s%d.test", g.IntN(8)), strings.ToUpper(own)+".", own+", a..b")
}

func (g *labelSets) portNumber() string {
	if !g.good && g.often(20) {
		return g.one("0", "x", "65536", "80", "")
	}
	return strconv.Itoa(g.open[g.IntN(len(g.open))])
}

// value is one for a setting, good or bad.
func (g *labelSets) value(name string) string {
	switch name {
	case "PORT":
		return g.portNumber()
	case "BIND_ADDR":
		return g.one("127.0.0.1", "*", "", "x", "127.0.0.1:80", "[127.0.0.1]")
	case "VHOST":
		return g.one("odd.test", "*", "x y")
	}
	good := g.values[name]
	value := good[g.IntN(len(good))]
	if g.good {
		return value
	}
	switch g.IntN(6) {
	case 0:
		all := extremes()
		if value = all[g.IntN(len(all))]; len(value) > 20_000 && g.often(80) {
			value = ""
		}
	case 1:
		value = g.mutated(value)
	case 2:
		other := slices.Sorted(maps.Keys(g.values))
		of := g.values[other[g.IntN(len(other))]]
		value = of[g.IntN(len(of))]
	}
	return value
}

// mutated is a value with something wrong, or not.
func (g *labelSets) mutated(value string) string {
	at := g.IntN(len(value) + 1)
	to := at + g.IntN(len(value)-at+1)
	piece := g.one("", " ", ",", ":", "/", "%", "\n", "\t", "\x00", "\u00e9", "*", "-1", "0", "9999999999", "\"", "{", "$", "\\", "..", "#", ";", value)
	switch g.IntN(3) {
	case 0:
		return value[:at] + piece + value[at:]
	case 1:
		return value[:at] + value[to:]
	}
	return value[:at] + piece + value[to:]
}

// definition is the app as Marathon has it.
func (s *labelSet) definition() []byte {
	var ports []any
	for n, service := range s.services {
		port := map[string]any{"port": service, "protocol": "tcp"}
		if s.names[n] != "" {
			port["name"] = s.names[n]
		}
		ports = append(ports, port)
	}
	text, err := json.Marshal(map[string]any{
		"id": s.id, "instances": 1, "labels": s.labels, "portDefinitions": ports, "tasks": []any{map[string]any{
			"id": strings.ReplaceAll(s.id[1:], "/", "_") + ".1", "host": "127.0.0.1", "ports": s.tasks, "state": "TASK_RUNNING", "startedAt": "2026-01-01T00:00:00.000Z",
		}},
	})
	if err != nil {
		panic(err)
	}
	return text
}

// has reports whether a port has a label.
func (s *labelSet) has(n int, name string) bool {
	_, given := s.label(n, name)
	return given
}

// label returns the label of a port by its index or name.
func (s *labelSet) label(n int, name string) (value string, given bool) {
	for _, port := range []string{strconv.Itoa(n), s.names[n]} {
		for _, prefix := range []string{"HAPROXY_", "RELAY_"} {
			if value, given = s.labels[prefix+port+"_"+name]; given && port != "" {
				return value, true
			}
		}
	}
	return "", false
}

// restricting are the labels that keep out whoever has no credentials, as people understand them who write them.
var restricting = []string{
	"AUTH", "BACKEND_NETWORK_ALLOWED_ACL", "AUTH_APP", "AUTH_APP_RESPONSE_HEADERS", "JWT_ISSUER", "JWT_JWKS", "JWT_AUDIENCES", "JWT_CLAIMS_TO_HEADERS",
	"OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_AUTHORIZATION_ENDPOINT", "OIDC_TOKEN_ENDPOINT", "CLIENT_CA", "CLIENT_SAN", "REDIS_PASSWORD", "REDIS_SERVER_PASSWORD",
}

// keepsOut says by which label a port keeps out a client at 127.0.0.1 that has no credentials, well-formed or not; ""
// if by none.
func (s *labelSet) keepsOut(n int) string {
	for _, name := range restricting {
		value, given := s.label(n, name)
		switch {
		case !given:
		case name == "BACKEND_NETWORK_ALLOWED_ACL" && letsLoopbackIn(value):
		case name == "CLIENT_CA" && s.has(n, "CLIENT_CERTIFICATES") && !s.has(n, "CLIENT_SAN"): // may be for who has one
		case name == "REDIS_SERVER_PASSWORD" && s.has(n, "PROTOCOL"): // that of the servers
		default:
			return name
		}
	}
	if value, _ := s.label(n, "ENABLED"); value == "false" || value == "no" {
		return "ENABLED"
	}
	return ""
}

func letsLoopbackIn(value string) bool {
	in := false
	for field := range strings.FieldsSeq(value) {
		network, err := netip.ParsePrefix(field)
		if err != nil {
			address, err := netip.ParseAddr(field)
			if err != nil {
				return false
			}
			network = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen())
		}
		in = in || network.Masked().Contains(netip.MustParseAddr("127.0.0.1"))
	}
	return in
}
