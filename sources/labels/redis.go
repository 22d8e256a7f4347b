package labels

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"relay/credentials"
	"relay/internal/secret"
	"relay/sources"
)

// Caches that speak the protocol of Redis.
var redisLabels = []Label{
	{Key: "RELAY_{n}_PROTOCOL", Field: "protocol", tcpOnly: true, setting: (*Settings).protocol,
		meaning: "`redis`: the instances are servers of Redis, and the port is one address for all of them. Each key is with one server " +
			"([caches.md](caches.md))",
		byDefault: "connections are passed on as they are", envoy: "`redis_proxy`, `MAGLEV`", example: "redis"},
	{Key: "RELAY_{n}_REDIS_PASSWORD", Field: "redisPassword", restricts: true, setting: (*Settings).redisPassword, shown: nameOfCredential,
		meaning:   "the name of the credential that clients have to show by `AUTH`. Needs `PROTOCOL=redis`",
		byDefault: "clients need no password", envoy: "`downstream_auth_passwords`", example: "cache-clients"},
	{Key: "RELAY_{n}_REDIS_SERVER_PASSWORD", Field: "redisServerPassword", restricts: true, setting: (*Settings).redisServerPassword, shown: nameOfCredential,
		meaning:   "the name of the credential that the servers ask for (`requirepass`). Needs `PROTOCOL=redis`",
		byDefault: "the servers ask for none", envoy: "`auth_password`", example: "cache-servers"},
	{Key: "RELAY_{n}_REDIS_PREFIXES", Field: "redisPrefixes", tcpOnly: true, setting: (*Settings).redisPrefixes,
		meaning: "keys that are with the servers of other apps: how they begin, and the id of the app, with `:` and the index of its port if that is not 0. " +
			"A line for each, or commas between. Needs `PROTOCOL=redis`",
		byDefault: "all keys are with the app's own servers", envoy: "`prefix_routes`", example: "sess: /shop/sessions"},
}

const (
	// MaxRedisPrefixes is the number of prefixes in REDIS_PREFIXES.
	MaxRedisPrefixes = 50
	// maxRedisPrefix is how long each may be, in bytes.
	maxRedisPrefix = 128
)

// redisSettings are what is said of the protocol of Redis.
type redisSettings struct {
	speaks, refused bool
	sources.Redis
}

func (s *Settings) protocol(value string) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "":
	case "redis":
		s.redis.speaks = true
	default:
		s.problem("%.40q is ignored: redis alone can be written here. All other protocols are passed on as they are, by HTTP or in tcp mode", value)
	}
}

// nameOfCredential shows nothing that is no name: it may be the password itself.
func nameOfCredential(value string) string {
	if credentials.CheckName(strings.TrimSpace(value)) != nil {
		return secret.Redacted
	}
	return value
}

func (s *Settings) redisPassword(value string) { s.redis.Password = s.credentialOfRedis(value) }

func (s *Settings) redisServerPassword(value string) {
	s.redis.ServerPassword = s.credentialOfRedis(value)
}

// credentialOfRedis reads a name. The value may be a password by mistake: it is not shown.
func (s *Settings) credentialOfRedis(value string) string {
	name := strings.TrimSpace(value)
	if credentials.CheckName(name) != nil {
		s.redis.refused = true
		s.failing("is no name of a credential: write its name, of small letters, digits, points, hyphens and underscores, and never the password itself. " + nobodyIn)
		return ""
	}
	return name
}

func (s *Settings) redisPrefixes(value string) {
	seen := make(map[string]bool)
	for line := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == '\n' || c == ',' }) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		prefix, err := parseRedisPrefix(line)
		switch {
		case err != nil:
			s.failing("%.80q %v: such keys are with the app's own servers", line, err)
		case seen[prefix.Prefix]:
			s.failing("%.80q is ignored: the prefix is there already", line)
		case len(seen) == MaxRedisPrefixes:
			s.failing("has more than %d prefixes: the first are used", MaxRedisPrefixes)
			return
		default:
			seen[prefix.Prefix] = true
			s.redis.Prefixes = append(s.redis.Prefixes, prefix)
		}
	}
	slices.SortFunc(s.redis.Prefixes, func(a, b sources.RedisPrefix) int { return strings.Compare(a.Prefix, b.Prefix) })
}

