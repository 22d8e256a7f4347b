package traefik

import (
	"strings"

	"relay/sources"
)

// maxServerWeight is the largest weight of a server: 100 instances with it come to the largest share.
const maxServerWeight = 100

// backend is what apps say in the labels of Traefik 1 to be servers of one backend.
type backend struct {
	name   string
	weight uint32
}

// serveTogether has a router share requests with those of other apps that lead to a service of the same name: Traefik
// takes the servers of all for one service.
func (r *reader) serveTogether(one router, h *handling) {
	name, weight := one.service, uint32(1)
	if r.backends != nil {
		of := r.backends[one.service]
		name, weight = of.name, of.weight
	}
	if name = sources.BoundedName(name); name == "" || one.kind != "http" {
		return
	}
	h.edits = append(h.edits, func(p *sources.Port) {
		if p.HTTP.ClusterWeight == nil { // of Relay's own label, which counts for more
			p.HTTP.Service, p.HTTP.ClusterWeight = name, &weight
		}
	})
}

// hostOfInstance has instances get their own address as the host.
func hostOfInstance(p *sources.Port) {
	shaping := sources.Shaping{}
	if p.HTTP.Shaping != nil {
		shaping = *p.HTTP.Shaping
	}
	shaping.HostOfInstance = true
	p.HTTP.Shaping = &shaping
}

// serviceOf reads the service of a router. It returns the port that it names.
func (r *reader) serviceOf(one router, h *handling) (port string) {
	at := one.kind + ".services." + one.service + ".loadbalancer"
	if one.service == "" {
		return ""
	}
	key := r.config.key(at)
	port, _ = r.config.take(at + ".server.port")
	if scheme, ok := r.config.take(at + ".server.scheme"); ok {
		switch strings.ToLower(scheme) {
		case "http", "":
		case "https":
			h.set("TLS", "true", r.config.key(at+".server.scheme"))
		case "h2c":
			h.set("HTTP2", "true", r.config.key(at+".server.scheme"))
		default:
			h.problem(r.config.key(at+".server.scheme"), "%.40q is ignored: Relay knows http, https and h2c", scheme)
		}
	}
	if r.sticky(at + ".sticky") {
		h.set("STICKY", "true", r.config.key(at+".sticky"))
	}
	if value, ok := r.config.take(at + ".passhostheader"); ok {
		switch pass, known := parseBool(value); {
		case !known:
			h.problem(r.config.key(at+".passhostheader"), "%.40q is ignored, so instances get the client's host: write true or false", value)
		case !pass:
			h.edits = append(h.edits, hostOfInstance)
		}
	}
	if len(r.config.below(at+".healthcheck")) > 0 {
		h.note(r.config.key(at+".healthcheck"), "has no effect: the health checks of the app's definition count")
	}
	if _, ok := r.config.take(at + ".serverstransport"); ok {
		h.note(r.config.key(at+".serverstransport"), "has no effect: how instances are reached is in RELAY_{n}_TLS_VERIFY and its like")
	}
	r.config.below(at + ".responseforwarding")
	if value, ok := r.config.take(at + ".proxyprotocol.version"); ok && value != "" {
		h.set("PROXY_PROTOCOL", "v"+value, r.config.key(at+".proxyprotocol.version"))
	}
	r.config.take(at + ".terminationdelay")
	r.serveTogether(one, h)
	for _, other := range []string{"weighted", "mirroring", "failover"} {
		if found := r.config.below(one.kind + ".services." + one.service + "." + other); len(found) > 0 {
			h.problem(key, "has no effect: services of other services are in no label of Traefik")
		}
	}
	return port
}

// sticky reports whether clients stay with their instance. Names of cookies do not count: Relay has one for each port.
func (r *reader) sticky(at string) bool {
	value, given := r.config.take(at + ".cookie")
	truth, known := parseBool(value)
	fields := r.config.below(at + ".cookie")
	return len(fields) > 0 || given && (!known || truth)
}
