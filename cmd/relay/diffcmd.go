package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"relay/admin/api"
	"relay/admin/client"
	"relay/internal/terminal"
)

type diffCmd struct {
	App         string `arg:"" name:"app" complete:"app" help:"The id of the app, such as /shop/web."`
	OutputFlags `embed:""`
	ClientFlags `embed:""`
}

// Run shows what the last change of an app changed in Envoy's resources.
func (c *diffCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		answer, err := relay.Get(ctx, "diff", url.Values{"app": {c.App}})
		if err != nil {
			return err
		}
		body, err := found(answer)
		if err != nil {
			return fmt.Errorf("%w: relay changes lists what is known", err)
		}
		d, err := decoded[api.Diff](body)
		if err != nil {
			return err
		}
		p := c.printer(out)
		return p.print(body, func() { p.diff(d) })
	})
}

// diffContext is how many lines are shown around what differs.
const diffContext = 3

func (p printer) diff(d api.Diff) {
	p.change(d.Change)
	for _, r := range d.Resources {
		what := ""
		switch {
		case len(r.Before) == 0:
			what = " (new)"
		case len(r.After) == 0:
			what = " (removed)"
		}
		p.title(r.Type + " " + r.Name + what)
		for _, line := range terminal.Diff(jsonLines(r.Before), jsonLines(r.After), diffContext) {
			p.diffLine(line)
		}
	}
	switch {
	case !d.Known:
		p.line("\nWhat it changed in Envoy is not kept: it was too much, or others came after it. relay config-dump has what there is now.")
	case len(d.Resources) == 0:
		p.line("\nNo resource of Envoy is different.")
	}
}

func (p printer) diffLine(line terminal.DiffLine) {
	switch line.Kind {
	case '@':
		p.line("%s", p.screen.Styled(terminal.Faint, "…"))
	case '-':
		p.line("%s", p.screen.Styled(terminal.Red, "-"+terminal.Clean(line.Text)))
	case '+':
		p.line("%s", p.screen.Styled(terminal.Green, "+"+terminal.Clean(line.Text)))
	default:
		p.line(" %s", terminal.Clean(line.Text))
	}
}

// jsonLines writes JSON in lines; nothing for none.
func jsonLines(text json.RawMessage) []string {
	if len(text) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return strings.Split(string(text), "\n")
	}
	return strings.Split(b.String(), "\n")
}

type configDumpCmd struct {
	Fleet       string `arg:"" name:"fleet" complete:"fleet" help:"The fleet whose resources are shown."`
	Type        string `placeholder:"TYPE" help:"Only resources of this type, such as clusters."`
	Resource    string `placeholder:"NAME" help:"Only the resource of this name."`
	Output      string `short:"o" default:"json" enum:"table,json,yaml" help:"json: as Envoy's /config_dump has it; yaml: the same as YAML; table: the names."`
	ClientFlags `embed:""`
}

// Run shows the resources of a fleet as Envoy's own admin endpoint does, secrets masked.
func (c *configDumpCmd) Run(ctx context.Context, out streams) error {
	return asking(ctx, c.ClientFlags, out, func(ctx context.Context, relay *client.Client) error {
		body, err := relay.Stream(ctx, "config-dump", queryOf("fleet", c.Fleet, "type", c.Type, "name", c.Resource), http.Header{})
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		p := OutputFlags{c.Output}.printer(out)
		if c.Output == "json" {
			// As it comes: a fleet may have hundreds of megabytes.
			_, err := io.Copy(terminal.JSONWriter(p.screen), body)
			return err
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if c.Output == "yaml" {
			return p.print(text, nil)
		}
		return p.dumpNames(text)
	})
}

// dumpNames lists the resources of a dump.
func (p printer) dumpNames(text []byte) error {
	var dump struct {
		Configs []map[string]json.RawMessage `json:"configs"`
	}
	if err := json.Unmarshal(text, &dump); err != nil {
		return fmt.Errorf("the answer of Relay is no dump: %w", err)
	}
	var rows [][]terminal.Cell
	for _, config := range dump.Configs {
		rows = append(rows, dumpRows(config)...)
	}
	return p.screen.NewTable(terminal.Column{Title: "TYPE"}, terminal.Column{Title: "NAME"}).Write(rows)
}

func dumpRows(config map[string]json.RawMessage) (rows [][]terminal.Cell) {
	var kind string
	_ = json.Unmarshal(config["@type"], &kind)
	kind = kind[strings.LastIndexByte(kind, '.')+1:]
	for _, field := range slices.Sorted(maps.Keys(config)) {
		var entries []map[string]any
		if json.Unmarshal(config[field], &entries) != nil {
			continue
		}
		for _, entry := range entries {
			rows = append(rows, []terminal.Cell{terminal.Text(strings.TrimSuffix(kind, "ConfigDump")), terminal.Text(resourceName(entry, 2))})
		}
	}
	return rows
}

// resourceName finds the name of an entry, which some types have within the resource.
func resourceName(entry map[string]any, depth int) string {
	for _, key := range []string{"name", "cluster_name"} {
		if name, ok := entry[key].(string); ok {
			return name
		}
	}
	for _, key := range slices.Sorted(maps.Keys(entry)) {
		if below, ok := entry[key].(map[string]any); ok && depth > 0 {
			if name := resourceName(below, depth-1); name != "" {
				return name
			}
		}
	}
	return ""
}
