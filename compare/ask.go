package compare

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// maxBody is how much of a body is looked at.
const maxBody = 256 << 10

// side is one of both that are asked.
type side struct {
	address string
	secure  bool
	client  *http.Client
	limiter *rate.Limiter
	timeout time.Duration
}

// newSide returns a side that connects to the address of u, whatever host is asked for. It
// takes any certificate: what is shown is compared, not trusted.
func newSide(u *url.URL, limiter *rate.Limiter, timeout time.Duration) *side {
	dialer := &net.Dialer{Timeout: timeout}
	connect := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, u.Host)
	}
	transport := &http.Transport{
		DialContext: connect, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 256 << 10,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // marathon-lb has no HTTP/2
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			raw, err := connect(ctx, network, address)
			if err != nil {
				return nil, err
			}
			name, _, _ := net.SplitHostPort(address)
			secured := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10})
			if err := secured.HandshakeContext(ctx); err != nil {
				raw.Close()
				return nil, tlsError{err}
			}
			return secured, nil
		},
	}
	return &side{
		address: u.Host, secure: u.Scheme == "https", limiter: limiter, timeout: timeout,
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

type tlsError struct{ error }

func (e tlsError) Unwrap() error { return e.error }

// answer is what a side said.
type answer struct {
	// failure says why there is no answer; empty if there is one.
	failure string
	status  int
	header  http.Header // only what is compared
	cookies []string    // names
	body    []byte      // its first maxBody bytes
	length  int64       // as the head says; -1 if it does not
	shown   *certificate
}

// comparedHeaders are those of an answer that matter to clients, in order.
var comparedHeaders = []string{
	"Location", "Strict-Transport-Security", "Content-Type", "Cache-Control", "Www-Authenticate", "Content-Encoding", "Content-Disposition",
	"Content-Security-Policy", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Vary", "Allow", "Retry-After",
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
	"Access-Control-Expose-Headers", "Access-Control-Max-Age",
}

// identifying are those that tell which app answered.
var identifying = []string{"Etag", "Server", "X-Powered-By"}

// ask makes one request, and follows no redirect.
func (s *side) ask(ctx context.Context, method string, p probe, header http.Header) (a answer) {
	if err := s.limiter.Wait(ctx); err != nil {
		return answer{failure: interrupted}
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	u := &url.URL{Scheme: "http", Host: p.host, Opaque: p.path} // as it is, percent signs and all
	if strings.HasPrefix(p.path, "//") {
		u.Opaque, u.Path = "", p.path
	}
	if s.secure {
		u.Scheme = "https"
	}
	request := (&http.Request{Method: method, URL: u, Host: p.host, Header: header.Clone(), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "relay-compare")
	}
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "*/*")
	}
	response, err := s.client.Do(request)
	if err != nil {
		return answer{failure: failureOf(err)}
	}
	defer func() { _ = response.Body.Close() }()
	a = answer{status: response.StatusCode, header: make(http.Header), length: response.ContentLength}
	for _, name := range slices.Concat(comparedHeaders, identifying) {
		if values := response.Header.Values(name); len(values) > 0 {
			a.header.Set(name, clip(strings.Join(values, ", ")))
		}
	}
	for _, cookie := range response.Header.Values("Set-Cookie") {
		name, _, _ := strings.Cut(cookie, "=")
		a.cookies = append(a.cookies, clip(strings.TrimSpace(name)))
	}
	slices.Sort(a.cookies)
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		a.shown = newCertificate(response.TLS.PeerCertificates[0], p.host)
	}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, maxBody)); err != nil {
		a.failure = "the body breaks off: " + failureOf(err)
	}
	return a
}

// clip bounds a text of an answer, and takes out what would not be seen on a terminal.
func clip(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(text, "?"))
}

const interrupted = "interrupted"

// failureOf says in few words why there is no answer, the same for the same reason.
func failureOf(err error) string {
	var timeout net.Error
	var untrusted tlsError
	switch {
	case errors.Is(err, context.Canceled):
		return interrupted
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused"
	case errors.As(err, &untrusted):
		return "the TLS handshake fails"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return "the connection is closed without an answer"
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "transport connection broken"), strings.Contains(err.Error(), "response headers exceeded"):
		return "the answer is no HTTP"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "the name " + clip(dns.Name) + " is not found"
	}
	return "it cannot be asked"
}