var validRedisPrefix = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9:._/|@#{}-]{1,%d}$`, maxRedisPrefix))

// parseRedisPrefix reads one line, such as "sess: /shop/sessions".
func parseRedisPrefix(line string) (prefix sources.RedisPrefix, err error) {
	fields := strings.Fields(line)
	if len(fields) != 2 {
		return prefix, fmt.Errorf("is ignored: write how the keys begin, a space, and the id of an app, as in sess: /shop/sessions")
	}
	ref, ok := parseAppRef(fields[1])
	switch {
	case !validRedisPrefix.MatchString(fields[0]):
		return prefix, fmt.Errorf("is ignored: a prefix is up to %d letters, digits, and of : . _ - / | @ # { }", maxRedisPrefix)
	case !ok:
		return prefix, fmt.Errorf("is ignored: %.80q is no id of an app, such as /shop/sessions, or /shop/sessions:1 for another port than the first", fields[1])
	}
	return sources.RedisPrefix{Prefix: fields[0], App: ref}, nil
}

// settleRedis settles what belongs together for Redis; nil if the port does not speak it. tcp tells that
// it is served by TCP.
func (s *Settings) settleRedis(tcp *sources.TCP) *sources.Redis {
	if tcp == nil || !s.redis.speaks {
		for _, name := range []string{"REDIS_PASSWORD", "REDIS_SERVER_PASSWORD"} {
			if s.given[name] {
				s.http.Closed = true
				s.problems.AddFailing(name, "holds only for ports in TCP mode with RELAY_n_PROTOCOL=redis (in a YAML file: protocol): "+nobodyIn)
			}
		}
		if s.given["REDIS_PREFIXES"] && tcp != nil {
			s.problemOn("REDIS_PREFIXES", "has no effect without PROTOCOL=redis")
		}
		return nil
	}
	s.http.Closed = s.http.Closed || s.redis.refused
	if tcp.Passthrough {
		tcp.Passthrough = false
		s.problemOn("TLS_PASSTHROUGH", "has no effect with PROTOCOL=redis: Envoy reads what is said. TLS_TERMINATE has it end the TLS")
	}
	s.withoutEffectOnRedis()
	s.upstream.Balance = sources.BalanceHash
	redis := s.redis.Redis
	return &redis
}

// withoutEffectOnRedis drops what is about connections of a client to one instance, of which there are none.
func (s *Settings) withoutEffectOnRedis() {
	for _, of := range []struct{ name, reason string }{
		{"BALANCE", "the key says which server is asked"}, {"HASH_POLICY", "the key says which server is asked"},
		{"PROXY_PROTOCOL", "Envoy's connections to servers are those of all clients"}, {"MAX_CONNECTIONS", "Envoy has one connection to each server for each of its threads"},
		{"MAX_PENDING_REQUESTS", "commands of all clients share Envoy's connections"}, {"IDLE_TIMEOUT", "connections of clients stay, as with Redis"}, {"NUM_RETRIES", "a command might be done twice"},
		{"HOLD", "commands get an error while there is no server, and connections stay"}, {"MAX_CONNECTION_AGE", "connections of clients stay, as with Redis"}, {"REBALANCE", "clients are connected to Envoy, and to no server"},
	} {
		if s.given[of.name] {
			s.problemOn(of.name, "has no effect with PROTOCOL=redis: %s", of.reason)
		}
	}
	s.http.Hash, s.hashPolicy = nil, nil
	s.upstream.ProxyProtocol, s.upstream.MaxConnections, s.upstream.MaxPendingRequests = 0, 0, 0
	s.http.IdleTimeout, s.http.NumRetries = nil, nil
	s.tcp.maxAge, s.tcp.rebalance, s.tcp.hold = 0, 0, 0
}
