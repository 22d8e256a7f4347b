package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/plural"
	"relay/internal/terminal"
)

type tailCmd struct {
	Subject     string `arg:"" name:"app-or-domain" complete:"subject" help:"An app id, such as /shop/web, a domain, such as shop.test, or a host below a wildcard domain."`
	Unmasked    bool   `help:"Show query strings, and what looks like a token. Relay logs who asks for it."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run shows requests as they end, until it is interrupted. What it says of itself goes to stderr.
func (c *tailCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		query := url.Values{"subject": {c.Subject}}
		if c.Unmasked {
			query.Set("unmasked", "true")
		}
		body, err := relay.Stream(ctx, "tail", query, http.Header{"Accept": {"application/x-ndjson"}})
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		shown := tailed{p: c.printer(out), out: out}
		err = client.Lines(body, shown.line)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("the Relay at %s ended it: %s. Run the command again when Relay is there", relay.Address(), cmp.Or(shown.ended, "it gave no reason"))
	})
}

// tailed shows the lines of a tail.
type tailed struct {
	p     printer
	out   streams
	said  string // the last notice
	ended string
}

// line shows one: a notice, or else a request.
func (t *tailed) line(text []byte) error {
	var notice struct{ Notice *api.Notice }
	if err := json.Unmarshal(text, &notice); err != nil {
		return fmt.Errorf("a line of Relay is no JSON: %w", err)
	}
	if n := notice.Notice; n != nil {
		t.notice(*n)
		return nil
	}
	switch t.p.output {
	case "json", "yaml":
		var err error
		if t.p.output == "yaml" {
			if text, err = toYAML(text); err == nil {
				text = append([]byte("---\n"), text...)
			}
		} else {
			text = terminal.CleanJSON(text)
		}
		if err == nil {
			_, err = fmt.Fprintf(t.p.screen, "%s\n", strings.TrimSuffix(string(text), "\n"))
		}
		return err
	}
	q, err := decoded[api.Request](text)
	if err == nil {
		t.p.request(q)
	}
	return err
}

// notice says how it goes, unless that was said last.
func (t *tailed) notice(n api.Notice) {
	text := terminal.Clean(n.Text)
	if n.State == api.TailEnded {
		t.ended = text
		return
	}
	if n.Skipped > 0 {
		fmt.Fprintf(t.out.err, "relay: %s not shown: there are too many to show each\n", plural.Of(n.Skipped, "request is", "requests are"))
	}
	if text != t.said {
		fmt.Fprintf(t.out.err, "relay: %s\n", text)
	}
	t.said = text
}

// request writes one on a line: time, client, method, what was asked for, status, code of a
// failure, duration, instance.
func (p printer) request(q api.Request) {
	style := terminal.Green
	switch {
	case q.Status >= 500 || q.Status == 0:
		style = terminal.Red
	case q.Status >= 400:
		style = terminal.Yellow
	}
	status := p.screen.Styled(style, fmt.Sprintf("%3d", q.Status))
	rest := seconds(q.Duration)
	if q.Code != "" {
		rest = q.Code + " " + rest
	}
	if q.Instance != "" {
		rest += " " + q.Instance
	}
	p.line("%s %-15s %s %-7s %s%s %s", q.Time.UTC().Format("15:04:05.000"), cmp.Or(q.Client, "-"), status, cmp.Or(q.Method, "-"), q.Domain, q.Path, rest)
}
