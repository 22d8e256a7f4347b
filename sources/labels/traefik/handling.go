package traefik

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"relay/internal/problem"
	"relay/internal/secret"
	"relay/sources"
	"relay/sources/labels"
)

// handling is what becomes of the requests of a router, as its middlewares and its service ask for.
type handling struct {
	r *reader
	// settings are values of Relay's own labels, by their names, and keys the labels of Traefik that they come from.
	settings, keys map[string]string
	// edits are changes to what the settings come to.
	edits           []func(port *sources.Port)
	redirectToHTTPS bool
	// restricts is set if clients are kept out, and closed if all are, as that is not possible.
	restricts, closed bool
	request, response headerLines
	// hosts are the only ones that are let in, if there are some, as the label hostsKey says.
	hosts    []string
	hostsKey string
	path     pathChange
	// asks is the label of a middleware that has somebody decide about requests whom Relay does not know: it is
	// closed, unless one of Relay's own labels names an app.
	asks string
	// passwords and forwards are set once there is a middleware of this kind: Relay asks for one.
	passwords, forwards bool
}

// headerLines are changes to headers.
type headerLines struct {
	add    []string // "Name: value"
	remove []string
	key    string
}

func (h *handling) set(name, value, key string) {
	h.settings[name], h.keys[name] = value, key
}

// close answers all requests 403.
func (h *handling) close(key, why string) {
	if !h.closed {
		h.r.problems.AddFailing(key, "%s: every request is answered 403, because clients would get in otherwise", why)
	}
	h.restricts, h.closed = true, true
}

func (h *handling) note(key, format string, args ...any) {
	h.r.problems.AddTo(problem.Problem{Subject: key, Severity: problem.Advice}, format, args...)
}

func (h *handling) problem(key, format string, args ...any) { h.r.problems.Add(key, format, args...) }

// maxMiddlewares is how many middlewares a router has, those in chains included.
const maxMiddlewares = 50

// handlingOf reads the middlewares of a router.
func (r *reader) handlingOf(one router) handling {
	h := handling{r: r, settings: make(map[string]string), keys: make(map[string]string)}
	seen := 0
	names, ok := r.chain(one.kind, r.config.list(one.at("middlewares")), 0, &seen)
	if !ok {
		h.close(r.config.key(one.at("middlewares")), fmt.Sprintf("has more than %d middlewares, or a chain of chains without end", maxMiddlewares))
		return h
	}
	for _, named := range names {
		name, provider, _ := strings.Cut(strings.ToLower(named), "@")
		at := one.kind + ".middlewares." + name
		types := r.config.names(at)
		if len(types) == 0 {
			if _, bare := r.config.values[at]; !bare {
				if provider == "" || provider == "marathon" {
					h.close(r.config.key(one.at("middlewares")), fmt.Sprintf("names the middleware %.60q, which this app does not have: Relay reads those of the app's own labels", named))
				} else {
					h.close(r.config.key(one.at("middlewares")), fmt.Sprintf("names the middleware %.60q, which is in no label", named))
				}
				continue
			}
		}
		for _, kind := range types {
			h.middleware(one.kind, kind, at+"."+kind)
		}
	}
	h.finishHeaders()
	h.finishPath()
	return h
}

// chain replaces chains by the middlewares in them. seen counts the chains too, as those may be empty.
func (r *reader) chain(kind string, names []string, depth int, seen *int) (all []string, ok bool) {
	for _, name := range names {
		if *seen++; *seen > 2*maxMiddlewares {
			return nil, false
		}
		own, _, _ := strings.Cut(strings.ToLower(name), "@")
		at := kind + ".middlewares." + own + ".chain"
		if !r.config.hasBelow(at + ".") {
			all = append(all, name)
		} else if depth < 5 {
			inner, ok := r.chain(kind, r.config.list(at+".middlewares"), depth+1, seen)
			if !ok {
				return nil, false
			}
			all = append(all, inner...)
		} else {
			return nil, false
		}
		if len(all) > maxMiddlewares {
			return nil, false
		}
	}
	return all, true
}

