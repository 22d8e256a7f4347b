package envoy_test

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/sources"
)

// oddSeed is what odd hosts and paths are made of. Tests try the same ones each time, so that what they find belongs to the change they test.
var oddSeed = flag.Uint64("odd.seed", 1, "the seed of odd hosts and paths; 0 for new ones")

// hostDomains are nested on purpose. Only a path of part.zone.test is claimed.
var hostDomains = []string{
	"app.test", "zone.test", "x.zone.test", "part.zone.test", "in.zone.test", "x.in.zone.test", "test.zone", "a.x.zone.test",
	"*.zone.test", "*.in.zone.test", "*.x.zone.test", "*.deep.in.zone.test",
	"my_app.test", "-x-.a--b.test", "10.0.0.1", "*.my_zone.test",
}

// domainOf is the rule: the domain that answers for a host is the host itself, in
// any case, with or without a port and a dot at its end, or else the longest
// wildcard domain that it is under.
func domainOf(host string) string {
	host = strings.ToLower(host)
	name, port, _ := strings.Cut(host, ":")
	if domain := strings.TrimSuffix(name, "."); slices.Contains(hostDomains, domain) {
		return domain
	}
	if strings.Contains(port, ":") {
		return "" // no wildcard domain takes two ports
	}
	found := ""
	for _, domain := range hostDomains {
		suffix, ok := strings.CutPrefix(domain, "*")
		before, below := strings.CutSuffix(strings.TrimSuffix(name, "."), suffix)
		if ok && below && before != "" && len(domain) > len(found) {
			found = domain
		}
	}
	return found
}

func TestDomainOf(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"": "", "*": "", "*.*": "", ".": "", ":": "", ":80": "", "[::1]:80": "", "127.0.0.1:80": "", "unknown.test": "", ".zone.test": "", "azone.test": "",
		"app.test": "app.test", "APP.Test.:80": "app.test", "app.test..": "", "a.app.test": "", "app.test:x": "app.test", "app.test:": "app.test",
		"zone.test.": "zone.test", "a.zone.test": "*.zone.test", "A.zone.TEST.:80": "*.zone.test", "a.zone.test:": "*.zone.test",
		"a.zone.test:x": "*.zone.test", "a.zone.test:1:1": "", "app.test:1:1": "app.test", "a.zone.test..": "", "*.zone.test": "*.zone.test", "..zone.test": "*.zone.test",
		"X.zone.test": "x.zone.test", "b.x.zone.test": "*.x.zone.test", "A.x.zone.test": "a.x.zone.test", "deep.in.zone.test": "*.in.zone.test",
		"part.zone.test": "part.zone.test", "MY_app.test.:80": "my_app.test", "a_b.My_Zone.test": "*.my_zone.test", "10.0.0.1:80": "10.0.0.1", "10.0.0.1.": "10.0.0.1", "1.10.0.0.1": "",
	} {
		if got := domainOf(host); got != want {
			t.Errorf("the domain of %q is %q, want %q", host, got, want)
		}
	}
}

