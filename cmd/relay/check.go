package main

import (
	"context"
	"time"

	"relay/internal/relay"
)

type checkCmd struct {
	Flags   `embed:""`
	Timeout time.Duration `default:"30s" help:"How long to try to read each source."`
}

// Run says what is wrong with a configuration. Its status is 0 only if nothing is.
func (c *checkCmd) Run(ctx context.Context, out streams) error {
	config, err := c.withEnvironment()
	if err != nil {
		return err
	}
	return relay.Check(ctx, config, c.Timeout, out.out)
}
