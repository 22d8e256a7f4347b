package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/plural"
	"relay/internal/terminal"
)

// maxCandidates bounds what is looked through for a name that is not whole.
const maxCandidates = 200

// envoyStory shows the Envoy of a fleet/id, or of an id that only one fleet has.
func envoyStory(ctx context.Context, relay *client.Client, fleet, id string, p printer) error {
	name := id
	if fleet != "" {
		name = fleet + "/" + id
	}
	q := name[strings.LastIndexByte(name, '/')+1:]
	path, err := pathOfName(ctx, relay, "envoys", name, queryOf("q", q), func(e api.Envoy) (string, string) { return e.Fleet, e.ID })
	if err != nil {
		return err
	}
	envoy, body, err := story[api.EnvoyStory](ctx, relay, path, "relay envoys")
	if err != nil {
		return err
	}
	return p.print(body, func() { p.envoy(envoy) })
}

// pathOfName returns the path of what has a name, of what it belongs to, such as a fleet, and
// its id: both, with a slash between, or the id alone if only one has it.
func pathOfName[T any](ctx context.Context, relay *client.Client, list, name string, query url.Values, parts func(T) (of, id string)) (string, error) {
	var paths, names []string
	exact := false
	err := relay.Pages(ctx, list, list, query, maxCandidates, func(page client.Page) error {
		for _, item := range page.Items {
			var v T
			if err := json.Unmarshal(item, &v); err != nil {
				return err
			}
			of, id := parts(v)
			path := list + "/" + url.PathEscape(of) + "/" + url.PathEscape(id)
			switch {
			case of+"/"+id == name:
				paths, exact = []string{path}, true
			case id == name && !exact:
				paths, names = append(paths, path), append(names, of+"/"+id)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case len(paths) > 1:
		return "", exitStatus{fmt.Errorf("there are several %s, say which: %s", terminal.Clean(name), terminal.Clean(terminal.Joined(names, 5))), statusUsage}
	case len(paths) == 1:
		return paths[0], nil
	}
	return client.PathOf(list, name), nil
}

func (p printer) envoy(e api.EnvoyStory) {
	state := envoyState(e.State)
	p.line("%s/%s: %s", e.Fleet, p.screen.Styled(terminal.Bold, e.ID), p.screen.Styled(state.Style, state.Text))
	p.pair("version", e.Version)
	p.pair("address", e.Address)
	p.pair("connected", clock(e.Connected)+", "+ago(e.Connected)+" ago")
	if !e.Disconnected.IsZero() {
		p.pair("disconnected", clock(e.Disconnected)+", "+ago(e.Disconnected)+" ago")
	}
	if !e.CertificateExpires.IsZero() {
		p.pair("certificate", "expires "+clock(e.CertificateExpires))
	}
	switch {
	case e.Reported.IsZero() && now().Sub(e.Connected) < api.ReportDue:
		p.pair("requests", "it has not reported them yet: it connected just now")
	case e.Reported.IsZero():
		p.pair("requests", "it has not reported them: its bootstrap may be older than this Relay (relay bootstrap)")
	default:
		p.pair("requests", loadText(e.Load, nil)+"; reported "+ago(e.Reported)+" ago")
	}
	var rows [][]terminal.Cell
	for _, t := range e.Types {
		rows = append(rows, []terminal.Cell{
			terminal.Text("  " + t.Type), terminal.Text(fmt.Sprint(t.Resources)), terminal.Text(fmt.Sprint(t.Sent)), terminal.Text(fmt.Sprint(t.Acked)),
			terminal.Text(fmt.Sprint(t.Behind)), terminal.Text(fmt.Sprint(t.Lacking)),
		})
	}
	if len(rows) > 0 {
		p.title("Resources")
		right := func(title string) terminal.Column { return terminal.Column{Title: title, Right: true} }
		p.table(rows, terminal.Column{Title: "  TYPE"}, right("HAS"), right("SENT"), right("ACKED"), right("BEHIND"), right("LACKS"))
	}
	for _, t := range e.Types {
		for _, l := range t.Lacks {
			older := "it has none"
			if l.Older {
				older = "an older version serves"
			}
			p.screen.Paragraph("  ", fmt.Sprintf("%s %s: rejected by %s since %s, %s: %s", t.Type, l.Name, l.By, clock(l.Since), older, l.Error))
		}
	}
	p.lastFailures(e.LastFailures, "relay failures")
}

// certificateStory shows the certificate of a source/name, or of a name that only one source has.
func certificateStory(ctx context.Context, relay *client.Client, name string, p printer) error {
	q := name[strings.LastIndexByte(name, '/')+1:]
	path, err := pathOfName(ctx, relay, "certificates", name, queryOf("q", q), func(c api.Certificate) (string, string) { return c.Source, c.Name })
	if err != nil {
		return err
	}
	c, body, err := story[api.CertificateStory](ctx, relay, path, "relay certs")
	if err != nil {
		return err
	}
	return p.print(body, func() { p.certificate(c) })
}

func (p printer) certificate(c api.CertificateStory) {
	days := daysLeft(c.Certificate)
	p.line("%s: %s", p.screen.Styled(terminal.Bold, c.Source+"/"+c.Name), p.screen.Styled(days.Style, plural.Of(c.DaysLeft, "day")+" left"))
	until := c.NotAfter.UTC().Format(time.DateOnly)
	if c.EndsWithIssuer != "" {
		until += ", with its issuer " + c.EndsWithIssuer
	}
	p.pair("until", until)
	p.pair("names", strings.Join(c.ServerNames, ", "))
	p.pair("served for", strings.Join(c.ServedFor, ", "))
	if c.Default {
		p.pair("default", "for clients that ask for no name, or an unknown one")
	}
	switch {
	case c.Unused:
		p.pair("domains", "none uses it")
	default:
		p.pair("domains", fmt.Sprintf("%d: %s", c.DomainCount, terminal.Joined(c.Domains, 20)))
	}
	p.pair("key", c.Key)
	p.pair("fingerprint", c.Fingerprint)
	for _, r := range c.Remarks {
		p.pair("remark", r)
	}
	p.problems(c.Problems)
	p.lastChanges(c.LastChanges, "relay changes --certificate "+quotedWord(c.Source+"/"+c.Name))
}
