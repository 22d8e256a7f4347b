package labels

import (
	"strconv"
	"strings"
)

// New connections to TCP services, of which many may come at once.
var acceptLabels = []Label{
	{Key: "RELAY_{n}_ACCEPT_RATE", Field: "acceptRate", tcpOnly: true, setting: func(s *Settings, v string) { s.tcp.acceptRate = s.perSecond(v) },
		meaning: "how many new connections an instance takes a second, `0.1/s` to `10000/s`. The others wait in order of arrival, and the clients take turns. " +
			"With TLS that Envoy ends, the client has to speak first",
		byDefault: "no limit", envoy: "`ratelimit` of the network filters", example: "50/s"},
	{Key: "RELAY_{n}_ADDRESS_RATE", Field: "addressRate", tcpOnly: true, setting: func(s *Settings, v string) { s.tcp.addressRate = s.perSecond(v) },
		meaning: "how many new connections a client may open a second, by its IPv4 address or IPv6 network (/64), `0.1/s` to `10000/s`; as many as in a second at one moment. " +
			"Others are closed at once. With TLS that Envoy ends, the client has to speak first",
		byDefault: "no limit", envoy: "`ratelimit` of the network filters", example: "20/s"},
}

const (
	perSecondUnit = "/s"
	minPerSecond  = 0.1
	maxPerSecond  = 10_000
)

// perSecond reads how often something may be a second; 0 is no limit.
func (s *Settings) perSecond(value string) float64 {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	s.tcp.connections = true
	number, ok := strings.CutSuffix(value, perSecondUnit)
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(n >= minPerSecond && n <= maxPerSecond) {
		s.problem("%.40q is ignored, and there is no limit: write how many a second, from %g%s to %d%s, such as 50%s",
			value, minPerSecond, perSecondUnit, maxPerSecond, perSecondUnit, perSecondUnit)
		return 0
	}
	return n
}
