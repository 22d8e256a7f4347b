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
	w.marathon.deploy(
		app("/timeout", "timeout.test", 1, "RELAY_0_TIMEOUT", "100ms"),
		app("/idle", "idle.test", 1, "RELAY_0_IDLE_TIMEOUT", "100ms"),
		app("/none", "none.test", 1, "RELAY_0_TIMEOUT", "0s", "RELAY_0_IDLE_TIMEOUT", "never"),
	)
	host, port := fullListener(t)
	w.marathon.rawApp("/connect", "connect.test", host, port, "RELAY_0_CONNECT_TIMEOUT", "50ms", "RELAY_0_NUM_RETRIES", "0")
	for _, name := range []string{"timeout", "idle", "none"} {
		w.clients.expect("http://"+name+".test/", http.StatusOK, "/"+name)
	}
	w.clients.expect("http://timeout.test/slow?ms=5000", http.StatusGatewayTimeout, "")
	w.clients.expect("http://idle.test/slow?ms=5000", http.StatusGatewayTimeout, "")
	w.clients.expect("http://none.test/slow?ms=300", http.StatusOK, "/none")
	// Something moves all the time: it is not idle.
	w.clients.expect("http://idle.test/stream?n=10&ms=30", http.StatusOK, "/idle")
	w.eventually("connecting is given up", func() error {
		start := time.Now()
		a := w.clients.do("http://connect.test/")
		if took := time.Since(start); a.status != http.StatusBadGateway || took > time.Second {
			return fmt.Errorf("status %d after %s", a.status, took)
		}
		return nil
	})
	w.admin.problem("/none", "write a duration")
	w.envoy.accepted()
}

func TestRetryLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	failing := func(id string, labels ...string) *atomic.Int64 {
		var asked atomic.Int64
		w.marathon.backend("/"+id, id+".test", httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
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
		w.clients.expect("http://"+id+".test/", http.StatusServiceUnavailable, "")
		w.eventually(id+" is asked", func() error {
			before := asked.Load()
			w.clients.do("http://" + id + ".test/")
			if n := asked.Load() - before; n != want.asked {
				return fmt.Errorf("%d times, want %d", n, want.asked)
			}
			return nil
		})
	}
	w.envoy.accepted()
}

func TestLimitLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(
		app("/requests", "requests.test", 1, "RELAY_0_MAX_REQUESTS", "1", "RELAY_0_NUM_RETRIES", "0"),
		app("/pending", "pending.test", 1, "RELAY_0_MAX_CONNECTIONS", "1", "RELAY_0_MAX_PENDING_REQUESTS", "1", "RELAY_0_NUM_RETRIES", "0"),
		app("/free", "free.test", 1),
	)
	for _, name := range []string{"requests", "pending", "free"} {
		w.clients.expect("http://"+name+".test/", http.StatusOK, "/"+name)
		refused := atOnce(w, 12, "http://"+name+".test/slow?ms=300")
		if name == "free" && refused != 0 || name != "free" && refused == 0 {
			t.Errorf("%s: %d of 12 requests at once were refused", name, refused)
		}
	}
	w.envoy.accepted()
}

// atOnce returns how many of n requests got 503.
func atOnce(w *world, n int, url string) int {
	w.t.Helper()
	client := w.clients.client(true)
	var wg sync.WaitGroup
	var refused atomic.Int64
	for range n {
		wg.Go(func() {
			a, err := w.clients.get(client, url, "")
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
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
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
func serveTLS(w *world, id string, labels ...string) {
	w.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-App", "/"+id)
		fmt.Fprintf(rw, "%s %s", r.Proto, r.TLS.ServerName)
	}))
	s.EnableHTTP2 = true
	config, err := w.certs.ca.TestIssue(w.t, []string{"app.internal"}, certstest.Options{}).ServerTLS()
	if err != nil {
		w.t.Fatal(err)
	}
	s.TLS = config
	s.StartTLS()
	w.marathon.backend("/"+id, id+".test", s, append(labels, "RELAY_0_TLS", "true")...)
}

func TestUpstreamTLSLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	serveTLS(w, "sni", "RELAY_0_TLS_VERIFY", "false", "RELAY_0_TLS_SNI", "app.internal")
	serveTLS(w, "host", "RELAY_0_TLS_VERIFY", "false")
	serveTLS(w, "h2", "RELAY_0_TLS_VERIFY", "false", "RELAY_0_HTTP2", "true")
	serveTLS(w, "unverified")
	for id, want := range map[string]string{"sni": "HTTP/1.1 app.internal", "host": "HTTP/1.1 host.test", "h2": "HTTP/2.0 h2.test"} {
		if a := w.clients.expect("http://"+id+".test/", http.StatusOK, "/"+id); a.body != want {
			t.Errorf("%s: the app sees %q, want %q", id, a.body, want)
		}
	}
	w.clients.expect("http://unverified.test/", http.StatusForbidden, "")
	w.admin.problem("/unverified", "authorities")
	w.envoy.accepted()
}

