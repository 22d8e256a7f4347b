package setting

import (
	"net/netip"
	"strconv"
	"strings"

	"relay/sources"
)

// service is what says how a port is served by TCP.
type service struct {
	mode        string // "" when none is given
	port        uint16
	address     netip.Addr
	acceptProxy bool
	passthrough bool
	// named tells that a port or address was given, well or badly; unusable,
	// that it was badly.
	named, unusable bool
}

func (p *Port) mode(value string) {
	switch mode := strings.ToLower(strings.TrimSpace(value)); mode {
	case "", "http", "tcp":
		p.service.mode = mode
	default:
		p.problem("%.40q is ignored: write http or tcp", value)
	}
}

// listenPort and bindAddress never fall back to a default: the service would be
// open where nobody wanted it.
func (p *Port) listenPort(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	p.service.named = true
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n == 0 {
		p.service.unusable = true
		p.problem("%.40q is not a port: the service is not opened", value)
		return
	}
	p.service.port = uint16(n)
}

func (p *Port) bindAddress(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	p.service.named = true
	if value == "*" {
		return
	}
	address, err := netip.ParseAddr(strings.Trim(value, "[]"))
	if err != nil || address.Zone() != "" {
		p.service.unusable = true
		p.problem("%.40q is not an IP address: the service is not opened", value)
		return
	}
	p.service.address = address.Unmap()
}

func (p *Port) bindOptions(value string) {
	for _, word := range strings.Fields(value) {
		if word == "accept-proxy" {
			p.service.acceptProxy = true
			continue
		}
		p.problem("%.40q is not supported and has no effect: of HAProxy's options only accept-proxy is", word)
	}
}

// httpOnly are the settings without a meaning for TCP services.
var httpOnly = []string{
	"BACKEND_WEIGHT", "CLUSTER_WEIGHT", "HTTP2", "HTTP_BACKEND_PROXYPASS_PATH", "HTTP_BACKEND_REDIR", "HTTP_BACKEND_REVPROXY_PATH",
	"MAX_REQUESTS", "PATH", "REQUEST_HEADERS_TO_ADD", "REQUEST_HEADERS_TO_REMOVE", "RESPONSE_HEADERS_TO_ADD",
	"RESPONSE_HEADERS_TO_REMOVE", "RETRY_ON", "STICKY", "TIMEOUT", "USE_HSTS",
}

// TCP settles whether the port is served by TCP; nil is by HTTP. servicePort is
// the port for that when no other is given, 0 if there is none; http tells that
// the port is served by HTTP unless a setting says otherwise. It must be called
// before Finish, at most once.
func (p *Port) TCP(servicePort uint16, http bool) *sources.TCP {
	s := p.service
	if s.mode == "http" || s.mode == "" && http && !s.passthrough {
		p.without([]string{"BIND_ADDR", "BIND_OPTIONS", "PORT", "TLS_PASSTHROUGH"},
			"is not supported and has no effect in http mode: the listeners belong to all apps of the fleet")
		return nil
	}
	tcp := &sources.TCP{Address: s.address, AcceptProxy: s.acceptProxy, Passthrough: s.passthrough}
	tcp.Implicit = s.mode == "" && !s.named && !s.passthrough
	switch {
	case s.unusable:
	case s.port != 0:
		tcp.Port = s.port
	case !s.passthrough:
		tcp.Port = servicePort
	}
	if tcp.Implicit {
		if tcp.Port == 0 {
			return nil
		}
		return tcp
	}
	if tcp.Port == 0 && !s.passthrough && !s.unusable {
		p.name = "MODE"
		p.problem("has no effect: the app has no service port; say which one by PORT")
	}
	if s.acceptProxy && s.passthrough && tcp.Port == 0 {
		p.name = "BIND_OPTIONS"
		p.problem("has no effect: the https listener belongs to all apps of the fleet")
	}
	p.without(httpOnly, "has no effect in tcp mode")
	p.onlyBySource()
	return tcp
}

// without reports the settings that were given for nothing.
func (p *Port) without(names []string, reason string) {
	for _, name := range names {
		if p.given[name] {
			p.name = name
			p.problem("%s", reason)
		}
	}
}

// onlyBySource drops hashes of what only requests have.
func (p *Port) onlyBySource() {
	for _, h := range []struct {
		name string
		hash **sources.Hash
	}{{"BALANCE", &p.http.Hash}, {"HASH_POLICY", &p.hashPolicy}} {
		if *h.hash != nil && (*h.hash).By != sources.HashSourceIP {
			*h.hash = nil
			p.name = h.name
			p.problem("hashes requests, which a TCP service does not have: the default is used")
		}
	}
}
