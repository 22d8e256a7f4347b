package traefik

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"relay/internal/hostname"
	"relay/sources"
	"relay/sources/labels"
)

// route is what a rule comes to: domains, each with these paths, and what requests must be like.
type route struct {
	domains []string
	// paths are nil for all.
	paths []sources.Path
	match []sources.Match
	// networks are those of the clients that the rule is for; nil for all.
	networks []netip.Prefix
	// limited is set if networks count.
	limited bool
}

// errNever is the error of a condition that no request fulfils.
var errNever = errors.New("no request fulfils it")

// routesOf says which requests a rule takes. As an alternative that no request fulfils costs nothing, it is left
// out.
func routesOf(all []alternative) ([]route, error) {
	var routes []route
	for _, one := range all {
		r, err := routeOf(one)
		if errors.Is(err, errNever) {
			continue
		}
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	if len(routes) == 0 {
		return nil, errNever
	}
	routes = merged(routes)
	for _, r := range routes {
		if len(r.match) > sources.MaxMatches {
			return nil, fmt.Errorf("comes to more than %d kinds of requests: write several routers", sources.MaxMatches)
		}
	}
	return routes, nil
}

// building is a route that conditions are added to.
type building struct {
	hosts map[string]string // the regular expression of each; "" for the domain as it is. nil for all hosts
	paths []sources.Path    // nil for all
	match sources.Match
	nets  []netip.Prefix
	// limited is set if nets count.
	limited bool
	parts   int
}

func routeOf(all alternative) (route, error) {
	var b building
	// What is not wanted is taken from what is.
	for _, not := range []bool{false, true} {
		for _, c := range all {
			if c.not != not {
				continue
			}
			if err := b.add(c); err != nil {
				return route{}, err
			}
		}
	}
	if b.hosts == nil {
		return route{}, errors.New("has an alternative without Host: Relay routes domains, so say which ones")
	}
	if len(b.hosts) == 0 || b.limited && len(b.nets) == 0 {
		return route{}, errNever
	}
	if b.parts > sources.MaxMatchParts {
		return route{}, fmt.Errorf("asks for more than %d things of a request", sources.MaxMatchParts)
	}
	r := route{paths: b.paths, networks: b.nets, limited: b.limited}
	pattern := ""
	for domain, p := range b.hosts {
		r.domains = append(r.domains, domain)
		if p != "" && len(b.hosts) > 1 {
			return route{}, errors.New("has several patterns of hosts in one place: write several routers, or HostRegexp(...) || HostRegexp(...)")
		}
		pattern = p
	}
	slices.Sort(r.domains)
	if pattern != "" {
		b.match.Headers = append(b.match.Headers, sources.FieldMatch{Name: ":authority", Value: pattern, Regex: true})
	}
	if len(b.match.Headers)+len(b.match.Query)+len(b.match.NotPaths) > 0 {
		r.match = []sources.Match{b.match}
	}
	return r, nil
}

func (b *building) add(c condition) error {
	switch c.matcher {
	case "Host", "HostRegexp":
		return b.addHosts(c)
	case "Path", "PathPrefix":
		return b.addPaths(c)
	case "ClientIP":
		return b.addNetworks(c)
	}
	b.parts++
	switch c.matcher {
	case "Method":
		return b.addMethods(c)
	case "Headers", "HeadersRegexp":
		return b.addHeader(c)
	case "Query":
		return b.addQuery(c)
	}
	return fmt.Errorf("has %s, which is not for HTTP routers", c.matcher)
}

func (b *building) addHosts(c condition) error {
	hosts := make(map[string]string)
	for _, value := range c.values {
		domain, pattern, err := hostOf(value, c.matcher == "HostRegexp")
		if err != nil {
			return err
		}
		hosts[domain] = pattern
	}
	_, wildcard := b.wildcard()
	switch {
	case c.not && (c.matcher == "HostRegexp" || wildcard):
		return errors.New("takes hosts away from a pattern, or a pattern from hosts: Relay cannot do that")
	case c.not && b.hosts == nil:
		return errors.New("has an alternative without Host: Relay routes domains, so say which ones")
	case c.not:
		for host := range hosts {
			delete(b.hosts, host)
		}
	case b.hosts == nil:
		b.hosts = hosts
	default:
		if _, other := b.wildcard(); other || c.matcher == "HostRegexp" {
			return errors.New("asks for two patterns of the host at once")
		}
		for host := range b.hosts {
			if _, both := hosts[host]; !both {
				delete(b.hosts, host)
			}
		}
	}
	return nil
}

// wildcard returns a wildcard domain among the hosts.
func (b *building) wildcard() (string, bool) {
	for host := range b.hosts {
		if strings.HasPrefix(host, "*") {
			return host, true
		}
	}
	return "", false
}

// hostOf reads a host, or as HostRegexp takes it a host with parts between braces, as a domain and a regular
// expression that the host of requests must fit; "" if all that are below the domain do.
func hostOf(value string, pattern bool) (domain, fits string, err error) {
	if !pattern || !strings.ContainsRune(value, '{') {
		domain, _, err := hostname.Routed(value)
		if err == nil && strings.HasPrefix(domain, "*") {
			err = fmt.Errorf("has the wildcard %.80s in Host, where Traefik takes it literally: use HostRegexp(`{any:.+}%s`)", domain, domain[1:])
		}
		return domain, "", err
	}
	t, err := parsePlaceholders(value, `[^.]+`)
	if err != nil {
		return "", "", err
	}
	end := strings.ToLower(t.tail)
	from := strings.IndexByte(end, '.')
	if from < 0 || from > 0 && !strings.Contains(end[from+1:], ".") || len(t.variables) == 0 {
		return "", "", fmt.Errorf("has the pattern %.80q, which does not end in a domain: Relay routes wildcards such as {any:.+}.example.com", value)
	}
	domain, _, err = hostname.Routed("*" + end[from:])
	if err != nil {
		return "", "", err
	}
	if from == 0 && t.head == "" && len(t.variables) == 1 && slices.Contains([]string{".*", ".+"}, t.variables[0]) {
		return domain, "", nil
	}
	return domain, `(?i)(?:` + t.expression + `)\.?(?::[0-9]+)?`, nil
}

func (b *building) addPaths(c condition) error {
	var paths []sources.Path
	for _, value := range c.values {
		path, err := pathOf(value, c.matcher == "Path")
		if err != nil {
			return err
		}
		if path == (sources.Path{Prefix: "/"}) && !c.not {
			paths = nil
			break
		}
		paths = append(paths, path)
	}
	switch {
	case c.not:
		b.parts += len(paths)
		b.match.NotPaths = append(b.match.NotPaths, paths...)
	case b.paths == nil:
		b.paths = paths
	case paths != nil:
		both, err := common(b.paths, paths)
		b.paths = both
		return err
	}
	return nil
}

// common returns the paths that are in both lists.
func common(a, b []sources.Path) ([]sources.Path, error) {
	var both []sources.Path
	for _, x := range a {
		for _, y := range b {
			if x.Pattern != "" || y.Pattern != "" {
				return nil, errors.New("asks for two paths at once, of which one is a pattern")
			}
			if len(x.Prefix) < len(y.Prefix) || x.Prefix == y.Prefix && y.Exact {
				x, y = y, x // y is the wider one
			}
			if x == y || !y.Exact && strings.HasPrefix(x.Prefix, y.Prefix) {
				both = append(both, x)
			}
		}
	}
	if len(both) == 0 {
		return nil, errNever
	}
	return both, nil
}

func pathOf(value string, exact bool) (sources.Path, error) {
	literal := func(text string) string { return (&url.URL{Path: text}).EscapedPath() }
	if !strings.ContainsAny(value, "{}") {
		path := sources.Path{Prefix: literal(value), Exact: exact}
		return path, labels.CheckPath(path.Prefix)
	}
	t, err := parsePlaceholders(value, `[^/]+`)
	if err != nil {
		return sources.Path{}, err
	}
	path := sources.Path{Prefix: literal(t.head), Pattern: t.expression}
	if !exact {
		path.Pattern += ".*"
	}
	if len(path.Pattern) > sources.MaxMatchBytes {
		return sources.Path{}, errors.New("has a pattern that is too long")
	}
	return path, labels.CheckPath(path.Prefix)
}

var validMethod = regexp.MustCompile(`^[A-Za-z][A-Za-z-]{0,30}$`)

func (b *building) addMethods(c condition) error {
	m := sources.FieldMatch{Name: ":method", Not: c.not, Regex: len(c.values) > 1}
	var methods []string
	for _, value := range c.values {
		if !validMethod.MatchString(value) {
			return fmt.Errorf("has the method %.40q, which is none", value)
		}
		methods = append(methods, strings.ToUpper(value))
	}
	m.Value = strings.Join(methods, "|")
	if len(m.Value) > sources.MaxMatchBytes {
		return errors.New("has too many methods")
	}
	b.match.Headers = append(b.match.Headers, m)
	return nil
}

func (b *building) addHeader(c condition) error {
	name := strings.ToLower(c.values[0])
	if !labels.ValidHeaderName(name) {
		return fmt.Errorf("has %.40q as the name of a header", c.values[0])
	}
	m := sources.FieldMatch{Name: name, Value: c.values[1], Not: c.not}
	if c.matcher == "HeadersRegexp" && m.Value != "" {
		wrong := labels.CheckPattern(m.Value)
		m.Regex, m.Value = true, ".*(?:"+m.Value+").*"
		if wrong == "" {
			wrong = labels.CheckWhole(m.Value)
		}
		if wrong != "" {
			return fmt.Errorf("has a value of HeadersRegexp that %s", wrong)
		}
	}
	if len(m.Value) > sources.MaxMatchBytes || strings.ContainsAny(m.Value, "\r\n\x00") {
		return errors.New("has a value of a header that is too long, or has control characters")
	}
	b.match.Headers = append(b.match.Headers, m)
	return nil
}

var validParameter = regexp.MustCompile(`^[A-Za-z0-9._~*\[\]-]{1,100}$`)

func (b *building) addQuery(c condition) error {
	name, value, ok := strings.Cut(c.values[0], "=")
	if !ok || !validParameter.MatchString(name) {
		return errors.New("has a Query that is not name=value")
	}
	m := sources.FieldMatch{Name: name, Not: c.not}
	if strings.ContainsRune(value, '{') {
		t, err := parsePlaceholders(value, ".*")
		if err != nil {
			return err
		}
		m.Regex, m.Value = true, t.expression
		// Its name may come anywhere in a query.
		if wrong := labels.CheckWhole(".*" + regexp.QuoteMeta(name) + "=" + t.expression + ".*"); wrong != "" {
			return fmt.Errorf("has a Query that %s", wrong)
		}
	} else {
		m.Value = url.QueryEscape(value)
	}
	if len(m.Value) > sources.MaxMatchBytes {
		return errors.New("has a Query that is too long")
	}
	b.match.Query = append(b.match.Query, m)
	return nil
}
