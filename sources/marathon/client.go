package marathon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const maxHops = 3

// statusError is an answer that is not the one asked for.
type statusError struct {
	code      int
	url       string // without credentials
	message   string
	cure      string // what else is known of it, for people
	anonymous bool   // no credentials were sent
	write     bool   // the request was to change something
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.url, e.code, http.StatusText(e.code))
	if e.message != "" {
		text += ": " + e.message
	}
	switch e.code {
	case http.StatusUnauthorized:
		if e.anonymous {
			text += " (no credentials were sent: give --marathon-user and --marathon-password-file, or --marathon-token-file)"
		} else {
			text += " (check the credentials for Marathon)"
		}
	case http.StatusForbidden:
		if e.write {
			text += " (these credentials may not change the app: give them the permission to update it)"
		} else {
			text += " (these credentials may not read this)"
		}
	case http.StatusNotFound:
		text += " (check the path of the Marathon URL: Marathon itself has none, DC/OS has /service/marathon)"
	}
	return text + e.cure
}

func hasStatus(err error, code int) bool {
	status, ok := errors.AsType[*statusError](err)
	return ok && status.code == code
}

// client makes requests to Marathon. It follows redirects itself: a standby
// redirects to the leader under the name that the leader advertises, and the
// credentials go there only if that host is one of ours.
type client struct {
	http    *http.Client
	servers []server
	trusted []string
	idle    time.Duration
	types   []string // of events
}

// newClient reads the credentials and certificates that cfg names.
func newClient(cfg Config) (*client, error) {
	common, err := newLogin(cfg)
	if err != nil {
		return nil, err
	}
	servers, err := parseServers(cfg.URLs, common)
	if err != nil {
		return nil, err
	}
	tlsSettings, err := tlsConfig(cfg)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	c := &client{
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           dialer.DialContext,
				TLSClientConfig:       tlsSettings,
				TLSHandshakeTimeout:   5 * time.Second,
				ResponseHeaderTimeout: cfg.HeaderTimeout,
				MaxIdleConnsPerHost:   cfg.MaxReads,
				IdleConnTimeout:       60 * time.Second,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		servers: servers,
		trusted: cfg.TrustedHosts,
		idle:    cfg.IdleTimeout,
		types:   subscribed,
	}
	if cfg.Pods {
		c.types = slices.Concat(subscribed, podEvents)
	}
	if account, ok := common.(*serviceAccount); ok {
		account.http = c.http
	}
	return c, nil
}

// target is where requests go: the base URL, and the configured server whose
// credentials are sent.
type target struct {
	base   *url.URL
	origin server
}

// open sends a GET for path below the base URL, follows redirects, and returns the
// answer and the target that gave it. Any status but 200 is an error. Reading the body
// fails when nothing comes for the idle timeout.
func (c *client) open(ctx context.Context, t target, path string, query url.Values, header http.Header) (*http.Response, target, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	u := *t.base
	u.Path += path
	u.RawQuery = query.Encode()
	for hop := 0; ; hop++ {
		resp, err := c.ask(ctx, outgoingRequest{http.MethodGet, &u, header, nil}, t.origin)
		if err != nil {
			cancel(nil)
			return nil, t, err
		}
		switch resp.StatusCode {
		case http.StatusOK:
			resp.Body = newIdleBody(resp.Body, c.idle, ctx, cancel)
			t.base = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, path)}
			return resp, t, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			next, err := redirect(resp, &u, path, hop)
			resp.Body.Close()
			if err != nil {
				cancel(nil)
				return nil, t, err
			}
			u = *next
		default:
			err := c.readStatus(resp, &u)
			cancel(nil)
			return nil, t, err
		}
	}
}

