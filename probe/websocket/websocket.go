// Package websocket probes WebSockets: it opens one through a given Envoy, and expects to get back what it sends.
package websocket

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"relay/probe"
	"relay/probe/connect"
)

// The steps of a probe.
const (
	Connect = "connect"
	TLS     = "tls"
	Open    = "websocket"
	Echo    = "echo"
)

const (
	// maxMessage bounds a message that comes, maxMessages how many may come before the one that is waited for.
	maxMessage  = 64 << 10
	maxMessages = 16
	// maxRead bounds all that comes, in bytes, and maxPings the pings and pongs: frames that are no message are not counted otherwise.
	maxRead  = (maxMessages + 1) * maxMessage
	maxPings = 100
	// closes is how long the other side may take to say that it is the end, too.
	closes = time.Second
)

// Options are what a Prober is made of.
type Options struct {
	// Roots are the authorities of certificates; those of the system if it is nil.
	Roots func() (*x509.CertPool, error)
	// Place is the value of probe.Header.
	Place string
}

// Prober asks targets of the kind probe.WebSocket.
type Prober struct{ options Options }

// New returns a Prober.
func New(o Options) *Prober { return &Prober{o} }

// run is one probe.
type run struct {
	*Prober
	target probe.Target
	result *probe.Result
	conn   net.Conn
	socket *websocket.Conn
	// echoed tells that all is well: it is said that it is the end.
	echoed bool
}

// Probe opens a WebSocket, sends a text, and waits for it, or for what the target says.
func (p *Prober) Probe(ctx context.Context, t probe.Target) probe.Result {
	result := probe.Result{Target: t, Time: time.Now()}
	r := &run{Prober: p, target: t, result: &result}
	defer r.close()
	var steps connect.Steps
	steps.Do(ctx, Connect, 0, r.connect)
	if t.TLS {
		steps.Do(ctx, TLS, 0, r.handshake)
	}
	steps.Do(ctx, Open, 0, r.open)
	steps.Do(ctx, Echo, 0, r.echo)
	steps.Into(&result)
	if within := t.Ask.Within; result.OK && within > 0 && result.Duration > within {
		result.OK, result.Late, result.Reason = false, true, fmt.Sprintf("it took %s, more than %s", result.Duration.Round(time.Millisecond), within)
	}
	return result
}

func (r *run) close() {
	if r.echoed { // Close waits for the other side, which is no part of the probe
		defer time.AfterFunc(closes, func() { _ = r.conn.Close() }).Stop()
		_ = r.socket.Close(websocket.StatusNormalClosure, "")
	}
	if r.socket != nil {
		_ = r.socket.CloseNow()
	}
	if r.conn != nil {
		_ = r.conn.Close()
	}
}

func (r *run) connect(ctx context.Context) (err error) {
	r.conn, err = connect.Dial(ctx, r.target.Address, r.target.ProxyProtocol)
	return err
}

func (r *run) handshake(ctx context.Context) error {
	config := &tls.Config{ServerName: r.target.ServerName, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if r.options.Roots != nil {
		roots, err := r.options.Roots()
		if err != nil {
			return &connect.Words{Text: "the file of authorities cannot be used: " + err.Error()}
		}
		config.RootCAs = roots
	}
	secured, err := connect.Handshake(ctx, r.conn, config)
	r.result.Answered = connect.Shown(err)
	if err != nil {
		return err
	}
	r.conn, r.result.Answered = secured, true
	r.result.CertificateExpires = connect.Expires(secured.ConnectionState())
	return nil
}

func (r *run) open(ctx context.Context) error {
	// The connection is there, and TLS is done: the client has to think that there is none.
	came := &bounded{Conn: r.conn}
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return came, nil },
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxMessage,
	}
	path := r.target.Ask.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	r.result.RequestID = connect.NewRequestID()
	socket, resp, err := websocket.Dial(ctx, "ws://"+r.target.Domain+path, &websocket.DialOptions{
		HTTPClient:     &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader:     http.Header{"User-Agent": {probe.Agent}, probe.Header: {r.options.Place}, connect.RequestID: {r.result.RequestID}},
		OnPingReceived: func(context.Context, []byte) bool { return came.ping() },
		OnPongReceived: func(context.Context, []byte) { came.ping() },
	})
	var refused error
	if resp != nil {
		refused = connect.Answer(r.result, resp)
	}
	switch {
	case err == nil:
		socket.SetReadLimit(maxMessage)
		r.socket = socket
		return nil
	case refused != nil:
		return refused
	case r.result.Status == http.StatusSwitchingProtocols:
		return &connect.Words{Text: "the app's answer is no valid one to a WebSocket"}
	case r.result.Status != 0:
		return &connect.Words{Text: fmt.Sprintf("the app answers %d, and opens no WebSocket", r.result.Status)}
	}
	return err
}

func (r *run) echo(ctx context.Context) error {
	var b [8]byte
	_, _ = rand.Read(b[:])
	text := "relay-probe " + hex.EncodeToString(b[:])
	if err := r.socket.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return closed(err)
	}
	wanted := text
	if r.target.Ask.Contains != "" {
		wanted = r.target.Ask.Contains
	}
	for n := range maxMessages {
		_, message, err := r.socket.Read(ctx)
		switch {
		case err != nil && n > 0 && ctx.Err() != nil:
			return &connect.Words{Text: fmt.Sprintf("%d messages came in time, none of them what was sent", n)}
		case err != nil:
			return closed(err)
		case strings.Contains(string(message), wanted):
			r.echoed = true
			return nil
		}
	}
	return &connect.Words{Text: fmt.Sprintf("%d messages came, none of them what was sent", maxMessages)}
}

// bounded is a connection of which no more is read than there may come.
type bounded struct {
	net.Conn
	bytes, pings int
}

// Read implements net.Conn.
func (b *bounded) Read(to []byte) (int, error) {
	switch {
	case b.bytes >= maxRead:
		return 0, &connect.Words{Text: fmt.Sprintf("more than %d kB came", maxRead>>10)}
	case b.pings > maxPings:
		return 0, &connect.Words{Text: fmt.Sprintf("more than %d pings came", maxPings)}
	}
	n, err := b.Conn.Read(to[:min(len(to), maxRead-b.bytes)])
	b.bytes += n
	return n, err
}

// ping counts a ping or pong, and reports whether it is to be answered. The one who reads calls it.
func (b *bounded) ping() bool {
	b.pings++
	return b.pings <= maxPings
}

// closed says with which code the other side closed the WebSocket, if it has.
func closed(err error) error {
	if code := websocket.CloseStatus(err); code != -1 {
		return &connect.Words{Text: fmt.Sprintf("the WebSocket was closed with %d", code)}
	}
	return err
}
