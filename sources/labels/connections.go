package labels

import (
	"strconv"
	"strings"
	"time"

	"relay/sources"
)

// Connections of TCP services that stay for long.
var connectionLabels = []Label{
	{Key: "RELAY_{n}_MAX_CONNECTION_AGE", Field: "maxConnectionAge", tcpOnly: true, setting: (*Settings).maxConnectionAge,
		meaning: "ends a connection after so long, or up to a tenth later, so that not all end at once; `1s` to `8760h`. Another value is another filter chain, " +
			"so the service's connections end once",
		byDefault: "never", envoy: "`max_downstream_connection_duration`", example: "24h"},
	{Key: "RELAY_{n}_REBALANCE", Field: "rebalance", tcpOnly: true, setting: (*Settings).rebalance,
		meaning: "how many percent of the service's connections Relay may end a minute, of those to instances that have more than their share: " +
			"`0.1%/min` to `100%/min`. Each ends when its client sends something, and the client connects anew",
		byDefault: "none is ended", envoy: "`rbac` of the network filters, `metadata` of endpoints", example: "10%/min"},
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
	minConnectionAge = time.Second
	minRebalance     = 0.1
	maxRebalance     = 100
	rebalanceUnit    = "%/min"
)

func (s *Settings) maxConnectionAge(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	s.tcp.connections = true
	d, err := time.ParseDuration(value)
	if err != nil || d < minConnectionAge || d > longestTimeout {
		s.problem("%.40q is ignored, and connections may last for ever: write a duration from %s to %s, such as 24h", value, short(minConnectionAge), short(longestTimeout))
		return
	}
	s.tcp.maxAge = d
}

func (s *Settings) rebalance(value string) {
	value = strings.TrimSpace(value)
	if value == "" {
		return
	}
	s.tcp.connections = true
	number, ok := strings.CutSuffix(value, rebalanceUnit)
	percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(percent >= minRebalance && percent <= maxRebalance) {
		s.problem("%.40q is ignored, and no connection is ended: write how many percent a minute, from %g%s to %d%s, such as 10%s",
			value, minRebalance, rebalanceUnit, maxRebalance, rebalanceUnit, rebalanceUnit)
		return
	}
	s.tcp.rebalance = percent
}

// finishRebalance drops rebalancing where those who connect anew do not come to the instance with the
// fewest connections: it would never end.
func (s *Settings) finishRebalance() float64 {
	if s.tcp.rebalance == 0 {
		return 0
	}
	by := ""
	switch {
	case s.hashPolicy != nil:
		by = "HASH_POLICY"
	case s.http.Hash != nil, s.upstream.Balance == sources.BalanceRoundRobin, s.upstream.Balance == sources.BalanceRandom:
		by = "BALANCE"
	default:
		return s.tcp.rebalance
	}
	s.problemOn("REBALANCE", "has no effect beside %s: clients that connect anew would not come to the instance with the fewest connections", by)
	return 0
}
