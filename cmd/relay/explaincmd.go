package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	"relay/admin/client"
	"relay/collator/explain"
	"relay/internal/terminal"
)

type explainCmd struct {
	Subject     string `arg:"" name:"domain-or-app" complete:"subject" help:"A domain, such as shop.test, an app id, such as /shop/web, or a TCP port, as tcp/5432."`
	JSON        bool   `name:"json" help:"Print the answer as JSON: the same as -o json."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run asks a running Relay and prints what it says. Its status is 0 only if
// something is known of the subject.
func (c *explainCmd) Run(ctx context.Context, out streams) error {
	if c.JSON {
		c.Output = "json"
	}
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		return explained(ctx, relay, c.Subject, c.printer(out))
	})
}

// explained prints how a subject is routed, and why.
func explained(ctx context.Context, relay *client.Client, subject string, p printer) error {
	answer, err := relay.Get(ctx, "explain", url.Values{"subject": {subject}})
	if err != nil {
		return err
	}
	var e explain.Explanation
	if err := json.Unmarshal(answer.Body, &e); err != nil || e.Subject == "" {
		return errors.New("the answer of Relay is no explanation: is it older or newer than this command?")
	}
	err = p.print(answer.Body, func() {
		terminal.CleanAll(&e)
		e.WriteText(p.screen)
	})
	if err == nil && !e.Known {
		return fmt.Errorf("nothing is known of %s", e.Subject)
	}
	return err
}
