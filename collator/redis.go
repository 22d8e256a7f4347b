package collator

import (
	"relay/collator/envoy"
	"relay/collator/routing"
)

// redisAccess says how clients get into a service of Redis, and where its keys are.
func (f *fleetState) redisAccess(s routing.Service) envoy.RedisAccess {
	return envoy.RedisAccess{Passwords: [][]string{nil}}
}