func TestUpstreamVerificationLabels(t *testing.T) {
	w := newWorld(t)
	w.relay.fleet.UpstreamCA = w.certs.ca.RootPEM()
	w.start()
	serveTLS(w, "right", "RELAY_0_TLS_SNI", "app.internal")
	serveTLS(w, "wrong", "RELAY_0_TLS_SNI", "other.internal")
	w.clients.expect("http://right.test/", http.StatusOK, "/right")
	w.clients.expect("http://wrong.test/", http.StatusBadGateway, "")
	w.envoy.accepted()
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
	w.marathon.backend("/h2c", "h2c.test", s, "RELAY_0_HTTP2", "true")
	if a := w.clients.expect("http://h2c.test/", http.StatusOK, "/h2c"); a.body != "HTTP/2.0" {
		t.Errorf("the app sees %s", a.body)
	}
	w.envoy.accepted()
}

func TestHeaderLabels(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.marathon.deploy(app("/headers", "headers.test", 1,
		"RELAY_0_REQUEST_HEADERS_TO_ADD", "X-Added: 100% %ENVIRONMENT(HOME)%\nX-Spoofed: no\nHost: other.test",
		"RELAY_0_REQUEST_HEADERS_TO_REMOVE", "X-Secret",
		"RELAY_0_RESPONSE_HEADERS_TO_ADD", "X-Frame-Options: DENY",
		"RELAY_0_RESPONSE_HEADERS_TO_REMOVE", "X-Version"))
	w.clients.expect("http://headers.test/", http.StatusOK, "/headers")
	a := w.clients.do("http://headers.test/", "X-Spoofed", "yes", "X-Secret", "s")
	seen := w.clients.echoed(a)
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
	w.admin.problem("/headers", "not for apps to change")
	w.envoy.accepted()
}

func TestProxyProtocolLabel(t *testing.T) {
	w := newWorld(t)
	w.start()
	for version, signature := range map[string]string{"v1": "PROXY TCP4 127.0.0.1 127.0.0.1 ", "v2": "\r\n\r\n\x00\r\nQUIT\n"} {
		host, port := serveAfter(t, signature, "/"+version)
		w.marathon.rawApp("/"+version, version+".test", host, port, "RELAY_0_PROXY_PROTOCOL", strings.ToUpper(version))
		w.clients.expect("http://"+version+".test/", http.StatusOK, "/"+version)
	}
	w.envoy.accepted()
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
	w.marathon.deploy(
		app("/stable", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "90"),
		app("/unweighted", "shop.test", 1),
		app("/x-canary", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "10", "HAPROXY_0_AUTH", "r:joe:"+passwordHash),
	)
	w.clients.expect("http://shop.test/", http.StatusOK, "/stable")
	w.admin.problem("/unweighted", "lowest app id")
	w.admin.problem("/x-canary", "another password")
	w.marathon.deploy(app("/x-canary", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "10"))
	w.clients.expect("http://shop.test/", http.StatusOK, "/x-canary") // now and then
	counts := make(map[string]int)
	for range 300 {
		counts[w.clients.do("http://shop.test/").header.Get("X-App")]++
	}
	if n := counts["/x-canary"]; n < 5 || n > 75 || counts["/stable"]+n != 300 {
		t.Errorf("shares are %v, want 270 to 30", counts)
	}
	w.marathon.deploy(app("/x-canary", "shop.test", 1, "RELAY_0_CLUSTER_WEIGHT", "0"))
	w.upToDate()
	for range 40 {
		if a := w.clients.do("http://shop.test/"); a.header.Get("X-App") != "/stable" {
			t.Fatalf("status %d by %s, which has weight 0", a.status, a.header.Get("X-App"))
		}
	}
	w.envoy.accepted()
}
