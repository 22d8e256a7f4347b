// Package client asks the admin endpoint of a running Relay: for the commands that people
// type, and for whatever else reads its JSON. It has one place for the address, the token
// and the certificates, and errors that say what was tried, on what, and what to do.
package client

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

	"relay/internal/files"
	"relay/internal/secret"
)

// What is used where Settings say nothing.
const (
	DefaultAddress = "http://127.0.0.1:9090"
	DefaultTimeout = 30 * time.Second
)

// maxAnswer bounds what is read of one answer that is not streamed, in bytes.
const maxAnswer = 64 << 20

// Settings say which Relay is asked, and how. Empty fields are the defaults.
type Settings struct {
	// Address is a URL, or HOST:PORT as relay serve takes it.
	Address string
	// TokenFile holds the token that the endpoint asks for.
	TokenFile string
	// CA is a PEM file with the authorities trusted for the endpoint's certificate.
	CA string
	// Cert and Key are PEM files with what is shown to the endpoint.
	Cert, Key string
	// Timeout is how long an answer may take; of a stream, its head.
	Timeout time.Duration
}

// Client asks one Relay. Its methods may be called from several goroutines at once.
type Client struct {
	settings Settings
	base     *url.URL
	http     *http.Client
	token    secret.String
	// silence and pause are those of events.go; tests have others.
	silence time.Duration
	pause   func(context.Context, time.Duration) error
}

// New reads the files that the settings name. Its errors are of the kind Usage.
func New(settings Settings) (*Client, error) {
	if settings.Address == "" {
		settings.Address = DefaultAddress
	}
	if settings.Timeout <= 0 {
		settings.Timeout = DefaultTimeout
	}
	c := &Client{settings: settings, silence: silence, pause: pause}
	var err error
	if c.base, err = settings.base(); err != nil {
		return nil, &Error{Kind: Usage, err: err}
	}
	if settings.TokenFile != "" {
		if c.token, err = files.Secret(settings.TokenFile); err != nil {
			return nil, &Error{Kind: Usage, err: fmt.Errorf("--admin-token-file: %w", err)}
		}
	}
	config, err := settings.tls()
	if err != nil {
		return nil, &Error{Kind: Usage, err: err}
	}
	c.http = &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true},
		// A token is for the endpoint alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close ends connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Address is that of the endpoint, for messages: without what may be a password.
func (c *Client) Address() string { return c.settings.shown() }

// Answer is what the endpoint says: 200, or 404 with a reason.
type Answer struct {
	Found bool
	Body  []byte
}

// Get asks for what is below /api/v1/, such as "apps", and returns the whole answer. A path
// that this Relay does not have is an error.
func (c *Client) Get(ctx context.Context, path string, query url.Values) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.settings.Timeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, path, query, http.Header{})
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return Answer{}, c.failed(ctx, fmt.Errorf("the answer of Relay at %s broke off: %w", c.Address(), err))
	case len(body) > maxAnswer:
		return Answer{}, &Error{Kind: Failed, err: fmt.Errorf("the answer of Relay at %s has more than %d bytes: ask for less, such as by --limit", c.Address(), maxAnswer)}
	}
	return c.answer(resp, path, body)
}

// answer judges one that was read.
func (c *Client) answer(resp *http.Response, path string, body []byte) (Answer, error) {
	switch {
	case resp.StatusCode == http.StatusOK && isJSON(resp, body):
		return Answer{Found: true, Body: body}, nil
	case resp.StatusCode == http.StatusOK:
		return Answer{}, c.notRelay()
	case resp.StatusCode == http.StatusNotFound && isJSON(resp, body) && ofRelay(body):
		if reason := reasonIn(body); strings.HasPrefix(reason, noSuchPath) {
			return Answer{}, c.tooOld(path)
		}
		return Answer{Body: body}, nil
	}
	return Answer{}, c.refused(resp, body)
}

func isJSON(resp *http.Response, body []byte) bool {
	return strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && json.Valid(body)
}

// ofRelay tells whether a 404 is of Relay: one of the API says why, and one of an
// explanation has its subject.
func ofRelay(body []byte) bool {
	var answer struct{ Error, Subject string }
	return json.Unmarshal(body, &answer) == nil && answer.Error+answer.Subject != ""
}

// Stream asks for what is below /api/v1/ and returns the body, which goes on until the
// context ends or it is closed. Its type is the one that the header accepts, or else JSON. The
// time-out is for its head alone.
func (c *Client) Stream(ctx context.Context, path string, query url.Values, header http.Header) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	head := time.AfterFunc(c.settings.Timeout, cancel)
	resp, err := c.do(ctx, http.MethodGet, path, query, header)
	if err == nil && !head.Stop() {
		_ = resp.Body.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		late := ctx.Err() != nil
		cancel()
		if late {
			err = c.late(err)
		}
		return nil, err
	}
	want := orElse(header.Get("Accept"), "application/json")
	if resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), want) {
		return &stream{resp.Body, cancel, c}, nil
	}
	defer cancel()
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return nil, c.notRelay()
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	answer, err := c.answer(resp, path, body)
	if err == nil {
		err = &Error{Kind: NotFound, err: errors.New(orElse(reasonIn(answer.Body), "not found"))}
	}
	return nil, err
}

// stream is a body whose request ends with it.
type stream struct {
	io.ReadCloser
	cancel context.CancelFunc
	client *Client
}

// Read implements io.Reader. Its error says whose answer broke off.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, context.Canceled) {
		err = &Error{Kind: Unreachable, err: fmt.Errorf("the answer of Relay at %s broke off: %w", s.client.Address(), err)}
	}
	return n, err
}

// Close ends the request.
func (s *stream) Close() error {
	s.cancel()
	return s.ReadCloser.Close()
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, header http.Header) (*http.Response, error) {
	target := c.base.JoinPath("/api/v1/", path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), nil)
	if err != nil {
		return nil, &Error{Kind: Usage, err: fmt.Errorf("%q cannot be asked for", path)}
	}
	req.Header = header
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+string(c.token))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.notReached(ctx, err)
	}
	return resp, nil
}

// PathOf is the part of a path for an id that may have anything in it, such as "/shop/web".
func PathOf(kind, id string) string {
	parts := strings.Split(strings.TrimPrefix(id, "/"), "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return kind + "/" + strings.Join(parts, "/")
}

// base reads the address, also in the form in which relay serve takes it.
func (s Settings) base() (*url.URL, error) {
	address := s.Address
	if !strings.Contains(address, "://") {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("--admin %q is neither a URL nor HOST:PORT", s.shown())
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		scheme := "http"
		if s.CA != "" || s.Cert != "" {
			scheme = "https"
		}
		address = scheme + "://" + net.JoinHostPort(host, port)
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("--admin %q is not a URL such as https://relay.example.com:9090", s.shown())
	}
	return base, nil
}

// shown is the address for messages: without what may be a password.
func (s Settings) shown() string {
	if i := strings.LastIndexByte(s.Address, '@'); i >= 0 {
		return "REDACTED" + s.Address[i:]
	}
	return s.Address
}

func (s Settings) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		pool, err := files.AuthorityPool(s.CA)
		if err != nil {
			return nil, fmt.Errorf("--admin-ca: %w", err)
		}
		config.RootCAs = pool
	}
	if (s.Cert == "") != (s.Key == "") {
		return nil, errors.New("--admin-client-cert and --admin-client-key go together")
	}
	if s.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
		if err != nil {
			return nil, fmt.Errorf("--admin-client-cert: %w", files.PairCure(err))
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
