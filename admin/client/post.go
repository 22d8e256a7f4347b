package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Posted is what came of a Post: Made if it was done, or else a reason. Body is the whole answer in
// either case.
type Posted struct {
	Made bool
	Body []byte
	// Reason says why it was not done, and Again is set if it may be the next time.
	Reason string
	Again  bool
}

// Post asks for something to be done by what is below /api/v1/. It is an error if it is not known what
// became of it, or there is no such thing.
func (c *Client) Post(ctx context.Context, path string, query url.Values) (Posted, error) {
	ctx, cancel := context.WithTimeout(ctx, c.settings.Timeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodPost, path, query, http.Header{})
	if err != nil {
		return Posted{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Posted{}, c.failed(ctx, fmt.Errorf("the answer of Relay at %s broke off: %w", c.Address(), err))
	}
	ours := isJSON(resp, body)
	switch {
	case resp.StatusCode == http.StatusOK && ours:
		return Posted{Made: true, Body: body}, nil
	case resp.StatusCode == http.StatusOK:
		return Posted{}, c.notRelay()
	case resp.StatusCode == http.StatusNotFound && ours && ofRelay(body):
		if reason := reasonIn(body); strings.HasPrefix(reason, noSuchPath) {
			return Posted{}, c.tooOld(path)
		}
		return Posted{}, &Error{Kind: NotFound, err: fmt.Errorf("%s", reasonIn(body))}
	case resp.StatusCode == http.StatusMethodNotAllowed:
		return Posted{}, c.tooOld(path)
	case ours && ofRelay(body) && resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusBadRequest:
		again := resp.StatusCode == http.StatusConflict || resp.StatusCode == http.StatusBadGateway
		return Posted{Body: body, Reason: reasonIn(body), Again: again}, nil
	}
	return Posted{}, c.refused(resp, body)
}