// oddHosts are put together of what hosts of the domains consist of.
func oddHosts(rng *rand.Rand, n int) []string {
	parts := []string{"app", "test", "zone", "x", "in", "deep", "part", "a", "X", "Zone", "TEST", "*", "", "-", "_", "my_zone", "b%20"}
	ends := []string{"", "", "", "", ".", ":80", ":", ".:8080", "..", ":x", "..:1", ":80:80", ".:x"}
	hosts := []string{"*", "*.*", "*.*.:80", "a.*.*", "[::1]", "[::1]:80", "127.0.0.1", ":80", ".", "*.zone.test", "A.*.zone.test:1", "%", "a%CEL(1)%.zone.test",
		"zone.test" + strings.Repeat(".zone.test", 100), strings.Repeat("A.", 2000) + "zone.test", strings.Repeat(".", 5000) + "zone.test.:1",
		strings.Repeat("x", 20000) + ".test", strings.Repeat(".", 20000)}
	for range n {
		var labels []string
		if rng.IntN(2) == 0 {
			labels = strings.Split(strings.TrimPrefix(hostDomains[rng.IntN(len(hostDomains))], "*."), ".")
		}
		for range rng.IntN(4) {
			labels = slices.Insert(labels, rng.IntN(len(labels)+1)*rng.IntN(2), parts[rng.IntN(len(parts))])
		}
		host := strings.Join(labels, ".") + ends[rng.IntN(len(ends))]
		if i := rng.IntN(len(host) + 1); rng.IntN(4) == 0 {
			host = host[:i] + strings.ToUpper(host[i:])
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// Envoy routes every host by the rule.
func TestHosts(t *testing.T) {
	e := startEnvoy(t)
	var apps []*sources.App
	for _, domain := range hostDomains {
		app := e.app("/"+domain, domain)
		if domain == "part.zone.test" {
			app = changed(app, func(p *sources.Port) { p.HTTP = &sources.HTTP{Paths: []sources.Path{{Prefix: "/part"}}} })
		}
		apps = append(apps, app)
	}
	e.c.SyncCertificates("vault", []*certs.Certificate{e.certificate("app.test", "app.test")}, nil)
	e.c.SyncApps(apps)
	e.eventually(t, request{host: "a.deep.in.zone.test", path: "/"}, fromApp("/*.deep.in.zone.test"))
	e.eventually(t, request{host: "app.test", path: "/", tls: true, sni: "app.test"}, fromApp("/app.test"))

	seed := cmp.Or(*oddSeed, rand.Uint64())
	t.Logf("seed %d", seed)
	raw := &rawClient{t: t, address: e.fleet.HTTP.String()}
	defer raw.close()
	for _, host := range oddHosts(rand.New(rand.NewPCG(seed, 0)), 3000) {
		want := domainOf(host)
		if want == "part.zone.test" {
			want = "" // nothing but its path, whatever wildcard domain there is
		}
		if got := raw.get("/", host); got != want && (want != "" || got != "refused") {
			t.Errorf("Host %.100q is routed to %q, want %q", host, got, want)
		}
		target := "http://" + host + "/"
		if got := raw.get(target, "app.test"); host != "" && got != want && got != "refused" {
			t.Errorf("GET %.100s is routed to %q, want %q", target, got, want)
		}
	}
	if got := raw.get("/part", "PART.zone.test.:80"); got != "part.zone.test" {
		t.Errorf("the path of part.zone.test is routed to %q", got)
	}
	for _, host := range []string{"app.test", "App.Test.:443", "a.zone.test", "A.Zone.test.", "X.zone.test:443", "a.deep.in.zone.test"} {
		a, err := e.send(t.Context(), request{host: host, path: "/", tls: true, sni: "app.test", http2: true})
		if err != nil || a.protocol != 2 || !fromApp("/"+domainOf(host))(a) {
			t.Errorf(":authority %s: %+v, %v", host, a, err)
		}
	}
}

// rawClient sends what no HTTP client lets through.
type rawClient struct {
	t       *testing.T
	address string
	conn    net.Conn
	r       *bufio.Reader
}

func (c *rawClient) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// get returns the domain whose app answers, "" for the page of unknown hosts, and
// "refused" if Envoy takes the request for none.
func (c *rawClient) get(target, host string) string {
	c.t.Helper()
	return c.ask("GET", target, host, "")
}

// ask is get with a method, and a line of a header if there is one.
func (c *rawClient) ask(method, target, host, header string) string {
	c.t.Helper()
	if header != "" {
		header += "\r\n"
	}
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			c.t.Fatal(err)
		}
		c.conn, c.r = conn, bufio.NewReader(conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	_, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, target, host, header)
	if err != nil {
		c.t.Fatalf("Host %q: %v", host, err)
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatalf("%.100s, Host %.100q: %v", target, host, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.Close || resp.StatusCode == http.StatusBadRequest {
		c.close()
	}
	name, _, _ := strings.Cut(string(body), "\n")
	switch app, ok := strings.CutPrefix(name, "app /"); {
	case ok && resp.StatusCode == http.StatusOK:
		return app
	case resp.StatusCode == http.StatusNotFound && strings.Contains(string(body), "<h1>Error: no-such-"):
		return ""
	case resp.StatusCode == http.StatusBadRequest:
		return "refused"
	}
	return fmt.Sprintf("%d %.100s", resp.StatusCode, body)
}
