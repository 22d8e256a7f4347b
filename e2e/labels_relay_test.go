package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"relay/certs/certstest"
)

func TestTimeoutLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.deploy(
		app("/timeout", "timeout.test", 1, "RELAY_0_TIMEOUT", "100ms"),
		app("/idle", "idle.test", 1, "RELAY_0_IDLE_TIMEOUT", "100ms"),
		app("/none", "none.test", 1, "RELAY_0_TIMEOUT", "0s", "RELAY_0_IDLE_TIMEOUT", "never"),
	)
	host, port := fullListener(t)
	w.rawApp("/connect", "connect.test", host, port, "RELAY_0_CONNECT_TIMEOUT", "50ms", "RELAY_0_NUM_RETRIES", "0")
	for _, name := range []string{"timeout", "idle", "none"} {
		w.expect("http://"+name+".test/", http.StatusOK, "/"+name)
	}
	w.expect("http://timeout.test/slow?ms=5000", http.StatusGatewayTimeout, "")
	w.expect("http://idle.test/slow?ms=5000", http.StatusGatewayTimeout, "")
	w.expect("http://none.test/slow?ms=300", http.StatusOK, "/none")
	// Something moves all the time: it is not idle.
	w.expect("http://idle.test/stream?n=10&ms=30", http.StatusOK, "/idle")
	w.eventually("connecting is given up", func() error {
		start := time.Now()
		a := w.do("http://connect.test/")
		if took := time.Since(start); a.status != http.StatusBadGateway || took > time.Second {
			return fmt.Errorf("status %d after %s", a.status, took)
		}
		return nil
	})
	w.problem("/none", "write a duration")
	w.accepted()
}

func TestRetryLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	failing := func(id string, labels ...string) *atomic.Int64 {
		var asked atomic.Int64
		w.backend("/"+id, id+".test", httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			rw.WriteHeader(http.StatusServiceUnavailable)
		})), labels...)
		return &asked
	}
	for id, want := range map[string]struct {
		labels []string
		asked  int64
	}{
		"default": {nil, 1},
		"retried": {[]string{"RELAY_0_RETRY_ON", "5xx", "RELAY_0_NUM_RETRIES", "4"}, 5},
		"never":   {[]string{"RELAY_0_RETRY_ON", "5xx", "RELAY_0_NUM_RETRIES", "0"}, 1},
	} {
		asked := failing(id, want.labels...)
		w.expect("http://"+id+".test/", http.StatusServiceUnavailable, "")
		w.eventually(id+" is asked", func() error {
			before := asked.Load()
			w.do("http://" + id + ".test/")
			if n := asked.Load() - before; n != want.asked {
				return fmt.Errorf("%d times, want %d", n, want.asked)
			}
			return nil
		})
	}
	w.accepted()
}

func TestLimitLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.deploy(
		app("/requests", "requests.test", 1, "RELAY_0_MAX_REQUESTS", "1", "RELAY_0_NUM_RETRIES", "0"),
		app("/pending", "pending.test", 1, "RELAY_0_MAX_CONNECTIONS", "1", "RELAY_0_MAX_PENDING_REQUESTS", "1", "RELAY_0_NUM_RETRIES", "0"),
		app("/free", "free.test", 1),
	)
	for _, name := range []string{"requests", "pending", "free"} {
		w.expect("http://"+name+".test/", http.StatusOK, "/"+name)
		refused := w.atOnce(12, "http://"+name+".test/slow?ms=300")
		if name == "free" && refused != 0 || name != "free" && refused == 0 {
			t.Errorf("%s: %d of 12 requests at once were refused", name, refused)
		}
	}
	w.accepted()
}

// atOnce returns how many of n requests got 503.
func (w *world) atOnce(n int, url string) int {
	w.t.Helper()
	client := w.client(true)
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range n {
		wg.Go(func() {
			a, err := w.get(client, url, "")
			if err != nil || a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
				w.t.Errorf("%s: status %d, %v", url, a.status, err)
			}
			if a.status == http.StatusServiceUnavailable {
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	return int(refused.Load())
}

// fullListener returns an address that neither accepts nor refuses connections:
// its queue is full.
func fullListener(t *testing.T) (host, port string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port = fmt.Sprint(name.(*syscall.SockaddrInet4).Port)
	for {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, 100*time.Millisecond)
		if err != nil {
			return "127.0.0.1", port
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

// serveTLS starts an app whose instance has the certificate of app.internal.
func (w *world) serveTLS(id string, labels ...string) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-App", "/"+id)
		fmt.Fprintf(rw, "%s %s", r.Proto, r.TLS.ServerName)
	}))
	s.EnableHTTP2 = true
	config, err := w.ca.TestIssue(w.t, []string{"app.internal"}, certstest.Options{}).ServerTLS()
	if err != nil {
		w.t.Fatal(err)
	}
	s.TLS = config
	s.StartTLS()
	w.backend("/"+id, id+".test", s, append(labels, "RELAY_0_TLS", "true")...)
}

func TestUpstreamTLSLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.serveTLS("sni", "RELAY_0_TLS_VERIFY", "false", "RELAY_0_TLS_SNI", "app.internal")
	w.serveTLS("host", "RELAY_0_TLS_VERIFY", "false")
	w.serveTLS("h2", "RELAY_0_TLS_VERIFY", "false", "RELAY_0_HTTP2", "true")
	w.serveTLS("unverified")
	for id, want := range map[string]string{"sni": "HTTP/1.1 app.internal", "host": "HTTP/1.1 host.test", "h2": "HTTP/2.0 h2.test"} {
		if a := w.expect("http://"+id+".test/", http.StatusOK, "/"+id); a.body != want {
			t.Errorf("%s: the app sees %q, want %q", id, a.body, want)
		}
	}
	w.expect("http://unverified.test/", http.StatusForbidden, "")
	w.problem("/unverified", "authorities")
	w.accepted()
}

