package traefik

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relay/internal/problem"
)

// segmented matches the labels of Traefik 1 that are for one of several services of an app, in lower case.
var segmented = regexp.MustCompile(`^([^.]+)\.((?:port|portindex|portname|weight|protocol|backend|frontend\..+))$`)

// isV1 reports whether a label is one of Traefik 1 that says something of routing.
func isV1(name string) bool {
	for _, start := range []string{"frontend.", "backend.", "domain"} {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	return slices.Contains([]string{"port", "portindex", "portname", "protocol", "weight", "backend", "tags"}, name) || segmented.MatchString(name)
}

// fromV1 says in the way of Traefik 2 what labels of Traefik 1 say: each segment is a router and a service.
func (r *reader) fromV1(c config) config {
	out := config{values: make(map[string]string), keys: make(map[string]string), read: make(map[string]bool)}
	r.backends = make(map[string]backend)
	for name, value := range c.values {
		c.values[name] = unescaped(value)
	}
	segments := make(map[string]map[string]string) // to the name of the label
	common := make(map[string]string)
	for _, name := range sorted(c.values) {
		if strings.HasPrefix(name, "marathon.") || name == "enable" || name == "tags" || name == "domain" {
			continue
		}
		if strings.HasPrefix(name, "frontend.") || strings.HasPrefix(name, "backend") || !segmented.MatchString(name) {
			common[name] = name
			continue
		}
		m := segmented.FindStringSubmatch(name)
		if segments[m[1]] == nil {
			segments[m[1]] = make(map[string]string)
		}
		segments[m[1]][m[2]] = name
	}
	if len(segments) == 0 {
		segments[serviceName(r.app.ID)] = map[string]string{}
	}
	for _, segment := range sorted(segments) {
		for field, name := range common {
			if _, own := segments[segment][field]; !own {
				segments[segment][field] = name
			}
		}
		v := v1{r: r, from: c, to: out, segment: segment, fields: segments[segment]}
		v.convert()
	}
	return out
}

// unescaped returns a label of Traefik 1 as it is understood there: Traefik writes it between quotes into its
// configuration, where a backslash has to be doubled. What Traefik would refuse is taken as it is.
func unescaped(value string) string {
	if !strings.ContainsRune(value, '\\') {
		return value
	}
	if text, err := strconv.Unquote(`"` + value + `"`); err == nil {
		return text
	}
	return value
}

// v1 converts the labels of one segment.
type v1 struct {
	r       *reader
	from    config
	to      config
	segment string
	fields  map[string]string
	chain   []string
}

// get returns a label of the segment, and what it is called.
func (v *v1) get(field string) (value, name string, ok bool) {
	name, ok = v.fields[field]
	return v.from.values[name], name, ok && v.from.values[name] != ""
}

// put sets a label of Traefik 2, which comes from one of Traefik 1.
func (v *v1) put(name, value, from string) {
	v.to.values[name], v.to.keys[name] = value, v.from.key(from)
	v.from.read[from] = true
}

// move copies a label.
func (v *v1) move(field, to string) bool {
	value, name, ok := v.get(field)
	if ok {
		v.put(to, value, name)
	}
	return ok
}

// middleware returns the name of a new middleware of the router.
func (v *v1) middleware(kind string) string {
	name := v.segment + "-" + kind
	if !slices.Contains(v.chain, name) {
		v.chain = append(v.chain, name)
	}
	return "http.middlewares." + name + "." + kind
}

func (v *v1) convert() {
	router, service := "http.routers."+v.segment, "http.services."+v.segment+".loadbalancer"
	v.put(router+".service", v.segment, "frontend.rule")
	v.rule(router)
	v.move("frontend.priority", router+".priority")
	v.move("frontend.entrypoints", router+".entrypoints")
	switch {
	case v.move("port", service+".server.port"):
	case v.move("portname", service+".server.port"):
		v.to.values[service+".server.port"] = "name:" + v.to.values[service+".server.port"]
	case v.move("portindex", service+".server.port"):
		v.to.values[service+".server.port"] = "index:" + v.to.values[service+".server.port"]
	default:
		v.put(service+".server.port", "", "port")
	}
	v.move("protocol", service+".server.scheme")
	v.move("frontend.passhostheader", service+".passhostheader")
	if !v.move("backend.loadbalancer.stickiness", service+".sticky.cookie") {
		v.move("backend.loadbalancer.sticky", service+".sticky.cookie")
	}
	v.move("backend.loadbalancer.stickiness.cookiename", service+".sticky.cookie.name")
	v.move("backend.healthcheck.path", service+".healthcheck.path")
	v.backend()
	v.access()
	v.requests()
	if len(v.chain) > 0 {
		v.put(router+".middlewares", strings.Join(v.chain, ","), "frontend.rule")
	}
	v.unsupported()
}

// backend notes with which apps requests are shared.
func (v *v1) backend() {
	named, name, ok := v.get("backend")
	v.from.read[name] = true // also if it is empty, which is none
	if !ok {
		return
	}
	of := backend{name: named, weight: 1}
	if value, label, ok := v.get("weight"); ok {
		v.from.read[label] = true
		n, err := parseNumber(value)
		switch {
		case err != nil:
			v.r.problems.Add(v.from.key(label), "%.40q is ignored: write a whole number", value)
		case n > maxServerWeight:
			v.r.problems.Add(v.from.key(label), "counts as %d, which is the most", maxServerWeight)
			of.weight = maxServerWeight
		case n > 0: // Traefik takes 0 for 1
			of.weight = uint32(n)
		}
	}
	v.r.backends[v.segment] = of
}

// access converts what keeps clients out.
func (v *v1) access() {
	for _, field := range []string{"frontend.auth.basic", "frontend.auth.basic.users", "frontend.auth.basic.usersfile", "frontend.auth.basic.removeheader"} {
		if value, name, ok := v.get(field); ok {
			to := strings.TrimPrefix(strings.TrimPrefix(field, "frontend.auth.basic"), ".")
			if to == "" {
				to = "users"
			}
			v.put(v.middleware("basicauth")+"."+to, value, name)
		}
	}
	if value, name, ok := v.get("frontend.auth.headerfield"); ok && slices.Contains(v.chain, v.segment+"-basicauth") {
		v.put(v.middleware("basicauth")+".headerfield", value, name)
	}
	for field, name := range v.fields {
		if rest, ok := strings.CutPrefix(field, "frontend.auth.digest"); ok {
			v.put(v.middleware("digestauth")+"."+strings.TrimPrefix(rest, "."), v.from.values[name], name)
		}
		if rest, ok := strings.CutPrefix(field, "frontend.auth.forward."); ok {
			v.put(v.middleware("forwardauth")+"."+rest, v.from.values[name], name)
		}
	}
	for _, field := range []string{"frontend.whitelistsourcerange", "frontend.whitelist.sourcerange"} {
		if value, name, ok := v.get(field); ok {
			v.put(v.middleware("ipwhitelist")+".sourcerange", value, name)
		}
	}
	if value, name, ok := v.get("frontend.whitelist.usexforwardedfor"); ok {
		v.put(v.middleware("ipwhitelist")+".ipstrategy.depth", value, name)
	}
	slices.Sort(v.chain)
}

// requests converts what changes requests and answers.
func (v *v1) requests() {
	for field, name := range v.fields {
		header, ok := strings.CutPrefix(field, "frontend.headers.")
		if !ok {
			continue
		}
		at, value := v.middleware("headers"), v.from.values[name]
		if header != "customrequestheaders" && header != "customresponseheaders" {
			v.put(at+"."+header, value, name)
			continue
		}
		v.from.read[name] = true
		for line := range strings.SplitSeq(value, "||") {
			if key, text, ok := strings.Cut(line, ":"); ok {
				v.put(at+"."+header+"."+strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(text), name)
			}
		}
	}
	if value, name, ok := v.get("frontend.redirect.entrypoint"); ok {
		if strings.EqualFold(value, "https") || v.r.EntryPoints[strings.ToLower(value)].Scheme == "https" {
			v.put(v.middleware("redirectscheme")+".scheme", "https", name)
			v.move("frontend.redirect.permanent", v.middleware("redirectscheme")+".permanent")
		} else {
			v.r.problems.Add(v.from.key(name), "has no effect: %.40q is no entry point for https", value)
		}
	}
	if value, name, ok := v.get("frontend.redirect.regex"); ok {
		v.put(v.middleware("redirectregex")+".regex", value, name)
		v.move("frontend.redirect.replacement", v.middleware("redirectregex")+".replacement")
		v.move("frontend.redirect.permanent", v.middleware("redirectregex")+".permanent")
	}
	if value, name, ok := v.get("backend.maxconn.amount"); ok {
		v.put(v.middleware("inflightreq")+".amount", value, name)
		v.move("backend.maxconn.extractorfunc", v.middleware("inflightreq")+".sourcecriterion.function")
	}
	v.rateLimits()
	v.move("backend.buffering.maxrequestbodybytes", "http.middlewares."+v.segment+"-buffering.buffering.maxrequestbodybytes")
	if _, _, ok := v.get("backend.buffering.maxrequestbodybytes"); ok {
		v.middleware("buffering")
	}
}

// rateSet matches a field of one of several limits.
var rateSet = regexp.MustCompile(`^frontend\.ratelimit\.rateset\.([^.]+)\.(average|burst|period)$`)

// rateLimits converts the first of the limits: Relay has one of a kind.
func (v *v1) rateLimits() {
	first := ""
	for _, field := range sorted(v.fields) {
		m := rateSet.FindStringSubmatch(field)
		if m == nil {
			continue
		}
		name := v.fields[field]
		if first == "" {
			first = m[1]
		}
		if m[1] != first {
			v.r.problems.Add(v.from.key(name), "has no effect: of several rate limits only the first counts")
			v.from.read[name] = true
			continue
		}
		v.put(v.middleware("ratelimit")+"."+m[2], v.from.values[name], name)
	}
	if value, name, ok := v.get("frontend.ratelimit.extractorfunc"); ok && first != "" {
		at := v.middleware("ratelimit") + ".sourcecriterion."
		switch function := strings.ToLower(value); {
		case function == "client.ip":
			v.from.read[name] = true
		case function == "request.host":
			v.put(at+"requesthost", "true", name)
		case strings.HasPrefix(function, "request.header."):
			v.put(at+"requestheadername", strings.TrimPrefix(function, "request.header."), name)
		default:
			v.r.problems.Add(v.from.key(name), "%.40q is ignored: each client is counted by its address", value)
		}
	}
}

// unsupported reports labels that have no effect.
func (v *v1) unsupported() {
	for _, field := range sorted(v.fields) {
		name := v.fields[field]
		if v.from.read[name] {
			continue
		}
		v.from.read[name] = true
		switch {
		case strings.HasPrefix(field, "frontend.passtlsc") || strings.HasPrefix(field, "frontend.passsslclientcert"):
			v.r.problems.Add(v.from.key(name), "has no effect: certificates of clients are passed on by an option of the fleet")
		case field == "weight":
			v.r.problems.AddTo(problem.Problem{Subject: v.from.key(name), Severity: problem.Advice}, "has no effect: it counts among apps that name the same traefik.backend")
		case field == "backend.loadbalancer.method", strings.HasPrefix(field, "backend.healthcheck."), field == "backend.id":
			// Envoy's own way, and the health checks of the app's definition.
		default:
			v.r.problems.Add(v.from.key(name), "has no effect: Relay does not know it")
		}
	}
}

// rule converts the rule. What changes paths in it becomes middlewares.
func (v *v1) rule(router string) {
	value, name, ok := v.get("frontend.rule")
	if !ok {
		if value, name = v.ownDomain(); value == "" {
			return
		}
	}
	rule, err := v.ruleOf(value, name)
	if err != nil {
		rule = "!" // which is none
		v.r.problems.AddFailing(v.from.key(name), "%s", err)
	}
	v.put(router+".rule", rule, name)
	if _, _, ok := v.get("frontend.priority"); !ok {
		v.put(router+".priority", strconv.Itoa(len(value)), name)
	}
}

// ownDomain is the rule of an app without one that says below which domain it is, and the label that says that.
func (v *v1) ownDomain() (rule, name string) {
	domain := v.from.values["domain"]
	if domain == "" {
		return "", ""
	}
	host := strings.ReplaceAll(strings.TrimPrefix(v.r.app.ID, "/"), "/", "-") + "." + domain
	if v.segment != serviceName(v.r.app.ID) {
		host = v.segment + "." + host
	}
	return "Host:" + strings.ToLower(host), "domain"
}

// v1Matchers are the matchers of rules of Traefik 1 with what they are called in Traefik 2, and the middleware that they
// have in them.
var v1Matchers = map[string]struct{ matcher, middleware, field string }{
	"host": {"Host", "", ""}, "hostregexp": {"HostRegexp", "", ""}, "path": {"Path", "", ""}, "pathprefix": {"PathPrefix", "", ""}, "method": {"Method", "", ""},
	"headers": {"Headers", "", ""}, "headersregexp": {"HeadersRegexp", "", ""}, "query": {"Query", "", ""},
	"pathstrip": {"Path", "stripprefix", "prefixes"}, "pathstripregex": {"Path", "stripprefixregex", "regex"},
	"pathprefixstrip": {"PathPrefix", "stripprefix", "prefixes"}, "pathprefixstripregex": {"PathPrefix", "stripprefixregex", "regex"},
	"addprefix": {"", "addprefix", "prefix"}, "replacepath": {"", "replacepath", "path"}, "replacepathregex": {"", "replacepathregex", "regex"},
}

func (v *v1) ruleOf(rule, name string) (string, error) {
	var parts []string
	for part := range strings.SplitSeq(rule, ";") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		function, text, ok := strings.Cut(part, ":")
		m, known := v1Matchers[strings.ToLower(strings.TrimSpace(function))]
		if !ok || !known {
			return "", fmt.Errorf("has %.40q, which Traefik 1 does not have: write it as Host:a.example.com;PathPrefix:/x", part)
		}
		var values, quoted []string
		for value := range strings.SplitSeq(text, ",") {
			if value = strings.TrimSpace(value); value != "" {
				values, quoted = append(values, value), append(quoted, strconv.Quote(value))
			}
		}
		if len(values) == 0 {
			return "", fmt.Errorf("has no value in %.40q", part)
		}
		if m.matcher != "" {
			parts = append(parts, m.matcher+"("+strings.Join(quoted, ", ")+")")
		}
		if m.middleware == "" {
			continue
		}
		at, value := v.middleware(m.middleware), strings.Join(values, ",")
		if m.middleware == "replacepathregex" {
			pattern, replacement, _ := strings.Cut(strings.TrimSpace(text), " ")
			v.put(at+".replacement", strings.TrimSpace(replacement), name)
			value = pattern
		}
		if m.middleware == "stripprefixregex" {
			t, err := parsePlaceholders(values[0], "[^/]+")
			if err != nil || len(values) > 1 {
				return "", errors.New("strips several patterns, or one that cannot be read")
			}
			value = t.expression
		}
		v.put(at+"."+m.field, value, name)
	}
	if len(parts) == 0 {
		return "", errors.New("matches nothing")
	}
	return strings.Join(parts, " && "), nil
}
