package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"relay/certs/certstest"
	"relay/sources/marathon/marathontest"
)

const (
	// visitsPerSecond is how many requests the demo sends, and visitTimeout bounds each.
	visitsPerSecond = 10
	visitTimeout    = 5 * time.Second
	// newsEvery is how often the demo deploys a new version of /news.
	newsEvery = 20 * time.Second
)

// visits are the URLs that visitors ask for in turn: most find an app, one asks for an app
// that is suspended, and one for a domain that nobody has.
var visits = []string{
	"https://web.test/", "https://web.test/news", "http://web.test/", "https://shop.test/cart", "http://shop.test/",
	"https://ada.tenants.test/", "https://grace.tenants.test/", "http://news.test/", "http://blog.test/", "http://nobody.test/",
}

// visitors send a little traffic of the demo's own, and deploy an app now and then, so that
// the status page has something to show.
type visitors struct {
	client *http.Client
	// deploy deploys the next version of an app.
	deploy func(version int) error
	// away is set while nobody visits.
	away atomic.Bool
}

// newVisitors returns visitors that reach Envoy at these addresses.
func newVisitors(http, https string, ca *certstest.CA, m *marathontest.Server) *visitors {
	return &visitors{
		client: visitorClient(http, https, ca),
		deploy: func(version int) error {
			return m.Apply(fmt.Sprintf(newsApp, version))
		},
	}
}

// newsApp is the app that the demo itself deploys.
const newsApp = `{"id": "/news", "instances": 2, "cpus": 0.1, "mem": 64,
	"portDefinitions": [{"port": 0, "protocol": "tcp", "name": "http"}], "env": {"RELEASE": "%d"},
	"labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_VHOST": "news.test"}}`

func visitorClient(plain, tls string, ca *certstest.CA) *http.Client {
	return &http.Client{
		Timeout: visitTimeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				to := plain
				if _, port, err := net.SplitHostPort(address); err == nil && port == "443" {
					to = tls
				}
				return (&net.Dialer{}).DialContext(ctx, network, to)
			},
			TLSClientConfig: ca.ClientTLS(), MaxIdleConnsPerHost: 2,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// start lets them come, until the returned func is called.
func (v *visitors) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(time.Second / visitsPerSecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if !v.away.Load() {
				running.Go(func() { v.visit(ctx, visits[n%len(visits)]) })
			}
		}
	})
	running.Go(func() { v.deployNews(ctx) })
	return func() {
		cancel()
		running.Wait()
		v.client.CloseIdleConnections()
	}
}

// visit sends a request. What comes of it is for the status page to tell.
func (v *visitors) visit(ctx context.Context, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	req.Header.Set("User-Agent", "relay-demo")
	resp, err := v.client.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

func (v *visitors) deployNews(ctx context.Context) {
	ticker := time.NewTicker(newsEvery)
	defer ticker.Stop()
	for version := 2; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// While a deployment runs Marathon refuses the next one.
		if !v.away.Load() && v.deploy(version) == nil {
			version++
		}
	}
}

// control answers POST /traffic/off and /traffic/on.
func (v *visitors) control(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("wish") {
	case "off":
		v.away.Store(true)
		fmt.Fprintln(w, "the demo sends nothing and deploys nothing now")
	case "on":
		v.away.Store(false)
		fmt.Fprintln(w, "the demo sends "+strconv.Itoa(visitsPerSecond)+" requests a second, and deploys /news every "+newsEvery.String())
	default:
		http.Error(w, "post to /traffic/on or /traffic/off", http.StatusNotFound)
	}
}
