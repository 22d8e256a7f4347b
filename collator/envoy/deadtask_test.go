package envoy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"relay/sources"
	"relay/xds/envoytest"
)

// parallel is how many clients send requests at a time.
const parallel = 16

// deadTask is an app with one instance that answers and one that refuses connections, as
// after a crash of which Marathon has not told yet.
func (e *realEnvoy) deadTask(id, domain string, change func(*sources.Port)) *sources.App {
	return changed(webApp(id, domain), func(p *sources.Port) {
		p.Endpoints = endpoints(e.reading(id), fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(e.t)))
		if change != nil {
			change(p)
		}
	})
}

// reading is an instance that reads the whole request before it answers, by HTTP/1 or HTTP/2.
func (e *realEnvoy) reading(name string) (address string) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "app %s\nbody %d\n", name, n)
		_ = r.Header.Write(w)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	e.t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// client keeps connections to the http listener, by HTTP/1 or HTTP/2.
func (e *realEnvoy) client(t testing.TB, http2 bool) *http.Client {
	transport := &http.Transport{
		MaxIdleConnsPerHost: parallel, Protocols: new(http.Protocols),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, e.fleet.HTTP.String())
		},
	}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// failures sends n requests in parallel and returns what did not get 200.
func failures(t *testing.T, client *http.Client, n int, request func(i int) *http.Request) map[string]int {
	t.Helper()
	failed := make(map[string]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	for range parallel {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				resp, err := client.Do(request(i).WithContext(t.Context()))
				what := fmt.Sprint(err)
				if err == nil {
					var body []byte
					body, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err == nil && resp.StatusCode == http.StatusOK {
						continue
					}
					what = fmt.Sprintf("status %d, %v, %.300s", resp.StatusCode, err, body)
				}
				mu.Lock()
				failed[what]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

func newRequest(t *testing.T, method, host string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+host+"/", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// nothingEjected has Envoy go on sending to tasks that it fails to connect to.
var nothingEjected = []string{"--config-yaml",
	`layered_runtime: {layers: [{name: test, static_layer: {outlier_detection.enforcing_consecutive_local_origin_failure: 0}}]}`}

// A request that did not reach a task is tried on another, however the tasks are picked, and
// however many requests are under way.
func TestDeadTaskCostsNoRequest(t *testing.T) {
	t.Parallel()
	// Else Envoy sends nothing to the dead task soon, and nothing is tried again.
	e := startEnvoyWith(t, envoytest.Options{Args: nothingEjected})
	balance := func(b sources.Balance) func(*sources.Port) {
		return func(p *sources.Port) { p.Upstream = &sources.Upstream{Balance: b} }
	}
	one := uint32(1)
	apps := []*sources.App{
		e.deadTask("/least", "least.test", nil),
		e.deadTask("/round", "round.test", balance(sources.BalanceRoundRobin)),
		e.deadTask("/random", "random.test", balance(sources.BalanceRandom)),
		e.deadTask("/hash", "hash.test", func(p *sources.Port) {
			p.Upstream = &sources.Upstream{Balance: sources.BalanceHash}
			p.HTTP = &sources.HTTP{Hash: &sources.Hash{By: sources.HashHeader, Name: "X-Key"}}
		}),
		e.deadTask("/sticky", "sticky.test", func(p *sources.Port) { p.HTTP = &sources.HTTP{Sticky: true} }),
		e.deadTask("/once", "once.test", func(p *sources.Port) { p.HTTP = &sources.HTTP{NumRetries: &one} }),
		e.deadTask("/h2", "h2.test", func(p *sources.Port) { p.Upstream = &sources.Upstream{HTTP2: true} }),
	}
	e.c.SyncCertificates("vault", nil, nil)
	e.c.SyncApps(apps)
	for _, app := range apps {
		e.eventually(t, request{host: app.Ports[0].Domains[0], path: "/"}, fromApp(app.ID))
	}
	for _, http2 := range []bool{false, true} {
		client := e.client(t, http2)
		// A client with HTTP/2 sends no more than its window before the task is found.
		body := []byte(strings.Repeat("x", 255<<10))
		if http2 {
			body = []byte(strings.Repeat("x", 4<<20))
		}
		for _, app := range apps {
			t.Run(fmt.Sprintf("%s HTTP2 %t", app.ID[1:], http2), func(t *testing.T) {
				for method, n := range map[string]int{http.MethodGet: 400, http.MethodPost: 40} {
					failed := failures(t, client, n, func(i int) *http.Request {
						r := newRequest(t, method, app.Ports[0].Domains[0], nil)
						if method == http.MethodPost {
							r = newRequest(t, method, app.Ports[0].Domains[0], body[:len(body)>>(i%8)])
						}
						r.Header.Set("X-Key", fmt.Sprint(i))
						return r
					})
					if len(failed) > 0 {
						t.Errorf("of %d requests by %s failed: %v", n, method, failed)
					}
				}
			})
		}
	}
}
