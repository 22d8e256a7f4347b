package device

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"relay/probe"
	"relay/probe/connect"
)

// maxBody bounds what is read of an answer.
const maxBody = 64 << 10

// request asks the agent by HTTP, through the same Envoy.
func (r *run) request(ctx context.Context, to *probe.DeviceRequest) error {
	req, err := r.newRequest(ctx, to)
	if err != nil {
		return err
	}
	transport, err := r.transport(req.URL)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := connect.Answer(r.result, resp); err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	switch {
	case !expects(to.Status, resp.StatusCode):
		return &connect.Words{Text: fmt.Sprintf("the agent answers %d", resp.StatusCode)}
	case err != nil:
		return err
	case to.Expect == "":
		return nil
	}
	wanted, err := probe.DeviceExpectation(to.Expect, r.values)
	if err == nil && !wanted.Match(body) {
		err = &connect.Words{Text: "the agent's answer does not fit: " + r.values.shown(body) + foreign(to.Expect, body)}
	}
	return err
}

func expects(wanted []int, status int) bool {
	if len(wanted) == 0 {
		return status >= 200 && status < 300
	}
	return slices.Contains(wanted, status)
}

func (r *run) newRequest(ctx context.Context, to *probe.DeviceRequest) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, to.Method, r.values.fill(to.URL, forURL), strings.NewReader(r.values.fill(to.Body, asItIs)))
	if err != nil {
		return nil, &connect.Words{Text: "the request of the settings cannot be made"}
	}
	for name, value := range to.Headers {
		req.Header.Set(name, r.values.fill(value, asItIs))
		if strings.EqualFold(name, "Host") {
			req.Host = req.Header.Get(name)
		}
	}
	req.Header.Set("User-Agent", probe.Agent)
	req.Header.Set(probe.Header, r.options.Place)
	r.result.RequestID = connect.NewRequestID()
	req.Header.Set(connect.RequestID, r.result.RequestID)
	return req, nil
}

// transport connects to the Envoy of the target, whatever the URL says but for the port.
func (r *run) transport(u *url.URL) (*http.Transport, error) {
	address := r.target.HTTPSAddress
	if u.Scheme != "https" || u.Port() != "" || address == "" {
		host, _, err := net.SplitHostPort(r.target.Address)
		if err != nil {
			return nil, err
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		address = net.JoinHostPort(host, port)
	}
	roots, err := r.roots("")
	if err != nil {
		return nil, &connect.Words{Text: "the file of authorities cannot be used: " + err.Error()}
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return connect.Dial(ctx, address, r.target.HTTPSProxyProtocol)
		},
		// The device shows its certificate here too, to an edge that wants one.
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, GetClientCertificate: r.tls.GetClientCertificate},
		DisableKeepAlives: true, MaxResponseHeaderBytes: maxBody,
	}, nil
}

// call has the agent call the probe, and waits for that.
func (r *run) call(ctx context.Context) error {
	select {
	case <-r.callbacks.up: // soon, of a probe that has just begun
	case <-ctx.Done():
	}
	if !r.callbacks.serving.Load() {
		return &connect.Words{Text: "the probe's own address is not served: see its log"}
	}
	url, called, forget := r.callbacks.expect()
	defer forget()
	r.values["callback"], r.values["token"] = url, path.Base(url)
	before := r.callbacks.unknown.Load()
	defer r.until(ctx)()
	// Also an agent that has called is let answer, so that it sees no client that goes away.
	err := r.send(ctx, r.HTTPFromAgent)
	if err == nil {
		select {
		case <-called:
		case <-ctx.Done():
		}
	}
	select {
	case <-called:
		return nil
	default:
	}
	if err != nil {
		return &connect.Words{Text: "no call came, and to the request for it " + connect.Say(err)}
	}
	text := "no call came from the agent within " + r.Limits.HTTPFromAgent.String()
	if n := r.callbacks.unknown.Load() - before; n > 0 {
		text += fmt.Sprintf(", but %d to paths that nobody waits for", n)
	}
	return &connect.Words{Text: text}
}
