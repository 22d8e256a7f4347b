package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/collator"
	"relay/internal/redistest"
)

// installed skips a test that needs a program which is not there, but not where CI says that all is there.
func installed(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing(t, fmt.Sprintf("%s is not installed: make programs (Debian: apt-get install redis-server redis-tools memcached)", name))
		}
	}
}

// runServer runs a program that listens on an address until the test ends. Its arguments have the port in place of PORT.
func runServer(t *testing.T, name string, args ...string) (address string) {
	t.Helper()
	address = freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "PORT", port)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, name+" listens", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return address
}

func redisServer(t *testing.T, password string) string {
	t.Helper()
	args := []string{"--port", "PORT", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}
	if password != "" {
		args = append(args, "--requirepass", password)
	}
	return runServer(t, "redis-server", args...)
}

// redisClient gets into a cache by a password.
func redisClient(t *testing.T, address, password string) *redistest.Client {
	t.Helper()
	var client *redistest.Client
	eventually(t, "a client is let in", func() error {
		c, err := redistest.Dial(address)
		if err != nil {
			return err
		}
		if _, err = c.Do("AUTH", password); err == nil {
			_, err = c.Do("GET", "x")
		}
		if err != nil {
			return errors.Join(err, c.Close())
		}
		client = c
		return nil
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// cacheKeys sets keys that are not there, and returns how many these were.
func cacheKeys(t *testing.T, c *redistest.Client, n int) (missed int) {
	t.Helper()
	for i := range n {
		key := fmt.Sprintf("user:%d", i)
		got, err := c.Do("GET", key)
		if err == nil && got == "(nil)" {
			missed++
			_, err = c.Do("SET", key, "x")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return missed
}

// An app of three servers of Redis through its life: passwords of a folder, one more server, one that is replaced, a
// Relay that is started anew, and another password. The client stays connected.
func TestCacheOfRedisServers(t *testing.T) {
	installed(t, "redis-server", "redis-cli", "redis-benchmark")
	w := newWorld(t)
	w.relay.keepState(false)
	folder := t.TempDir()
	w.relay.config.Credentials.Dir.Folder = folder
	give := func(name, value string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(folder, "shop"), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, filepath.Join(folder, "shop", name), []byte(value))
	}
	give("clients", "first\n")
	give("servers", "of-servers\n")
	w.start()
	var servers []string
	for range 5 {
		servers = append(servers, redisServer(t, "of-servers"))
	}
	port, cache := w.tcp.port()
	has := func(servers ...string) {
		t.Helper()
		w.marathon.service("/shop/cache", servers, portLabel, port, "RELAY_0_PROTOCOL", "redis", "RELAY_0_REDIS_PASSWORD", "clients", "RELAY_0_REDIS_SERVER_PASSWORD", "servers")
		w.eventually("Relay knows the servers", func() error {
			if app, _ := w.admin.app("/shop/cache"); len(app.Ports) == 0 || !slices.EqualFunc(app.Ports[0].Endpoints, servers, func(e collator.EndpointView, s string) bool { return e.Address.String() == s }) {
				return fmt.Errorf("it has %+v", app.Ports)
			}
			return nil
		})
		w.admin.settled()
	}
	const n = 2000
	slices.Sort(servers)
	has(servers[:3]...)
	client := redisClient(t, cache, "first")
	cacheKeys(t, client, n)
	if missed := cacheKeys(t, client, n); missed > 0 {
		t.Fatalf("%d keys are not where they were", missed)
	}
	has(servers[:4]...)
	if missed := cacheKeys(t, client, n); missed < n*20/100 || missed > n*28/100 {
		t.Errorf("a fourth server moves %d of %d keys", missed, n)
	}
	has(servers[0], servers[2], servers[3], servers[4])
	if missed := cacheKeys(t, client, n); missed < n*20/100 || missed > n*30/100 {
		t.Errorf("one that is replaced moves %d of %d keys", missed, n)
	}
	w.anew()
	if missed := cacheKeys(t, client, n); missed > 0 {
		t.Errorf("a Relay that is started anew moves %d of %d keys", missed, n)
	}

	give("clients", "second\nfirst\n")
	redisClient(t, cache, "second")
	give("clients", "second\n")
	w.eventually("the first password is refused", func() error {
		if out, err := redisCLI(cache, "first", "GET", "x"); err == nil && !strings.Contains(out, "NOAUTH") {
			return errors.New(out)
		}
		return nil
	})
	if missed := cacheKeys(t, client, n); missed > 0 {
		t.Errorf("another password moves %d keys", missed)
	}
	if out, err := redisCLI(cache, "second", "SET", "by", "redis-cli"); err != nil || out != "OK" {
		t.Errorf("redis-cli: %s, %v", out, err)
	}
	host, at, _ := net.SplitHostPort(cache)
	bench := exec.Command("redis-benchmark", "-h", host, "-p", at, "-a", "second", "-n", "5000", "-c", "20", "-r", "1000", "-q", "-t", "set,get,incr,lpush,mset")
	if out, err := bench.CombinedOutput(); err != nil || strings.Contains(string(out), "Error") {
		t.Errorf("redis-benchmark: %s, %v", out, err)
	}
	if page := w.admin.pages(); strings.Contains(page, "of-servers") || strings.Contains(w.relay.log.String(), "of-servers") {
		t.Error("a password is shown")
	}
}

func redisCLI(address, password string, command ...string) (string, error) {
	host, port, _ := net.SplitHostPort(address)
	out, err := exec.Command("redis-cli", append([]string{"-h", host, "-p", port, "-a", password, "--no-auth-warning"}, command...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Servers of memcached are a TCP service. With HASH_POLICY each client has one of them, whatever connection it comes by.
func TestCacheOfMemcached(t *testing.T) {
	installed(t, "memcached")
	w := newWorld(t)
	w.start()
	port, cache := w.tcp.port()
	var servers []string
	for range 3 {
		servers = append(servers, runServer(t, "memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", "PORT", "-U", "0"))
	}
	w.marathon.service("/shop/memcached", servers, modeLabel, "tcp", portLabel, port, "RELAY_0_HASH_POLICY", "source_ip")
	ask := func(request string, lines int) (answer string) {
		t.Helper()
		w.eventually("memcached answers", func() error {
			conn, err := net.Dial("tcp", cache)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write([]byte(request)); err != nil {
				return err
			}
			answer = ""
			for r := bufio.NewReader(conn); lines > strings.Count(answer, "\n"); {
				line, err := r.ReadString('\n')
				if err != nil {
					return err
				}
				answer += line
			}
			return nil
		})
		return answer
	}
	w.rotates("/shop/memcached", 3)
	w.admin.settled()
	if got := ask("set k 0 0 1\r\nx\r\n", 1); got != "STORED\r\n" {
		t.Fatalf("%q", got)
	}
	for range 20 {
		if got := ask("get k\r\n", 3); got != "VALUE k 0 1\r\nx\r\nEND\r\n" {
			t.Fatalf("another connection of the client gets %q", got)
		}
	}
}

// A command of Redis counts as use of its app, and a client that is connected and silent does not: connections to servers
// are Envoy's own.
func TestCommandsOfCachesCount(t *testing.T) {
	installed(t, "redis-server")
	w := newScalingWorld(t)
	w.start()
	port, cache := w.tcp.port()
	w.marathon.service("/shop/cache", []string{redisServer(t, "")}, portLabel, port, "RELAY_0_PROTOCOL", "redis")
	w.relay.running.Loads().Pace("external", time.Second)
	var client *redistest.Client
	w.eventually("a client is let in", func() error {
		var err error
		if client, err = redistest.Dial(cache); err == nil {
			_, err = client.Do("PING")
		}
		return err
	})
	defer func() { _ = client.Close() }()
	loads := w.relay.running.Loads()
	began := time.Now()
	w.eventually("the command is reported", func() error {
		_, err := client.Do("SET", "x", "1")
		if u := loads.Use("external", "/shop/cache_0"); err == nil && !u.Last.After(began) {
			err = fmt.Errorf("%+v", u)
		}
		return err
	})
	w.eventually("nobody uses it", func() error {
		if u := loads.Use("external", "/shop/cache_0"); u.InProgress > 0 || u.Until.Sub(u.Idle()) < 4*time.Second {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
}