// middleware reads one middleware.
func (h *handling) middleware(kind, name, at string) {
	read, known := httpMiddlewares[name]
	if kind == "tcp" {
		read, known = tcpMiddlewares[name]
	}
	if !known {
		key := h.r.config.key(at)
		h.r.config.below(at)
		h.close(key, fmt.Sprintf("Relay does not know the middleware %.40q", name))
		return
	}
	read(h, at)
}

// httpMiddlewares are those of which Relay knows what they do.
var httpMiddlewares map[string]func(h *handling, at string)

var tcpMiddlewares = map[string]func(h *handling, at string){
	"ipwhitelist": (*handling).networks, "ipallowlist": (*handling).networks,
	"inflightconn": func(h *handling, at string) { h.number(at+".amount", "MAX_CONNECTIONS") },
}

func init() {
	httpMiddlewares = map[string]func(h *handling, at string){
		"basicauth": (*handling).basicAuth, "ipwhitelist": (*handling).networks, "ipallowlist": (*handling).networks,
		"forwardauth": (*handling).forwardAuth,
		"digestauth":  func(h *handling, at string) { h.refuse(at, "Envoy does not know digest authentication") },
		"headers":     (*handling).headers, "redirectscheme": (*handling).redirectScheme, "redirectregex": (*handling).redirectRegex,
		"stripprefix": (*handling).stripPrefix, "stripprefixregex": (*handling).stripPrefixRegex, "addprefix": (*handling).addPrefix,
		"replacepath": (*handling).replacePath, "replacepathregex": (*handling).replacePathRegex,
		"ratelimit": (*handling).rateLimit, "inflightreq": (*handling).inFlight, "retry": (*handling).retry, "buffering": (*handling).buffering,
		"compress": (*handling).compress,
		"errors": func(h *handling, at string) {
			h.leaveOut(at, "pages of another service for errors cannot be had, as older Envoys reject that: Relay has error pages of a fleet")
		},
		"circuitbreaker": func(h *handling, at string) {
			h.leaveOut(at, "Envoy cannot answer everybody 503 because of some failures: RELAY_{n}_OUTLIER_DETECTION leaves out single instances that fail")
		},
		"contenttype": func(h *handling, at string) { h.r.config.below(at) }, // Envoy never guesses
		"passtlsclientcert": func(h *handling, at string) {
			h.leaveOut(at, "certificates of clients are passed on by an option of the fleet")
		},
	}
}

// compress has answers compressed, unless it is false.
func (h *handling) compress(at string) {
	value, given := h.r.config.take(at)
	h.r.config.below(at) // which types, and from which size on, is Relay's choice
	if truth, known := parseBool(value); !given || truth || !known {
		h.set("COMPRESS", "true", h.r.config.key(at))
	}
}

// refuse closes the port for a middleware that restricts, and cannot be had.
func (h *handling) refuse(at, why string) {
	h.r.config.below(at)
	h.close(h.r.config.key(at), why)
}

// leaveOut goes on without a middleware that cannot be had.
func (h *handling) leaveOut(at, why string) {
	h.r.config.below(at)
	h.problem(h.r.config.key(at), "has no effect: %s", why)
}

// number sets a setting to a number.
func (h *handling) number(at, setting string) {
	key := h.r.config.key(at)
	value, ok := h.r.config.take(at)
	n, err := parseNumber(value)
	if !ok || err != nil || n == 0 {
		h.problem(key, "has no effect: %.40q is no number above 0", value)
		return
	}
	h.set(setting, value, key)
}

// finishHeaders sets the headers of all middlewares together.
func (h *handling) finishHeaders() {
	for _, one := range []struct {
		name  string
		lines headerLines
	}{{"REQUEST_HEADERS", h.request}, {"RESPONSE_HEADERS", h.response}} {
		if len(one.lines.add) > 0 {
			h.set(one.name+"_TO_ADD", strings.Join(one.lines.add, "\n"), one.lines.key)
		}
		if len(one.lines.remove) > 0 {
			h.set(one.name+"_TO_REMOVE", strings.Join(one.lines.remove, ","), one.lines.key)
		}
	}
}

