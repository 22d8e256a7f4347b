package labels

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Connections that wait while servers move, and what databases need of TLS.
var holdingLabels = []Label{
	{Key: "RELAY_{n}_HOLD", Field: "hold", tcpOnly: true, setting: (*Settings).hold,
		meaning: "how long new connections wait while there is no instance, `1s` to `5m`; then they are closed. " +
			"With TLS that Envoy ends, the client has to speak first",
		byDefault: "they are closed at once", envoy: "`ratelimit` of the network filters, `max_connect_attempts`", example: "30s"},
	{Key: "RELAY_{n}_TLS_ALPN", Field: "tlsAlpn", tcpOnly: true, setting: (*Settings).tlsALPN,
		meaning: "the protocols that Envoy agrees to in the TLS handshake, with spaces or commas between: clients of PostgreSQL ask for `postgresql`. " +
			"Needs `TLS_TERMINATE`",
		byDefault: "none is agreed to", envoy: "`alpn_protocols`", example: "postgresql"},
}

const shortestHold, longestHold = time.Second, 5 * time.Minute

func (s *Settings) hold(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	s.tcp.connections = true
	d, err := time.ParseDuration(value)
	if err != nil || d < shortestHold || d > longestHold {
		s.problem("%.40q is ignored, and connections are closed while there is no instance: write a duration from %s to %s, such as 30s",
			value, short(shortestHold), short(longestHold))
		return
	}
	s.tcp.hold = d
}

// maxALPN is how many protocols there may be.
const maxALPN = 8

// validALPN is what names of protocols look like: those that are registered do.
var validALPN = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9./_-]{0,31}$`)

func (s *Settings) tlsALPN(value string) {
	names := strings.FieldsFunc(value, isBetweenDomains)
	odd := slices.IndexFunc(names, func(name string) bool { return !validALPN.MatchString(name) })
	switch {
	case odd >= 0:
		s.problem("%.40q is no name of a protocol, and none is agreed to: write such as postgresql", names[odd])
	case len(names) > maxALPN:
		s.problem("has more than %d protocols, and none is agreed to", maxALPN)
	default:
		s.serviceTLS.ALPN = names
	}
}
