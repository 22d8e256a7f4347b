package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"relay/internal/redistest"
)

// Prefixes lead to the servers of apps that allow it, and to no others, whatever a client tries: transactions, scripts, and
// commands of several keys go where their first key does.
func TestClientsOfCachesStayWithTheirServers(t *testing.T) {
	installed(t, "redis-server")
	w := newWorld(t)
	w.start()
	own, sessions, bank := redisServer(t, ""), redisServer(t, ""), redisServer(t, "")
	port, cache := w.tcp.port()
	otherPort, _ := w.tcp.port()
	w.marathon.service("/bank/cache", []string{bank}, portLabel, otherPort, "RELAY_0_PROTOCOL", "redis")
	otherPort, _ = w.tcp.port()
	w.marathon.service("/shop/sessions", []string{sessions}, portLabel, otherPort, "RELAY_0_PROTOCOL", "redis")
	w.marathon.service("/shop/cache", []string{own}, portLabel, port, "RELAY_0_PROTOCOL", "redis", "RELAY_0_REDIS_PREFIXES", "bank: /bank/cache\nsess: /shop/sessions")
	client := func() *redistest.Client {
		c, err := redistest.Dial(cache)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	w.eventually("both are there", func() error {
		c, err := redistest.Dial(cache)
		if err != nil {
			return err
		}
		_, first := c.Do("SET", "own", "1")
		_, second := c.Do("SET", "sess:1", "1")
		return errors.Join(first, second, c.Close())
	})
	for _, commands := range []string{
		"MULTI;SET own 2;SET bank:1 x;SET sess:2 x;EXEC", // all to the app's own
		"MULTI;SET sess:3 x;SET bank:2 x;FLUSHALL;EXEC",  // all to the sessions; what is for all servers is refused
		"GET own;MULTI;SET own 2;EXEC;MULTI;SET bank:3 x;SET own x;EXEC", "SET bank:4 x", "MSET own 3 bank:5 x", "DEL bank:6", "EVAL return(redis.call('set','bank:7','x')) 1 bank:7",
		"EVAL return(redis.call('set','bank:8','x')) 1 own", "RENAME own bank:9", "SELECT 3", "HELLO 3", "SUBSCRIBE bank:1", "CLIENT REPLY OFF", "SCRIPT FLUSH",
	} {
		c := client()
		for command := range strings.SplitSeq(commands, ";") {
			_, _ = c.Do(strings.Fields(command)...) // many are errors
		}
	}
	has := func(server string) string {
		c, err := redistest.Dial(server)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		var all []string
		for _, key := range []string{"own", "sess:1", "sess:2", "sess:3", "bank:1", "bank:2"} {
			if n, err := c.Do("EXISTS", key); err != nil {
				t.Fatal(err)
			} else if n == "1" {
				all = append(all, key)
			}
		}
		size, err := c.Do("DBSIZE")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(size, " ", strings.Join(all, " "))
	}
	if got := has(bank); got != "0 " {
		t.Errorf("another tenant's server has %s", got)
	}
	if got := has(own); got != "4 sess:2 bank:1" { // and those of the script and RENAME
		t.Errorf("the app's own are %s", got)
	}
	if got := has(sessions); got != "3 sess:1 sess:3 bank:2" {
		t.Errorf("the sessions are %s", got)
	}
	for _, command := range []string{"GET bank:1", "EVAL return(1) 1 bank:1", "MGET own bank:1"} {
		if got, err := client().Do(strings.Fields(command)...); !strings.Contains(fmt.Sprint(got, err), "upstream failure") {
			t.Errorf("%s: %s, %v", command, got, err)
		}
	}
}
