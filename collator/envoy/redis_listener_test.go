package envoy_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/internal/redistest"
	"relay/sources"
)

// TLS ends at Envoy, with the certificate of the server name that the client asks for: an exact one, one of a wildcard, or
// another one. Passwords and networks hold for all of them.
func TestRedisByTLS(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", "1.37"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			c := e.newCache(t, "/shop/cache", 2, "", func(r *sources.Redis) { r.Password = "clients" })
			c.app.Ports[0].TCP.ServiceTLS = &sources.ServiceTLS{}
			c.app.Ports[0].Domains = []string{"cache.test", "*.cache.test", "*.deep.cache.test"}
			e.give("clients=one")
			names := []string{"cache.test", "*.cache.test", "*.deep.cache.test"}
			var all []*certs.Certificate
			for _, name := range names {
				all = append(all, e.certificate(name, name))
			}
			e.c.SyncCertificates("vault", all, nil)
			e.c.SyncApps([]*sources.App{c.app})
			ask := func(serverName, password string) (shown string, err error) {
				conn, err := tls.Dial("tcp", c.address, &tls.Config{ServerName: serverName, InsecureSkipVerify: true})
				if err != nil {
					return "", err
				}
				client := redistest.NewClient(conn)
				defer client.Close()
				shown = conn.ConnectionState().PeerCertificates[0].DNSNames[0]
				if _, err = client.Do("AUTH", password); err == nil {
					_, err = client.Do("SET", "x", "1")
				}
				return shown, err
			}
			e.until(t, "a client is let in", func() bool { _, err := ask("cache.test", "one"); return err == nil })
			for serverName, want := range map[string]string{
				"cache.test": "cache.test", "CACHE.test": "cache.test", "a.cache.test": "*.cache.test", "a.deep.cache.test": "*.deep.cache.test",
			} {
				if shown, err := ask(serverName, "one"); err != nil || shown != want {
					t.Errorf("%s is shown %s, want %s: %v", serverName, shown, want, err)
				}
				if _, err := ask(serverName, "other"); err == nil {
					t.Errorf("%s: another password lets in", serverName)
				}
			}
			if !isClosed(c.address) {
				t.Error("a client without TLS gets an answer")
			}
			c.update(func(p *sources.Port) {
				p.HTTP = &sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
			})
			for _, serverName := range []string{"cache.test", "a.cache.test", "a.deep.cache.test", ""} {
				e.until(t, "nobody is let in", func() bool { _, err := ask(serverName, "one"); return err != nil })
			}
			e.drainsNothing(t)
		})
	}
}

// With the header of the PROXY protocol the networks are of the client that it names, and only the proxies are believed.
func TestRedisBehindProxy(t *testing.T) {
	t.Parallel()
	for _, known := range []string{"127.0.0.0/8", "10.9.0.0/16"} {
		e := startEnvoy(t, withoutHTTPS, func(f *routing.Fleet, _ *certstest.CA) {
			f.Proxies = routing.Proxies{Networks: []netip.Prefix{netip.MustParsePrefix(known)}}
		})
		c := e.newCache(t, "/shop/cache", 1, "", nil)
		c.app.Ports[0].TCP.AcceptProxy = true
		c.app.Ports[0].HTTP = &sources.HTTP{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
		e.c.SyncApps([]*sources.App{c.app})
		ask := func(from string) error {
			conn, err := net.Dial("tcp", c.address)
			if err != nil {
				return err
			}
			client := redistest.NewClient(conn)
			defer client.Close()
			if _, err := fmt.Fprintf(conn, "PROXY TCP4 %s 10.0.0.1 1 2\r\n", from); err != nil {
				return err
			}
			_, err = client.Do("SET", "x", "1")
			return err
		}
		if strings.HasPrefix(known, "127") {
			e.until(t, "a client is let in", func() bool { return ask("10.1.1.1") == nil })
		} else {
			e.until(t, "the port is open", func() bool {
				conn, err := net.Dial("tcp", c.address)
				if err == nil {
					_ = conn.Close()
				}
				return err == nil
			})
			if ask("10.1.1.1") == nil {
				t.Error("one that is no proxy is believed")
			}
		}
		if ask("192.0.2.1") == nil {
			t.Error("a client of another network is let in")
		}
	}
}

// Who guesses passwords can be slowed down: Relay is asked before a connection goes on, as with other services.
func TestRedisConnectionsArePaced(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	c := e.newCache(t, "/shop/cache", 1, "", nil)
	c.app.Ports[0].TCP.AddressRate = 100
	stop := e.tcp.answering(ratelimitv3.RateLimitResponse_OK)
	e.c.SyncApps([]*sources.App{c.app})
	do(t, c.dial(t), "SET", "x", "1")
	stop()
	stop = e.tcp.answering(ratelimitv3.RateLimitResponse_OVER_LIMIT)
	defer stop()
	if !isClosed(c.address) {
		t.Error("a client is let in that Relay refuses")
	}
}
