package envoy

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"relay/sources"
)

// What tests with a real Envoy look for.
const (
	ACMEPrefix       = acmePrefix
	ClientCertHeader = clientCertHeader
	ScopeHeader      = scopeHeader
)

// GuardPattern is guardPattern.
var GuardPattern = guardPattern

// QueueChainFilter is queueFilter.
func QueueChainFilter(cluster string) (*corev3.TypedExtensionConfig, error) {
	var p packer
	return queueFilter(&p, cluster), p.err
}

// QueueBalancing is queueBalancing.
func QueueBalancing(balance sources.Balance) (*clusterv3.LoadBalancingPolicy, error) {
	var p packer
	return queueBalancing(&p, balance), p.err
}

// MaglevSize is the size of the tables of ids.
const MaglevSize = maglevSize

// RedisKeys is the number of slots that have a key of their own, and RedisHashKeyOf is that of one.
const RedisKeys = len(redisKeys)

// RedisHashKeyOf is the key of a slot of a server of Redis.
func RedisHashKeyOf(slot int) string { return redisHashKey(slot).Fields["hash_key"].GetStringValue() }

// HashKeyOf is the key of a slot.
func HashKeyOf(slot int) string { return hashKey(slot).Fields["hash_key"].GetStringValue() }

// NumberAbove is numberAbove.
var NumberAbove = numberAbove
