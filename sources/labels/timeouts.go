package labels

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Time, retries and limits.
var timeoutLabels = []Label{
	{Key: "RELAY_{n}_TIMEOUT", Field: "timeout", httpOnly: true, setting: func(s *Settings, v string) { s.http.Timeout = s.timeout(v) },
		meaning:   "the longest time for a whole answer, as `90s` or `1h30m`; `0s` is no limit",
		byDefault: "no limit", envoy: "`route.timeout`", example: "30s"},
	{Key: "RELAY_{n}_IDLE_TIMEOUT", Field: "idleTimeout", setting: func(s *Settings, v string) { s.http.IdleTimeout = s.timeout(v) },
		meaning:   "ends requests and WebSockets on which nothing moves; `0s` is never",
		byDefault: "the fleet's", envoy: "`route.idle_timeout`", example: "10m"},
	{Key: "RELAY_{n}_MAX_STREAM_DURATION", Field: "maxStreamDuration", httpOnly: true, setting: (*Settings).maxStreamDuration,
		meaning:   "ends requests, streams and WebSockets after so long, however much is said on them, counted from the head of the request; clients come again. At least `1s`; `0s` is never",
		byDefault: "never", envoy: "`route.max_stream_duration`", example: "24h"},
	{Key: "RELAY_{n}_CONNECT_TIMEOUT", Field: "connectTimeout", setting: (*Settings).connectTimeout,
		meaning: "for connecting to an instance", byDefault: "the fleet's", envoy: "`connect_timeout`", example: "500ms"},
	{Key: "RELAY_{n}_NUM_RETRIES", Field: "numRetries", setting: (*Settings).numRetries,
		meaning: "on how many other instances a request or connection is tried, 0 to 10", byDefault: "the fleet's",
		envoy: "`retry_policy.num_retries`, `max_connect_attempts`", example: "5"},
	{Key: "RELAY_{n}_RETRY_ON", Field: "retryOn", httpOnly: true, setting: (*Settings).retryOn,
		meaning: "`5xx` `gateway-error` `reset` `reset-before-request` `connect-failure` `retriable-4xx` `refused-stream`, " +
			"and for gRPC `cancelled` `deadline-exceeded` `internal` `resource-exhausted` `unavailable`",
		byDefault: "what cannot have reached the app: `connect-failure,refused-stream,reset-before-request`; for `GET`, `HEAD` and `OPTIONS` also `reset`",
		envoy:     "`retry_policy.retry_on`", example: "gateway-error reset"},
	{Key: "RELAY_{n}_MAX_CONNECTIONS", Field: "maxConnections", setting: func(s *Settings, v string) { s.upstream.MaxConnections = s.limit(v) },
		meaning: "from each Envoy, to all instances", byDefault: "no limit", envoy: "`circuit_breakers`", example: "100"},
	{Key: "RELAY_{n}_MAX_PENDING_REQUESTS", Field: "maxPendingRequests", setting: func(s *Settings, v string) { s.upstream.MaxPendingRequests = s.limit(v) },
		meaning: "requests that wait for a connection; beyond it 503", byDefault: "no limit", envoy: "`circuit_breakers`", example: "50"},
	{Key: "RELAY_{n}_MAX_REQUESTS", Field: "maxRequests", httpOnly: true, setting: func(s *Settings, v string) { s.upstream.MaxRequests = s.limit(v) },
		meaning: "requests under way; beyond it 503", byDefault: "no limit", envoy: "`circuit_breakers`", example: "500"},
}

const longestTimeout = 365 * 24 * time.Hour

// timeout reads a duration; nil when it is none.
func (s *Settings) timeout(value string) *time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > longestTimeout {
		s.problem("%.40q is ignored: write a duration, such as 30s or 1h30m, or 0s for no limit", value)
		return nil
	}
	return &d
}

// minStreamDuration lets clients that come again have something from it.
const minStreamDuration = time.Second

func (s *Settings) maxStreamDuration(value string) {
	switch d := s.timeout(value); {
	case d == nil:
	case *d > 0 && *d < minStreamDuration:
		s.problem("%.40q is ignored: it must be at least %s, or 0s for no limit", value, short(minStreamDuration))
	default:
		s.http.MaxStreamDuration = *d
	}
}

func (s *Settings) connectTimeout(value string) {
	switch d := s.timeout(value); {
	case d == nil:
	case *d < time.Millisecond:
		s.problem("%.40q is ignored: it must be at least 1ms", value)
	default:
		s.upstream.ConnectTimeout = *d
	}
}

// limit reads a number from 1; 0 when it is none.
func (s *Settings) limit(value string) uint32 {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n == 0 {
		s.problem("%.40q is ignored: write a number from 1 to 4294967295", value)
		return 0
	}
	return uint32(n)
}

func (s *Settings) numRetries(value string) {
	n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
	if err != nil || n > 10 {
		s.problem("%.40q is ignored: write a number from 0 to 10", value)
		return
	}
	retries := uint32(n)
	s.http.NumRetries = &retries
}

// Conditions of
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
// and x-envoy-retry-grpc-on.
var retryConditions = []string{
	"5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx", "refused-stream",
	"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

func (s *Settings) retryOn(value string) {
	var conditions []string
	for _, condition := range splitList(value) {
		if !slices.Contains(retryConditions, condition) {
			s.problem("%.40q is ignored: the conditions are %s", condition, strings.Join(retryConditions, ", "))
			continue
		}
		conditions = append(conditions, condition)
	}
	slices.Sort(conditions)
	s.http.RetryOn = slices.Compact(conditions)
}

func splitList(value string) []string {
	return strings.FieldsFunc(value, func(c rune) bool { return c == ',' || unicode.IsSpace(c) })
}