// ask makes one request, and a second one if the credentials were refused and the login
// has others, such as a new token.
func (c *client) ask(ctx context.Context, r outgoingRequest, origin server) (*http.Response, error) {
	who := c.credentials(r.url, origin)
	if who == nil {
		return c.do(ctx, r, "")
	}
	sent, err := who.authorization(ctx, "")
	if err != nil {
		return nil, err
	}
	resp, err := c.do(ctx, r, sent)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	other, err := who.authorization(ctx, sent)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	if other == sent {
		return resp, nil
	}
	resp.Body.Close()
	return c.do(ctx, r, other)
}

func (c *client) do(ctx context.Context, r outgoingRequest, authorization string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), r.reader())
	if err != nil {
		return nil, err
	}
	req.Header = r.header.Clone()
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.http.Do(req)
	if err != nil && context.Cause(ctx) != nil {
		return nil, context.Cause(ctx)
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return nil, fmt.Errorf("%s%s: %w", r.url.Host, r.url.Path, withCure(c.http, r.url, failed.Err))
	}
	return resp, err
}

// credentials returns the login for u, or nil if u must not get any. A configured server
// has its own. A trusted host gets that of origin, the server that was asked first, but
// never over http when origin was asked over https.
func (c *client) credentials(u *url.URL, origin server) login {
	if s, ok := c.configured(u); ok && s.login != nil {
		return s.login
	}
	if c.trusts(u) && (u.Scheme == "https" || origin.url.Scheme == "http") {
		return origin.login
	}
	return nil
}

// configured returns the server that u is, if it is one.
func (c *client) configured(u *url.URL) (server, bool) {
	for _, s := range c.servers {
		if s.url.Scheme == u.Scheme && hostPort(s.url) == hostPort(u) {
			return s, true
		}
	}
	return server{}, false
}

// trusts tells whether u is a configured server or on a trusted host.
func (c *client) trusts(u *url.URL) bool {
	if _, ok := c.configured(u); ok {
		return true
	}
	return slices.ContainsFunc(c.trusted, func(h string) bool {
		return strings.EqualFold(h, u.Hostname()) || strings.EqualFold(h, hostPort(u))
	})
}

func redirect(resp *http.Response, from *url.URL, path string, hop int) (*url.URL, error) {
	if hop >= maxHops {
		return nil, fmt.Errorf("%s: more than %d redirects: the Marathon masters do not agree who leads", withoutQuery(from), maxHops)
	}
	next, err := from.Parse(resp.Header.Get("Location"))
	if err != nil || next.Hostname() == "" || (next.Scheme != "http" && next.Scheme != "https") {
		return nil, fmt.Errorf("%s redirects to something that is not an http URL", withoutQuery(from))
	}
	if !strings.HasSuffix(next.Path, path) {
		return nil, fmt.Errorf("%s redirects to another path, %.80s on %s: a login page may be in between, see whether --marathon is the address of Marathon itself", withoutQuery(from), next.Path, next.Host)
	}
	return &url.URL{Scheme: next.Scheme, Host: next.Host, Path: next.Path, RawQuery: from.RawQuery}, nil
}

// withoutQuery shows a URL.
func withoutQuery(u *url.URL) string {
	shown := *u
	shown.RawQuery = ""
	return shown.Redacted()
}

