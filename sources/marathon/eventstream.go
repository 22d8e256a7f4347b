package marathon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"

	"relay/internal/panics"
)

const eventsPath = "/v2/events"

var errStreamEnded = errors.New("the event stream ended")

// message is one message of an event stream that has data. The name is the
// "event" field, which may be empty.
type message struct {
	name string
	data []byte
}

// events subscribes to the events of Marathon at t. It makes one connection,
// calls opened once Marathon has answered, then each for each message until the
// stream ends, and returns why it ended. Both are called on the caller's
// goroutine. opened is told the target that answered and the base URL of the
// leader, if Marathon told it. A panic of each ends the stream and is the error.
func (c *client) events(ctx context.Context, t target, limit int, opened func(from target, leader string), each func(message)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	transport := &eventTransport{client: c, target: t, limit: limit, opened: opened}
	u := *t.base
	u.Path += eventsPath
	u.RawQuery = url.Values{"event_type": c.types, "plan-format": {"light"}}.Encode()
	// A message of the limit may have as many line ends as bytes. The blank line adds one.
	library := sse.NewClient(u.String(), sse.ClientMaxBufferSize(2*limit+1))
	library.Connection = &http.Client{Transport: transport}
	library.Headers = map[string]string{"Accept-Encoding": "identity"}
	library.ReconnectStrategy = &backoff.StopBackOff{} // the Watcher decides when to connect again, and where

	// The library reads on a goroutine of its own, which stays for ever if a handler
	// panics. So the panic is caught, and the end of the body ends the goroutine.
	var bug error
	err := library.SubscribeRawWithContext(ctx, func(event *sse.Event) {
		if bug != nil || len(event.Data) == 0 {
			return
		}
		bug = panics.Catch(func() error {
			each(message{name: string(event.Event), data: event.Data})
			return nil
		})
		if bug != nil {
			cancel()
		}
	})
	switch {
	case bug != nil:
		return bug
	case transport.err != nil:
		return fmt.Errorf("subscribe to events: %w", transport.err)
	case transport.body != nil && transport.body.err != nil:
		err = transport.body.err // the library hides some errors
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = errStreamEnded
	}
	return fmt.Errorf("events: %w", err)
}

// eventTransport makes the one request of an sse.Client as all requests to
// Marathon are made: with credentials, redirects and a limit on silence.
type eventTransport struct {
	client *client
	target target
	limit  int // bytes of one message
	opened func(from target, leader string)

	body *eventBody // nil until Marathon has answered
	err  error      // why there is no body
}

// RoundTrip implements http.RoundTripper. An answer that is not an event stream is an error.
func (e *eventTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	header := r.Header.Clone()
	header.Del("Connection") // is the transport's matter
	resp, from, err := e.client.open(r.Context(), e.target, eventsPath, r.URL.Query(), header)
	if err != nil {
		e.err = err
		return nil, err
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "text/event-stream" {
		resp.Body.Close()
		e.err = fmt.Errorf("%s%s answered %q instead of an event stream: another server or a login page answers there, see whether --marathon is the address of Marathon itself", from.base, eventsPath, clip(media))
		return nil, e.err
	}
	e.body = newEventBody(resp.Body, e.limit)
	resp.Body = e.body
	e.opened(from, resp.Header.Get(leaderHeader))
	return resp, nil
}
