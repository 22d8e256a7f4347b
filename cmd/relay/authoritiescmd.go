package main

import (
	"context"
	"fmt"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/terminal"
)

type authoritiesCmd struct {
	ListFlags   `embed:""`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run lists the authorities of clients.
func (c *authoritiesCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		return listing{
			path: "authorities", field: "authorities", query: queryOf("q", c.Filter), limit: c.Limit, none: noAuthority(c.Filter),
			columns: []terminal.Column{
				{Title: "AUTHORITY"}, {Title: "SOURCE"}, {Title: "DAYS", Right: true}, {Title: "UNTIL"}, {Title: "REVOKED", Right: true}, {Title: "LIST OF", Optional: true}, {Title: "LIST UNTIL"},
				{Title: "USED BY", Shrinks: true}, {Title: "REMARKS", Shrinks: true},
			},
			row: rowOf(authorityRow),
		}.show(ctx, relay, c.printer(out))
	})
}

// noAuthority says what is not there: of a name that was asked for, or at all.
func noAuthority(filter string) string {
	if filter != "" {
		return "no such authority of clients"
	}
	return "no certificate store has authorities of clients (docs/certificates.md says how they get there)"
}

func authorityRow(a api.Authority) []terminal.Cell {
	revoked, made, until := terminal.Cell{Text: "no list", Style: terminal.Faint}, unknown, terminal.Text(unknown)
	if r := a.Revocation; r != nil {
		revoked, made = terminal.Text(fmt.Sprint(r.Count)), r.MadeAt.UTC().Format(time.DateOnly)
		if r.OutOfDateAt != nil {
			until = terminal.Text(r.OutOfDateAt.UTC().Format(time.DateOnly))
			if now().After(*r.OutOfDateAt) {
				until.Style = terminal.Red
			}
		}
	}
	used := terminal.Text(terminal.Joined(a.Services, 3))
	switch {
	case a.UsedInstead != "":
		used = terminal.Cell{Text: "that of " + a.UsedInstead + " is used", Style: terminal.Faint}
	case len(a.Services) == 0:
		used = terminal.Cell{Text: "no service", Style: terminal.Faint}
	}
	return []terminal.Cell{
		terminal.Text(a.Name), terminal.Text(a.Source), daysLeft(api.Certificate{DaysLeft: a.DaysLeft, Unused: len(a.Services) == 0}), terminal.Text(a.NotAfter.UTC().Format(time.DateOnly)),
		revoked, terminal.Text(made), until, used, terminal.Text(terminal.Joined(a.Remarks, 1)),
	}
}
