package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"relay/internal/outgoing"
)

// maxBody bounds an answer: thousands of live entries fit in one megabyte.
const maxBody = 32 << 20

// failover sends each request to the node that answered last and, when that
// one cannot answer, to the others in turn. It follows redirects of standby
// nodes to configured nodes only, since the token goes with the request.
type failover struct {
	base      *http.Transport
	addresses []*url.URL
	preferred atomic.Int64
}

// RoundTrip implements http.RoundTripper. The answer is read completely, so
// that the time limit covers the body and a node that dies halfway is passed
// over as well.
func (f *failover) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		body, err = io.ReadAll(request.Body)
		_ = request.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	var (
		last *http.Response
		errs []error
	)
	first := int(f.preferred.Load())
	for i := range f.addresses {
		n := (first + i) % len(f.addresses)
		response, err := f.send(request, n, body)
		if err == nil && isRedirect(response.StatusCode) {
			if n, err = f.redirected(n, response); err == nil {
				response, err = f.send(request, n, body)
			}
		}
		switch {
		case request.Context().Err() != nil:
			return nil, request.Context().Err()
		case err != nil:
			errs = append(errs, err)
		case isUnavailable(response.StatusCode):
			last = response
		default:
			f.preferred.Store(int64(n))
			return response, nil
		}
	}
	if last != nil {
		return last, nil
	}
	return nil, errors.Join(errs...)
}

// send asks one node.
func (f *failover) send(request *http.Request, n int, body []byte) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(request.Context(), requestTimeout)
	defer cancel()
	address := f.addresses[n]
	clone := request.Clone(ctx)
	clone.Host = address.Host
	clone.URL.Scheme, clone.URL.Host, clone.URL.RawPath = address.Scheme, address.Host, ""
	clone.URL.Path = address.Path + strings.TrimPrefix(request.URL.Path, f.addresses[0].Path)
	if body != nil {
		clone.Body, clone.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	response, err := f.base.RoundTrip(clone)
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", address.Host, err, outgoing.ProxyNote(f.base.Proxy, address))
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	_ = response.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: read the answer: %w", address.Host, err)
	}
	if len(content) > maxBody {
		return nil, fmt.Errorf("%s: the answer has more than %d bytes", address.Host, maxBody)
	}
	response.Body = io.NopCloser(bytes.NewReader(content))
	return response, nil
}

// redirected finds the configured node that a standby node points to.
func (f *failover) redirected(from int, response *http.Response) (int, error) {
	location, err := response.Location()
	if err != nil {
		return from, fmt.Errorf("%s: redirects without saying where", f.addresses[from].Host)
	}
	for n, address := range f.addresses {
		if address.Scheme == location.Scheme && strings.EqualFold(address.Host, location.Host) && n != from {
			return n, nil
		}
	}
	return from, fmt.Errorf("%s: redirects to %s://%s, which is not followed with a token: add it to the addresses",
		f.addresses[from].Host, location.Scheme, location.Host)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// isUnavailable covers sealed and inactive nodes (503), quotas (429), replicas
// that are behind (412), and disaster recovery or performance standbys that
// cannot answer (472, 473).
func isUnavailable(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusPreconditionFailed ||
		status == 472 || status == 473
}
