package file

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"relay/internal/hostname"
	"relay/internal/problem"
	"relay/sources"
)

const defaultGroup = "external"

// Parse reads the apps of one file; name stands for the file in errors and
// problems. An error, which joins one *Error for each mistake, costs the whole
// file: a syntax error, an unknown field, a value of the wrong type, an app
// without a valid id. Lesser mistakes become Problems of the app.
func Parse(name string, data []byte) ([]*sources.App, error) {
	defs, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	apps := make([]*sources.App, len(defs))
	for i, d := range defs {
		apps[i] = d.app
	}
	return apps, nil
}

// definition is an app and where it is defined.
type definition struct {
	app  *sources.App
	file string
	line int
}

func parse(name string, data []byte) ([]definition, error) {
	specs, err := decode(name, data)
	if err != nil {
		return nil, err
	}
	var defs []definition
	var errs []error
	first := map[string]int{}
	for _, spec := range specs {
		if err := checkID(spec.ID.Value); err != nil {
			errs = append(errs, &Error{File: name, Line: cmp.Or(spec.ID.Line, spec.line), Reason: err.Error()})
			continue
		}
		if i, dup := first[spec.ID.Value]; dup {
			if known := &defs[i].app.Problems; len(*known) < sources.MaxProblems {
				*known = append(*known, duplicate(name, spec.ID.Line))
			}
			continue
		}
		first[spec.ID.Value] = len(defs)
		c := converter{file: name}
		defs = append(defs, definition{c.app(spec), name, spec.ID.Line})
	}
	if len(errs) > 0 {
		return nil, join(name, errs)
	}
	return defs, nil
}

