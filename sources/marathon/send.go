package marathon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// writeRequest is one request that changes something at Marathon.
type writeRequest struct {
	method, path string
	query        url.Values
	body         []byte
}

// send makes a request that changes something, follows redirects with method and body as they
// are, and returns the body of the answer. Neither credentials nor the body, which has the labels
// of an app, go to a host that is neither configured nor trusted.
func (c *client) send(ctx context.Context, t target, w writeRequest) ([]byte, error) {
	u := *t.base
	u.Path += w.path
	u.RawQuery = w.query.Encode()
	header := http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}}
	for hop := 0; ; hop++ {
		if !c.trusts(&u) {
			return nil, fmt.Errorf("%s redirects to %s, which is not asked to change anything: if it is a Marathon master, name it in --marathon-trusted-hosts", withoutQuery(t.base), u.Host)
		}
		resp, err := c.ask(ctx, outgoingRequest{w.method, &u, header, w.body}, t.origin)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusOK, http.StatusCreated:
			answer, err := io.ReadAll(io.LimitReader(resp.Body, maxWriteAnswer))
			resp.Body.Close()
			if err != nil {
				return nil, fmt.Errorf("%s%s: the answer broke off: %w", u.Host, u.Path, err)
			}
			return answer, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			next, err := redirect(resp, &u, w.path, hop)
			resp.Body.Close()
			if err != nil {
				return nil, err
			}
			u = *next
		default:
			err := c.readStatus(resp, &u)
			if status, ok := errors.AsType[*statusError](err); ok {
				status.write = true
			}
			return nil, err
		}
	}
}

// outgoingRequest is one HTTP request, without credentials.
type outgoingRequest struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

// maxWriteAnswer bounds the bytes that are read of the answer to a change.
const maxWriteAnswer = 64 << 10

func (r outgoingRequest) reader() io.Reader {
	if r.body == nil {
		return nil
	}
	return bytes.NewReader(r.body)
}
