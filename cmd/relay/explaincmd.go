package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"relay/collator/explain"
	"relay/internal/files"
)

type explainCmd struct {
	Subject string `arg:"" name:"domain-or-app" help:"A domain, such as shop.test, an app id, such as /shop/web, or a TCP port, as tcp/5432."`
	JSON    bool   `name:"json" help:"Print the answer as JSON."`

	Admin     string        `default:"http://127.0.0.1:9090" placeholder:"URL" help:"The admin endpoint of a running Relay (default ${default})."`
	TokenFile string        `name:"admin-token-file" placeholder:"FILE" help:"File with the token that the endpoint asks for."`
	CA        string        `name:"admin-ca" placeholder:"FILE" help:"PEM file with the authorities trusted for the endpoint's certificate. Default: those of the system."`
	Cert      string        `name:"admin-client-cert" placeholder:"FILE" help:"PEM certificate (chain) to show to the endpoint."`
	Key       string        `name:"admin-client-key" placeholder:"FILE" help:"Its private key."`
	Timeout   time.Duration `name:"admin-timeout" default:"30s" help:"How long to wait for an answer."`
}

// maxExplanation bounds what is read of an answer.
const maxExplanation = 64 << 20

// Run asks a running Relay and prints what it says. Its status is 0 only if
// something is known of the subject.
func (c *explainCmd) Run(ctx context.Context, out streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	body, err := c.ask(ctx)
	if err != nil {
		return err
	}
	var e explain.Explanation
	if err := json.Unmarshal(body, &e); err != nil || e.Subject == "" {
		return fmt.Errorf("%s did not answer with an explanation: is it Relay's admin endpoint (--admin), with nothing behind host and port?", c.shown())
	}
	if c.JSON {
		_, err = out.out.Write(body)
	} else {
		e.WriteText(out.out)
	}
	if err == nil && !e.Known {
		return fmt.Errorf("nothing is known of %s", e.Subject)
	}
	return err
}

func (c *explainCmd) ask(ctx context.Context) ([]byte, error) {
	base, err := c.base()
	if err != nil {
		return nil, err
	}
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	base = base.JoinPath("/api/v1/explain")
	base.RawQuery = url.Values{"subject": {c.Subject}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base.String(), nil)
	if err != nil {
		return nil, err
	}
	if c.TokenFile != "" {
		token, err := files.Secret(c.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+string(token))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.notReached(err, base)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxExplanation))
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.shown(), err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNotFound:
		return body, nil
	}
	return nil, fmt.Errorf("%s answered %s: %.200s%s", c.shown(), resp.Status, strings.TrimSpace(string(body)), c.statusCure(resp.StatusCode, body))
}

// base reads the address, also in the form in which relay serve takes it.
func (c *explainCmd) base() (*url.URL, error) {
	address := c.Admin
	if !strings.Contains(address, "://") {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("--admin %q is neither a URL nor HOST:PORT", c.shown())
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		scheme := "http"
		if c.CA != "" || c.Cert != "" {
			scheme = "https"
		}
		address = scheme + "://" + net.JoinHostPort(host, port)
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("--admin %q is not a URL such as https://relay.example.com:9090", c.shown())
	}
	return base, nil
}

// shown is the address for messages: without what may be a password.
func (c *explainCmd) shown() string {
	if i := strings.LastIndexByte(c.Admin, '@'); i >= 0 {
		return "REDACTED" + c.Admin[i:]
	}
	return c.Admin
}

func (c *explainCmd) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pool, err := files.AuthorityPool(c.CA)
		if err != nil {
			return nil, fmt.Errorf("--admin-ca: %w", err)
		}
		config.RootCAs = pool
	}
	if (c.Cert == "") != (c.Key == "") {
		return nil, errors.New("--admin-client-cert and --admin-client-key go together")
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("--admin-client-cert: %w", files.PairCure(err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true},
		// A token is for the endpoint alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
