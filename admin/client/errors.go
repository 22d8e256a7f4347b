package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"relay/internal/terminal"
)

// Kind says what an Error is about, and so which status a command ends with.
type Kind int

// The kinds.
const (
	// Failed is an answer that is an error.
	Failed Kind = iota
	// Usage is a setting that cannot be used.
	Usage
	// Unreachable is that no Relay answered.
	Unreachable
	// Denied is that Relay does not let this client in.
	Denied
	// NotFound is that Relay does not know what was asked for.
	NotFound
	// TooOld is that this Relay does not have the path.
	TooOld
)

// Error is what went wrong with a request. Its text says what was tried, on what, and what
// to do, and has neither a password nor a token in it.
type Error struct {
	Kind Kind
	err  error
}

// Error implements error.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// KindOf returns the kind of an error of this package; Failed for others.
func KindOf(err error) Kind {
	if own, ok := errors.AsType[*Error](err); ok {
		return own.Kind
	}
	return Failed
}

// noSuchPath begins what a Relay answers for a path that it does not have.
const noSuchPath = "nothing at "

// reasonIn returns what an answer that is an error says.
func reasonIn(body []byte) string {
	var answer struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(body, &answer)
	return answer.Error
}

// Reason is what a 404 of Relay says.
func (a Answer) Reason() string { return orElse(reasonIn(a.Body), "not found") }

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func (c *Client) tooOld(path string) error {
	return &Error{Kind: TooOld, err: fmt.Errorf("the Relay at %s has no /api/v1/%s: it is older than this command. Upgrade it, or use the relay of its own version", c.Address(), path)}
}

func (c *Client) notRelay() error {
	return &Error{Kind: Unreachable, err: fmt.Errorf("%s did not answer as Relay does: is it Relay's admin endpoint (--admin), with nothing behind host and port?", c.Address())}
}

// notReached is the error of a request that got no answer, with what to do. It is without the
// URL, which may hold a password.
func (c *Client) notReached(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	return &Error{Kind: Unreachable, err: fmt.Errorf("cannot ask Relay at %s (--admin): %w%s", c.Address(), err, c.cure(err))}
}

// cure says what to do about a connection that failed.
func (c *Client) cure(err error) string {
	var notTLS tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var lookup *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ": nobody listens there: is relay serve running, with this --admin?"
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &notTLS):
		return ": this port speaks no TLS: write --admin http://" + c.base.Host
	case c.base.Scheme == "http" && (errors.Is(err, io.EOF) || strings.Contains(err.Error(), `malformed HTTP response "\x15\x03`)):
		return ": if this port takes TLS, write --admin https://" + c.base.Host
	case errors.As(err, &authority):
		return ": give the PEM file of the authority that issued its certificate, by --admin-ca"
	case errors.As(err, &name):
		return ": write a name in --admin that is in the certificate"
	case errors.As(err, &lookup):
		return ": see whether --admin has the right name"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf(": no answer within %s (--admin-timeout)", c.settings.Timeout)
	}
	return ""
}

// late is the error of a stream whose head did not come.
func (c *Client) late(err error) error {
	if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Kind: Unreachable, err: fmt.Errorf("cannot ask Relay at %s (--admin)%s", c.Address(), c.cure(context.DeadlineExceeded))}
}

// failed is the error of an answer that broke off, unless the caller ended it.
func (c *Client) failed(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return &Error{Kind: Unreachable, err: err}
}

// refused is the error of an answer that is one, with what to do.
func (c *Client) refused(resp *http.Response, body []byte) error {
	text := orElse(reasonIn(body), strings.TrimSpace(string(body)))
	kind, cure := Failed, ""
	switch {
	case resp.StatusCode == http.StatusBadRequest && strings.Contains(text, "HTTP request to an HTTPS server"):
		kind, cure = Unreachable, ": write https:// in --admin"
	case resp.StatusCode == http.StatusUnauthorized && c.token == "" && c.settings.Cert == "":
		kind, cure = Denied, ": give --admin-token-file, or --admin-client-cert and --admin-client-key"
	case resp.StatusCode == http.StatusUnauthorized:
		kind, cure = Denied, ": see whether the token is that of relay serve, in its --admin-token-file"
	case resp.StatusCode == http.StatusForbidden:
		kind = Denied
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode >= 300 && resp.StatusCode < 400:
		kind, cure = Unreachable, ": is it Relay's admin endpoint (--admin), with nothing behind host and port?"
	}
	return &Error{Kind: kind, err: fmt.Errorf("%s answered %s: %.200s%s", c.Address(), resp.Status, terminal.Clean(text), cure)}
}
