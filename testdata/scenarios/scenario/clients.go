package scenario

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Client returns an HTTP client that reaches Envoy whatever the URL says, trusts the certificates,
// keeps cookies, and follows no redirect. It ends with the run.
func (r *Run) Client() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := r.http
			if strings.HasSuffix(address, ":443") {
				to = r.https
			}
			return dialer.DialContext(ctx, network, to)
		},
		TLSClientConfig: r.CA.ClientTLS(), MaxIdleConnsPerHost: 4, IdleConnTimeout: 10 * time.Second,
	}
	context.AfterFunc(r.ctx, transport.CloseIdleConnections)
	jar, _ := cookiejar.New(nil) // never fails
	return &http.Client{
		Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Ask sends a request, counts it in the figures, and reads the answer. A status of 500 or more is
// an error, with the answer.
func (r *Run) Ask(ctx context.Context, client *http.Client, method, url, body string, headers ...string) (Answer, error) {
	start := time.Now()
	a, err := ask(ctx, client, method, url, body, headers)
	if ctx.Err() == nil {
		r.Figures.Request(time.Since(start), err)
	}
	return a, err
}

func ask(ctx context.Context, client *http.Client, method, url, body string, headers []string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	a := Answer{resp.StatusCode, resp.Header, string(text)}
	if err == nil && a.Status >= http.StatusInternalServerError {
		err = fmt.Errorf("%s %s: %s: %.200s", method, url, resp.Status, text)
	}
	return a, err
}

// WebSocket opens a WebSocket by a client, such as to wss://gps.test/live.
func (r *Run) WebSocket(ctx context.Context, client *http.Client, url string, protocols ...string) (*websocket.Conn, error) {
	opening, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, resp, err := websocket.Dial(opening, url, &websocket.DialOptions{HTTPClient: client, Subprotocols: protocols})
	if err != nil && resp != nil {
		err = fmt.Errorf("%s: %w", resp.Status, err)
	}
	return conn, err
}

// HTTPS is the address by which Envoy takes HTTPS.
func (r *Run) HTTPS() string { return r.https }

// Port is the address where Envoy opens a TCP service.
func (r *Run) Port(name string) string { return net.JoinHostPort("127.0.0.1", r.ports[name]) }
