package labels

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"relay/sources"
)

// TCP services.
var tcpLabels = []Label{
	{Key: "HAPROXY_{n}_MODE", Field: "mode", setting: (*Settings).mode,
		meaning:   "`http` or `tcp`",
		byDefault: "`http` with a domain or a health check of the port by `HTTP` or `MESOS_HTTP`, else `tcp`; `tcp` with `TLS_PASSTHROUGH`, `TLS_TERMINATE` or `PROTOCOL`",
		envoy:     "scope, or `tcp_proxy`", example: "tcp"},
	{Key: "HAPROXY_{n}_PORT", Field: "servicePort", tcpOnly: true, setting: (*Settings).listenPort, tooLong: (*Settings).noService,
		meaning:   "the port that Envoy opens",
		byDefault: "the service port: `portDefinitions[].port`, or with bridge and container networks `portMappings[].servicePort`",
		envoy:     "listener `tcp/<port>`", example: "5432"},
	{Key: "HAPROXY_{n}_BIND_ADDR", Field: "bindAddress", tcpOnly: true, setting: (*Settings).bindAddress, tooLong: (*Settings).noService,
		meaning:   "the IP address that Envoy binds; `*` is the default",
		byDefault: "that of the fleet's `http`", envoy: "`address`", example: "10.0.0.5"},
	{Key: "HAPROXY_{n}_BIND_OPTIONS", Field: "bindOptions", tcpOnly: true, setting: (*Settings).bindOptions,
		tooLong:   func(s *Settings) string { s.tcp.unusable = true; return notOpened },
		meaning:   "`accept-proxy`: connections begin with the PROXY protocol's header, which names the client. Other words are not supported",
		byDefault: "none", envoy: "`proxy_protocol`", example: "accept-proxy"},
	{Key: "RELAY_{n}_TLS_PASSTHROUGH", Field: "tlsPassthrough", tcpOnly: true, setting: func(s *Settings, v string) { s.tcp.passthrough = s.flag(v, false) },
		meaning: "the https listener passes connections whose TLS asks for one of the port's `VHOST` on without decrypting them. " +
			"Only `PORT` opens a port as well",
		byDefault: "`false`", envoy: "filter chain with `server_names`", example: "true"},
}

const notOpened = "the service is not opened"

// noService opens nothing, as it is not known where.
func (s *Settings) noService() string {
	s.tcp.named, s.tcp.unusable = true, true
	return notOpened
}

// tcpSettings say how a port is served by TCP.
type tcpSettings struct {
	mode        string // "" when none is given
	port        uint16
	address     netip.Addr
	acceptProxy bool
	passthrough bool
	// named tells that a port or address was given, well or badly; unusable,
	// that it was badly.
	named, unusable bool
	// connections tells that something was said of connections that stay.
	connections bool
	maxAge      time.Duration
	rebalance   float64 // percent a minute
	// acceptRate and addressRate are new connections a second.
	acceptRate, addressRate float64
	hold                    time.Duration
}

func (s *Settings) mode(value string) {
	switch mode := strings.ToLower(strings.TrimSpace(value)); mode {
	case "", "http", "tcp":
		s.tcp.mode = mode
	default:
		s.problem("%.40q is ignored: write http or tcp", value)
	}
}

// listenPort and bindAddress never fall back to a default: the service would be
// open where nobody wanted it.
func (s *Settings) listenPort(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	s.tcp.named = true
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n == 0 {
		s.tcp.unusable = true
		s.failing("%.40q is not a port: the service is not opened", value)
		return
	}
	s.tcp.port = uint16(n)
}

func (s *Settings) bindAddress(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	s.tcp.named = true
	if value == "*" {
		return
	}
	address, err := netip.ParseAddr(strings.Trim(value, "[]"))
	if err != nil || address.Zone() != "" {
		s.tcp.unusable = true
		s.failing("%.40q is not an IP address: the service is not opened", value)
		return
	}
	s.tcp.address = address.Unmap()
}

func (s *Settings) bindOptions(value string) {
	for _, word := range strings.Fields(value) {
		if word == "accept-proxy" {
			s.tcp.acceptProxy = true
			continue
		}
		s.problem("%.40q is not supported and has no effect: of HAProxy's options only accept-proxy is", word)
	}
}

// TCP settles whether the port is served by TCP; nil is by HTTP. servicePort is
// the port for that when no other is given, 0 if there is none; http tells that
// the port is served by HTTP unless a setting says otherwise. It must be called
// before Finish, at most once.
func (s *Settings) TCP(servicePort uint16, http bool) *sources.TCP {
	given := s.tcp
	if given.mode == "http" || given.mode == "" && http && !given.passthrough && !s.serviceTLS.terminate && !s.redis.speaks {
		s.settleServiceTLS(false)
		s.settleRedis(nil)
		s.reportGiven(known.tcpOnly, "is not supported and has no effect in http mode: the listeners belong to all apps of the fleet")
		return nil
	}
	tcp := &sources.TCP{Address: given.address, AcceptProxy: given.acceptProxy, Passthrough: given.passthrough}
	tcp.ServiceTLS = s.settleServiceTLS(true)
	if tcp.ServiceTLS != nil && tcp.Passthrough {
		tcp.Passthrough = false
		s.problemOn("TLS_PASSTHROUGH", "has no effect with TLS_TERMINATE: Envoy ends the TLS")
	}
	tcp.Redis = s.settleRedis(tcp)
	given = s.tcp
	tcp.Implicit = given.mode == "" && !given.named && !given.passthrough && !given.connections && tcp.ServiceTLS == nil && tcp.Redis == nil
	s.isTCP = !tcp.Implicit
	switch {
	case given.unusable:
	case given.port != 0:
		tcp.Port = given.port
	case !tcp.Passthrough:
		tcp.Port = servicePort
	}
	if tcp.Implicit {
		if tcp.Port == 0 {
			return nil
		}
		return tcp
	}
	if tcp.Port == 0 && !tcp.Passthrough && !given.unusable {
		name := "MODE"
		switch {
		case tcp.ServiceTLS != nil:
			name = "TLS_TERMINATE"
		case tcp.Redis != nil:
			name = "PROTOCOL"
		}
		s.problemOn(name, "has no effect: the app has no service port; say which one by PORT")
	}
	if given.acceptProxy && tcp.Passthrough && tcp.Port == 0 {
		s.problemOn("BIND_OPTIONS", "has no effect: the https listener belongs to all apps of the fleet")
	}
	s.reportGiven(known.httpOnly, "has no effect in tcp mode")
	s.onlyBySource()
	tcp.MaxConnectionAge, tcp.Rebalance = given.maxAge, s.finishRebalance()
	tcp.AcceptRate, tcp.AddressRate, tcp.Hold = given.acceptRate, given.addressRate, given.hold
	return tcp
}

// reportGiven reports those of the settings that were given.
func (s *Settings) reportGiven(settings []*Label, reason string) {
	for _, l := range settings {
		if s.given[l.name] {
			s.problemOn(l.name, "%s", reason)
		}
	}
}

// onlyBySource drops hashes of what only requests have.
func (s *Settings) onlyBySource() {
	for _, h := range []struct {
		name string
		hash **sources.Hash
	}{{"BALANCE", &s.http.Hash}, {"HASH_POLICY", &s.hashPolicy}} {
		if *h.hash != nil && (*h.hash).By != sources.HashSourceIP {
			*h.hash = nil
			s.problemOn(h.name, "hashes requests, which a TCP service does not have: the default is used")
		}
	}
}