func (c *client) readStatus(resp *http.Response, u *url.URL) error {
	defer resp.Body.Close()
	e := &statusError{code: resp.StatusCode, url: withoutQuery(u)}
	var body struct {
		Message string `json:"message"`
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // what came is enough
	e.cure = statusCure(resp.StatusCode, u, text) + proxyNote(c.http, u)
	e.anonymous = resp.Request.Header.Get("Authorization") == ""
	if json.NewDecoder(bytes.NewReader(text)).Decode(&body) == nil && !repeats(body.Message, resp.Request) {
		e.message = clip(body.Message)
	}
	return e
}

// repeats tells whether a message gives away the credentials of its request.
func repeats(message string, r *http.Request) bool {
	sent := r.Header.Get("Authorization")
	secrets := []string{sent, strings.TrimPrefix(strings.TrimPrefix(sent, "Basic "), "token=")}
	if _, password, ok := r.BasicAuth(); ok {
		secrets = append(secrets, password)
	}
	return slices.ContainsFunc(secrets, func(s string) bool { return s != "" && strings.Contains(message, s) })
}

// apps reads all apps and calls each for every one as it comes, and before it raw with the
// app as it is written, unless raw is nil. It fails unless the document is complete.
func (c *client) apps(ctx context.Context, t target, raw func(app []byte), each func(decoded) error) error {
	header := http.Header{"Accept": {"application/json"}}
	resp, _, err := c.open(ctx, t, "/v2/apps", url.Values{"embed": {"apps.tasks", "apps.readiness"}}, header)
	if err != nil {
		return fmt.Errorf("read all apps: %w", err)
	}
	defer resp.Body.Close()
	if err := decodeApps(resp.Body, raw, each); err != nil {
		return fmt.Errorf("read all apps from %s: %w", t.base, err)
	}
	return nil
}

// app reads one app. found is false when Marathon says that it does not exist.
func (c *client) app(ctx context.Context, t target, id string) (app decoded, found bool, err error) {
	if ambiguousID(id) {
		return c.listedApp(ctx, t, id)
	}
	_, app, found, err = c.single(ctx, t, id)
	return app, found, err
}

// single reads one app by its own path. from is the target that answered.
func (c *client) single(ctx context.Context, t target, id string) (from target, app decoded, found bool, err error) {
	header := http.Header{"Accept": {"application/json"}}
	resp, from, err := c.open(ctx, t, "/v2/apps"+id, url.Values{"embed": {"app.readiness"}}, header)
	if isMissing(err) {
		return from, decoded{}, false, nil
	}
	if err != nil {
		return from, decoded{}, false, fmt.Errorf("read app %s: %w", id, err)
	}
	defer resp.Body.Close()
	app, err = decodeOneApp(resp.Body)
	if err == nil && app.app.ID != id {
		err = fmt.Errorf("the answer is about %s", clip(app.app.ID))
	}
	if err != nil {
		return from, decoded{}, false, fmt.Errorf("read app %s from %s: %w", id, from.base, err)
	}
	return from, app, true, nil
}

// listedApp reads one app from the list, since the path of the app itself would be
// ambiguous. Marathon lists every app whose id contains the text, in any case.
func (c *client) listedApp(ctx context.Context, t target, id string) (app decoded, found bool, err error) {
	header := http.Header{"Accept": {"application/json"}}
	resp, _, err := c.open(ctx, t, "/v2/apps", url.Values{"id": {id}, "embed": {"apps.tasks", "apps.readiness"}}, header)
	if err == nil {
		defer resp.Body.Close()
		err = decodeApps(resp.Body, nil, func(one decoded) error {
			if one.app.ID == id {
				app, found = one, true
			}
			return nil
		})
	}
	if err != nil {
		return decoded{}, false, fmt.Errorf("read app %s from the list: %w", id, err)
	}
	return app, found, nil
}

var errIdle = errors.New("nothing was received for the idle timeout: the connection is dead")

// idleBody is a response body whose request is cancelled when nothing comes for the timeout.
type idleBody struct {
	io.ReadCloser
	timeout time.Duration
	timer   *time.Timer
	ctx     context.Context
	cancel  context.CancelCauseFunc
}

func newIdleBody(body io.ReadCloser, timeout time.Duration, ctx context.Context, cancel context.CancelCauseFunc) *idleBody {
	return &idleBody{
		ReadCloser: body, timeout: timeout, ctx: ctx, cancel: cancel,
		timer: time.AfterFunc(timeout, func() { cancel(errIdle) }),
	}
}

// Read implements io.Reader. The error says why the request was cancelled, if it was.
func (b *idleBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.timeout)
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && context.Cause(b.ctx) != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

// Close ends the request.
func (b *idleBody) Close() error {
	b.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
