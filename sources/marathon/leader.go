package marathon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// leaderHeader is set on answers that came from the leader, also by a standby that passes
// them on.
const leaderHeader = "X-Marathon-Leader"

// leaderTimeout bounds the request that asks who leads. Without an answer Relay reads from
// where the event stream comes from.
const leaderTimeout = 5 * time.Second

// leader returns the target to read from. t is where the event stream was opened, and
// named the leader that its answer named, or empty. A standby passes requests on to the
// leader, but gives up before a large answer is complete. So Relay reads from the leader
// itself, if it is a configured server or a trusted host, and not over http if the event
// stream comes over https.
func (c *client) leader(ctx context.Context, t target, named string) target {
	u, err := url.Parse(named)
	if named == "" {
		u, err = c.askLeader(ctx, t)
	}
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || hostPort(u) == hostPort(t.base) {
		return t
	}
	if s, ok := c.configured(u); ok {
		return target{base: s.url, origin: s}
	}
	if !c.trusts(u) || (t.base.Scheme == "https" && u.Scheme != "https") {
		return t
	}
	return target{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, origin: t.origin}
}

// askLeader reads GET /v2/leader, which names a host and a port but no scheme.
func (c *client) askLeader(ctx context.Context, t target) (*url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	resp, _, err := c.open(ctx, t, "/v2/leader", nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Leader string `json:"leader"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Leader == "" {
		return nil, fmt.Errorf("%s/v2/leader names no leader", t.base)
	}
	return url.Parse(t.base.Scheme + "://" + answer.Leader)
}

// leaveLeader goes back to reading from where the event stream comes from, because the
// leader does not answer. It returns false if that is no change.
func (c *connection) leaveLeader(err error) bool {
	if c.reads.base.String() == c.target.base.String() {
		return false
	}
	c.w.log.Warn("the leader does not answer, reading goes on through the other Marathon", "event", "marathon_leader_silent",
		"leader", c.reads.base.String(), "url", c.target.base.String(), "error", err)
	c.reads = c.target
	return true
}