func TestUpstreamVerificationLabels(t *testing.T) {
	w := newWorld(t)
	w.fleet.UpstreamCA = w.ca.RootPEM()
	w.start()
	w.serveTLS("right", "RELAY_0_TLS_SNI", "app.internal")
	w.serveTLS("wrong", "RELAY_0_TLS_SNI", "other.internal")
	w.expect("http://right.test/", http.StatusOK, "/right")
	w.expect("http://wrong.test/", http.StatusBadGateway, "")
	w.accepted()
}

func TestHTTP2Label(t *testing.T) {
	w := newWorld(t)
	w.start()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-App", "/h2c")
		rw.Header().Set("Trailer", "Grpc-Status")
		fmt.Fprint(rw, r.Proto)
		rw.Header().Set("Grpc-Status", "0")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	w.backend("/h2c", "h2c.test", s, "RELAY_0_HTTP2", "true")
	if a := w.expect("http://h2c.test/", http.StatusOK, "/h2c"); a.body != "HTTP/2.0" {
		t.Errorf("the app sees %s", a.body)
	}
	w.accepted()
}

func TestHeaderLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.deploy(app("/headers", "headers.test", 1,
		"RELAY_0_REQUEST_HEADERS_TO_ADD", "X-Added: 100% %ENVIRONMENT(HOME)%\nX-Spoofed: no\nHost: other.test",
		"RELAY_0_REQUEST_HEADERS_TO_REMOVE", "X-Secret",
		"RELAY_0_RESPONSE_HEADERS_TO_ADD", "X-Frame-Options: DENY",
		"RELAY_0_RESPONSE_HEADERS_TO_REMOVE", "X-Version"))
	w.expect("http://headers.test/", http.StatusOK, "/headers")
	a := w.do("http://headers.test/", "X-Spoofed", "yes", "X-Secret", "s")
	seen := w.echoed(a)
	if got := seen.Headers.Get("X-Added"); got != "100% %ENVIRONMENT(HOME)%" {
		t.Errorf("X-Added is %q", got)
	}
	if got := seen.Headers.Values("X-Spoofed"); len(got) != 1 || got[0] != "no" {
		t.Errorf("X-Spoofed is %q", got)
	}
	if seen.Headers.Get("X-Secret") != "" || seen.Host != "headers.test" {
		t.Errorf("the app sees X-Secret %q, Host %q", seen.Headers.Get("X-Secret"), seen.Host)
	}
	if a.header.Get("X-Frame-Options") != "DENY" || a.header.Get("X-Version") != "" {
		t.Errorf("the client sees %v", a.header)
	}
	w.problem("/headers", "not for apps to change")
	w.accepted()
}

func TestProxyProtocolLabel(t *testing.T) {
	w := newWorld(t)
	w.start()
	for version, signature := range map[string]string{"v1": "PROXY TCP4 127.0.0.1 127.0.0.1 ", "v2": "\r\n\r\n\x00\r\nQUIT\n"} {
		host, port := serveAfter(t, signature, "/"+version)
		w.rawApp("/"+version, version+".test", host, port, "RELAY_0_PROXY_PROTOCOL", strings.ToUpper(version))
		w.expect("http://"+version+".test/", http.StatusOK, "/"+version)
	}
	w.accepted()
}

// serveAfter answers requests on connections that begin with the signature.
func serveAfter(t *testing.T, signature, app string) (host, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			r := bufio.NewReader(conn)
			begin, _ := r.Peek(len(signature))
			status := "418 No"
			if string(begin) == signature {
				status = "200 OK"
				_, _ = r.Discard(len(signature))
			}
			for line := "-"; line != "" && line != "\r\n"; {
				line, _ = r.ReadString('\n')
			}
			fmt.Fprintf(conn, "HTTP/1.1 %s\r\nX-App: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, app)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	host, port, _ = net.SplitHostPort(l.Addr().String())
	return host, port
}

// Two apps share the requests for a domain by their weights; one that is less
// restricted than the other gets none.
func TestClusterWeightLabel(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.deploy(
		app("/stable", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "90"),
		app("/unweighted", "shop.test", 1),
		app("/x-canary", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "10", "HAPROXY_0_AUTH", "r:joe:"+passwordHash),
	)
	w.expect("http://shop.test/", http.StatusOK, "/stable")
	w.problem("/unweighted", "lowest app id")
	w.problem("/x-canary", "another password")
	w.deploy(app("/x-canary", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "10"))
	w.expect("http://shop.test/", http.StatusOK, "/x-canary") // now and then
	counts := make(map[string]int)
	for range 300 {
		counts[w.do("http://shop.test/").header.Get("X-App")]++
	}
	if n := counts["/x-canary"]; n < 5 || n > 75 || counts["/stable"]+n != 300 {
		t.Errorf("shares are %v, want 270 to 30", counts)
	}
	w.deploy(app("/x-canary", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "0"))
	w.settled()
	for range 40 {
		if a := w.do("http://shop.test/"); a.header.Get("X-App") != "/stable" {
			t.Fatalf("status %d by %s, which has weight 0", a.status, a.header.Get("X-App"))
		}
	}
	w.accepted()
}
