package explain

import (
	"fmt"

	"relay/sources"
)

// redisWords says what becomes of clients of Redis, and where their keys are.
func redisWords(tcp *sources.TCP) (words []string) {
	if tcp == nil || tcp.Redis == nil {
		return nil
	}
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	say("clients speak Redis, and the key says which instance is asked")
	if tcp.Redis.Password != "" {
		say("they need a password, the credential %s", tcp.Redis.Password)
	}
	if tcp.Redis.ServerPassword != "" {
		say("the instances ask for one, the credential %s", tcp.Redis.ServerPassword)
	}
	for _, of := range tcp.Redis.Prefixes {
		say("keys that begin with %s are with %s", of.Prefix, of.App.App)
	}
	return words
}