// validID is the rule that Marathon has for absolute app ids: path segments of
// lower-case letters, digits, hyphens and dots.
var validID = regexp.MustCompile(`^(/([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("app without an id")
	case len(id) > sources.MaxIDBytes:
		return fmt.Errorf("app id %.40q… has more than %d bytes", id, sources.MaxIDBytes)
	case !validID.MatchString(id):
		return fmt.Errorf("app id %.80q is not an absolute path of lower-case letters, digits, hyphens and dots, such as /shop/web", id)
	}
	return nil
}

func duplicate(file string, line int) problem.Problem {
	return problemAt(file, line, "id", "the same id is used again here; this second app is ignored")
}

func problemAt(file string, line int, subject, reason string) problem.Problem {
	return problem.Problem{Subject: subject, Reason: (&Error{File: file, Line: line, Reason: reason}).Error()}
}

// converter turns the checked form of one app into a sources.App and collects
// what it has to ignore.
type converter struct {
	file                 string
	problems             sources.Problems
	domains, acmeDomains sources.DomainCount
	unrouted             []sources.Unrouted
	// endpointCount is how many the app has so far.
	endpointCount int
}

// place is where something is in a file.
type place struct {
	file string
	line int
}

// String returns "file:line: ".
func (p place) String() string { return (&Error{File: p.file, Line: p.line}).Error() }

func (c *converter) ignore(line int, subject, format string, args ...any) {
	c.problems.Add(subject, "%s"+format, append([]any{place{c.file, line}}, args...)...)
}

// remark is ignore for a problem of which more is known.
func (c *converter) remark(one problem.Problem, line int, format string, args ...any) {
	c.problems.AddTo(one, "%s"+format, append([]any{place{c.file, line}}, args...)...)
}

func (c *converter) app(spec appSpec) *sources.App {
	app := &sources.App{ID: spec.ID.Value, Maintenance: spec.Maintenance, Owner: c.owner(spec.Owner)}
	ports := spec.Ports
	if len(ports) > sources.MaxPorts {
		c.ignore(spec.ID.Line, "ports", "only the first %d are used", sources.MaxPorts)
		ports = ports[:sources.MaxPorts]
	}
	tooMany := tooManySettings(ports)
	if tooMany != "" {
		c.ignore(spec.ID.Line, "ports", "%s", tooMany)
	}
	for i, p := range ports {
		if tooMany != "" {
			app.Ports = append(app.Ports, sources.Port{})
			continue
		}
		field := fmt.Sprintf("ports[%d].", i)
		port := sources.Port{
			Name:            c.name(field+"name", p.Name),
			Groups:          c.groups(field+"groups", p.Groups),
			Domains:         c.readDomains(&c.domains, field+"domains", p.Domains),
			ACMEDomains:     c.readDomains(&c.acmeDomains, field+"acmeDomains", p.ACMEDomains),
			RedirectToHTTPS: p.RedirectToHTTPS,
			Endpoints:       c.endpoints(field+"endpoints", p.Endpoints),
		}
		c.settings(field, p.Settings, &port)
		app.Ports = append(app.Ports, port)
	}
	if tooMany == "" {
		app.Deployment = c.deployment(spec.Deployment, app.Ports)
	}
	app.Version = contentVersion(app)
	app.Problems, app.Unrouted = c.problems.List(), c.unrouted
	return app
}

// name returns a name for people, unless it is too long for one.
func (c *converter) name(field, name string) string {
	if len(name) > sources.MaxNameBytes {
		c.ignore(0, field, "is ignored: it has more than %d bytes", sources.MaxNameBytes)
	}
	return sources.BoundedName(name)
}

// contentVersion stands in for the version that Marathon gives a definition:
// it changes exactly when the definition does.
func contentVersion(app *sources.App) string {
	body, err := json.Marshal(app.Ports)
	if err != nil {
		return ""
	}
	hash := sha256.New()
	hash.Write(body)
	if app.Maintenance {
		fmt.Fprint(hash, "maintenance")
	}
	if app.Owner != "" {
		fmt.Fprint(hash, "owner", app.Owner)
	}
	if d := app.Deployment; d != nil {
		fmt.Fprint(hash, *d)
	}
	for _, p := range app.Ports {
		if p.HTTP != nil && p.HTTP.BasicAuth != nil {
			for _, u := range p.HTTP.BasicAuth.Users() {
				hash.Write([]byte(u.Hash)) // JSON does not show it
			}
		}
	}
	return hex.EncodeToString(hash.Sum(nil)[:6])
}

// groups returns the fleets. A list that is left out means the default fleet,
// an empty one no fleet at all.
func (c *converter) groups(field string, in []text) []string {
	if in == nil {
		return []string{defaultGroup}
	}
	if len(in) > sources.MaxGroups {
		c.ignore(in[0].Line, field, "are ignored: there are more than %d", sources.MaxGroups)
		return nil
	}
	var out []string
	for i, t := range in {
		switch {
		case t.Value == "":
			c.ignore(t.Line, item(field, i), "empty group ignored")
		case len(t.Value) > sources.MaxNameBytes:
			c.ignore(t.Line, item(field, i), "group ignored: it has more than %d bytes", sources.MaxNameBytes)
		case !slices.Contains(out, t.Value):
			out = append(out, t.Value)
		}
	}
	return out
}

func (c *converter) readDomains(count *sources.DomainCount, field string, in []text) []string {
	read, wrong := count.Add(len(in))
	if wrong != "" {
		c.ignore(in[0].Line, field, "%s", wrong)
	}
	in = in[:read]
	var out []string
	seen := make(map[string]bool, len(in))
	for i, t := range in {
		d, remark, err := hostname.Routed(t.Value)
		if remark != "" {
			c.remark(problem.Problem{Subject: item(field, i), Domain: d, Severity: problem.Advice}, t.Line, "%s", remark)
		}
		switch {
		case err != nil:
			host, _, _ := hostname.Bare(t.Value)
			c.remark(problem.Problem{Subject: item(field, i), Domain: strings.ToLower(host), Severity: problem.Failing}, t.Line, "domain ignored: %v", err)
			if len(c.unrouted) < sources.MaxUnrouted {
				c.unrouted = append(c.unrouted, sources.Unrouted{Domain: sources.Clip(strings.ToLower(host)), Reason: fmt.Sprintf("%s%s: it is refused: %v", place{c.file, t.Line}, item(field, i), err)})
			}
		case !seen[d]:
			seen[d] = true
			out = append(out, d)
		}
	}
	return out
}

func (c *converter) endpoints(field string, in []endpointSpec) []sources.Endpoint {
	if left := sources.MaxEndpoints - c.endpointCount; len(in) > left {
		c.ignore(in[left].Address.Line, item(field, left), "endpoints from here on are ignored: the app has more than %d", sources.MaxEndpoints)
		in = in[:left]
	}
	c.endpointCount += len(in)
	var out []sources.Endpoint
	seen := map[netip.AddrPort]bool{}
	for i, spec := range in {
		addr, err := parseAddress(spec.Address.Value)
		if err != nil {
			c.ignore(cmp.Or(spec.Address.Line, spec.Health.Line), item(field, i)+".address", "endpoint ignored: %v", err)
			continue
		}
		health, err := parseHealth(spec.Health.Value)
		if err != nil {
			c.ignore(spec.Health.Line, item(field, i)+".health", "endpoint %s ignored: %v", addr, err)
			continue
		}
		if seen[addr] {
			c.ignore(spec.Address.Line, item(field, i)+".address", "%s is in the list already; the first entry counts", addr)
			continue
		}
		seen[addr] = true
		out = append(out, sources.Endpoint{Address: addr, Health: health, Task: addr.String(), Region: c.name(item(field, i)+".region", spec.Region), Zone: c.name(item(field, i)+".zone", spec.Zone)})
	}
	slices.SortFunc(out, func(a, b sources.Endpoint) int { return cmp.Compare(a.Task, b.Task) })
	return out
}

func item(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

func parseAddress(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPort{}, errors.New("it has no address")
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return ap, fmt.Errorf("%.80q is not IP:port, such as 10.0.0.7:31044 or \"[::1]:80\" (host names are not looked up)", s)
	}
	addr := ap.Addr().Unmap()
	switch {
	case ap.Port() == 0:
		return ap, fmt.Errorf("%.80q has port 0", s)
	case addr.Zone() != "":
		return ap, fmt.Errorf("%.80q has an IPv6 zone, which means nothing on another machine", s)
	case addr.IsUnspecified(), addr.IsMulticast():
		return ap, fmt.Errorf("%.80q is not the address of one machine", s)
	}
	return netip.AddrPortFrom(addr, ap.Port()), nil
}

func parseHealth(s string) (sources.Health, error) {
	for _, h := range []sources.Health{sources.Healthy, sources.Degraded, sources.Draining} {
		if s == "" || s == h.String() {
			return h, nil
		}
	}
	return 0, fmt.Errorf("health %.40q is not one of healthy, degraded, draining", s)
}
