package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// clients are those of Envoy by HTTP.
type clients struct {
	t     *testing.T
	certs *certificates
	// http and https are where Envoy listens.
	http, https string
	// fresh has each request of a load come by a connection of its own.
	fresh bool
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
	tls    []string // names of the server's certificate
	serial string
}

func (a answer) task() string { return a.header.Get("X-Task") }

func ok(a answer) error {
	if a.status != http.StatusOK {
		return fmt.Errorf("status %d, body %.200q", a.status, a.body)
	}
	return nil
}

// client connects to Envoy whatever the URL says, and follows no redirect.
func (c *clients) client(keepAlive bool) *http.Client {
	dialer := &net.Dialer{Timeout: patience}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := c.http
			if strings.HasSuffix(address, ":443") {
				to = c.https
			}
			return dialer.DialContext(ctx, network, to)
		},
		TLSClientConfig: c.certs.ca.ClientTLS(), DisableKeepAlives: !keepAlive, ForceAttemptHTTP2: true,
	}
	c.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get asks Envoy for a URL; its host decides the route, not where it connects.
func (c *clients) get(client *http.Client, url, host string) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	if host != "" {
		req.Host = host
	}
	return c.ask(client, req)
}

func (c *clients) ask(client *http.Client, req *http.Request) (answer, error) {
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	if resp.TLS != nil {
		a.tls, a.serial = resp.TLS.PeerCertificates[0].DNSNames, resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	return a, err
}

// do sends a request with header lines.
func (c *clients) do(url string, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	a, err := c.ask(c.client(false), req)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// expect waits until a URL is answered by this status and, if given, app.
func (c *clients) expect(url string, status int, app string) answer {
	c.t.Helper()
	var last answer
	client := c.client(false)
	eventually(c.t, "GET "+url, func() error {
		a, err := c.get(client, url, "")
		if err != nil {
			return err
		}
		last = a
		if got := a.header.Get("X-App"); a.status != status || got != app {
			return fmt.Errorf("status %d by app %q, want %d by %q; body %.200q", a.status, got, status, app, a.body)
		}
		return nil
	})
	return last
}

// tasks waits until requests are answered by exactly these many different
// tasks of the app, all of this version if given.
func (c *clients) tasks(url string, want int, version string) {
	c.t.Helper()
	client := c.client(false)
	eventually(c.t, fmt.Sprintf("%s answered by %d tasks of version %q", url, want, version), func() error {
		seen := make(map[string]bool)
		for range 20 * want {
			a, err := c.get(client, url, "")
			if err != nil || a.status != http.StatusOK {
				return fmt.Errorf("status %d, %v", a.status, err)
			}
			if version != "" && a.header.Get("X-Version") != version {
				return fmt.Errorf("answered by version %s", a.header.Get("X-Version"))
			}
			seen[a.task()] = true
		}
		if len(seen) != want {
			return fmt.Errorf("answered by %d tasks", len(seen))
		}
		return nil
	})
}

// tasksOf counts the tasks that answer n requests made by next.
func (c *clients) tasksOf(n int, next func(i int) (url string, header []string)) map[string]int {
	c.t.Helper()
	tasks := make(map[string]int)
	for i := range n {
		url, header := next(i)
		a := c.do(url, header...)
		if a.status != http.StatusOK {
			c.t.Fatalf("%s: status %d, %.200q", url, a.status, a.body)
		}
		tasks[a.task()]++
	}
	return tasks
}

// serves waits until exactly these tasks answer.
func (c *clients) serves(domain string, tasks ...string) {
	c.t.Helper()
	slices.Sort(tasks)
	want := strings.Join(tasks, " ")
	client := c.client(false)
	eventually(c.t, domain+" is served by "+want, func() error {
		seen := make(map[string]bool)
		for range 30 {
			a, err := c.get(client, "http://"+domain+"/", "")
			if err != nil {
				return err
			}
			seen[a.task()] = true
		}
		if got := strings.Join(slices.Sorted(maps.Keys(seen)), " "); got != want {
			return fmt.Errorf("it is served by %s", got)
		}
		return nil
	})
}

// renewed waits until the certificate of a URL is another one than before.
func (c *clients) renewed(url, before string) string {
	c.t.Helper()
	var serial string
	client := c.client(false)
	eventually(c.t, "a renewed certificate", func() error {
		a, err := c.get(client, url, "")
		if err != nil {
			return err
		}
		if serial = a.serial; serial == before {
			return fmt.Errorf("still the old one")
		}
		return nil
	})
	return serial
}

func (c *clients) echoed(a answer) echoed {
	c.t.Helper()
	var e echoed
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		c.t.Fatalf("%v: %q", err, a.body)
	}
	return e
}

// echo opens a WebSocket through Envoy.
func (c *clients) echo(url string) *websocket.Conn {
	c.t.Helper()
	return c.echoBy(c.client(false), url)
}

func (c *clients) echoBy(client *http.Client, url string) *websocket.Conn {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.CloseNow() })
	c.says(conn, "hello")
	return conn
}

// says fails the test unless the WebSocket echoes.
func (c *clients) says(conn *websocket.Conn, text string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("WebSocket: %v", err)
	}
	if _, got, err := conn.Read(ctx); err != nil || string(got) != text {
		c.t.Fatalf("WebSocket echoed %q, %v; want %q", got, err, text)
	}
}

// echoed is what a task of the simulated Marathon says about a request.
type echoed struct {
	Request string      `json:"request"`
	Host    string      `json:"host"`
	Headers http.Header `json:"headers"`
}

// all fails the test unless all tasks of an app answered.
func all(t *testing.T, what string, tasks map[string]int, n int) {
	t.Helper()
	if len(tasks) != n {
		t.Errorf("%s: %d tasks answered, want %d: %v", what, len(tasks), n, tasks)
	}
}