// portFor returns the port of a route, with the settings of the declared port's own labels, which count for more, and
// those of the middlewares. The subjects of problems are names of settings.
func (r *reader) portFor(index int, h handling, to route, scheme string) (sources.Port, []problem.Problem) {
	s := r.said.Settings(index)
	for _, name := range sorted(h.settings) {
		if s.Given(name) {
			r.problems.AddTo(problem.Problem{Subject: h.keys[name], Severity: problem.Advice}, "does not count: a label of Relay or marathon-lb says %s", name)
		} else {
			s.Set(name, h.settings[name])
		}
	}
	if h.asks != "" && !s.Given("AUTH_APP") {
		h.close(h.asks, "Relay cannot ask this address about requests: RELAY_{n}_AUTH_APP names an app that decides")
	}
	declared := r.said.Ports[index]
	port := sources.Port{Queue: declared.Queue, UsedBy: declared.UsedBy, Probe: declared.Probe, RedirectToHTTPS: declared.RedirectToHTTPS}
	port.TCP = s.TCP(r.app.Ports[index].ServicePort, true)
	var problems []problem.Problem
	port.HTTP, port.Upstream, problems = s.Finish()
	own := sources.HTTP{}
	if port.HTTP != nil {
		own = *port.HTTP
	}
	own.Paths, own.Match = to.paths, withScheme(to.match, scheme)
	port.HTTP = &own
	for _, edit := range h.edits {
		edit(&port)
	}
	if to.limited {
		allowed(&own, to.networks)
	}
	own.Closed = own.Closed || h.closed
	return port, problems
}

func withScheme(match []sources.Match, scheme string) []sources.Match {
	if scheme == "" {
		return match
	}
	if len(match) == 0 {
		return []sources.Match{{Scheme: scheme}}
	}
	match = slices.Clone(match)
	for i := range match {
		match[i].Scheme = scheme
	}
	return match
}

// basicAuth asks for a password.
func (h *handling) basicAuth(at string) {
	h.restricts = true
	key := h.r.config.key(at)
	if h.passwords {
		h.close(key, "is the second middleware of the router that asks for a password: Relay asks for one")
	}
	h.passwords = true
	for _, field := range []string{"usersfile", "headerfield", "removeheader"} {
		value, ok := h.r.config.take(at + "." + field)
		switch {
		case !ok || value == "":
		case field == "usersfile":
			h.close(key, "names a file of users, which Relay does not read")
		case field == "headerfield":
			h.close(key, "wants the user in a header, which Relay does not send")
		case h.r.config.flag(at + "." + field):
			h.set("REQUEST_HEADERS_TO_REMOVE", "authorization", key)
		}
	}
	var users []sources.User
	for _, user := range h.r.config.list(at + ".users") {
		name, hash, ok := strings.Cut(user, ":")
		if !ok {
			h.close(key, "has a user without a hash")
			return
		}
		users = append(users, sources.User{Name: name, Hash: secret.String(hash)})
	}
	realm, _ := h.r.config.take(at + ".realm")
	if realm == "" {
		realm = "traefik"
	}
	auth, reason := sources.NewBasicAuth(realm, users)
	if reason != "" {
		h.close(key, reason)
		return
	}
	h.edits = append(h.edits, func(p *sources.Port) {
		if p.HTTP.BasicAuth == nil {
			p.HTTP.BasicAuth = auth
		}
	})
}

// networks let in clients of some networks only.
func (h *handling) networks(at string) {
	h.restricts = true
	key := h.r.config.key(at)
	if found := h.r.config.below(at + ".ipstrategy"); len(found) > 0 {
		h.note(key, "lets in by the address that the fleet's trusted proxies say, or by that of the connection: ipStrategy does not count")
	}
	ranges := h.r.config.list(at + ".sourcerange")
	networks, err := parseNetworks(ranges)
	switch {
	case err != nil:
		h.close(key, err.Error())
	case len(networks) == 0 || len(networks) > labels.MaxNetworks:
		h.close(key, errors.New("names no network, or too many").Error())
	default:
		h.edits = append(h.edits, func(p *sources.Port) { allowed(p.HTTP, networks) })
	}
}
