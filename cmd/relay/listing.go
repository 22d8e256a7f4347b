package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"relay/admin/client"
	"relay/internal/terminal"
)

// ListFlags say what of a list is shown.
type ListFlags struct {
	Filter string `short:"q" placeholder:"TEXT" help:"Only those with this text in them, in any case."`
	Limit  int    `default:"100" help:"How many to show at most; 0: all."`
}

// listing is a list of the API and how its entries are shown to people.
type listing struct {
	// path is below /api/v1/, and the list is in the field of the answer.
	path, field string
	query       url.Values
	limit       int
	columns     []terminal.Column
	row         func(item json.RawMessage) ([]terminal.Cell, error)
	// none is said where there is nothing.
	none string
	// text is what an entry has to have in it, where the API does not look for it.
	text string
}

// queryOf leaves out what is empty.
func queryOf(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// rowOf reads an entry of a list and shows it.
func rowOf[T any](show func(T) []terminal.Cell) func(json.RawMessage) ([]terminal.Cell, error) {
	return func(item json.RawMessage) ([]terminal.Cell, error) {
		v, err := decoded[T](item)
		if err != nil {
			return nil, err
		}
		return show(v), nil
	}
}

// show prints the list as its pages come.
func (l listing) show(ctx context.Context, relay *client.Client, p printer) error {
	if l.limit < 0 {
		return exitStatus{errors.New("--limit has to be 0 or more"), statusUsage}
	}
	switch p.output {
	case "json":
		return l.pages(ctx, relay, &jsonPages{w: p.screen, field: l.field})
	case "yaml":
		return l.pages(ctx, relay, &yamlPages{w: p.screen, field: l.field})
	}
	return l.pages(ctx, relay, &tablePages{listing: l, p: p, table: p.screen.NewTable(l.columns...)})
}

// pageWriter writes a list page by page.
type pageWriter interface{ page(client.Page) error }

func (l listing) pages(ctx context.Context, relay *client.Client, w pageWriter) error {
	if l.text == "" {
		return relay.Pages(ctx, l.path, l.field, l.query, l.limit, w.page)
	}
	var kept client.Page
	err := relay.Pages(ctx, l.path, l.field, l.query, 0, func(page client.Page) error {
		for _, item := range page.Items {
			if !bytes.Contains(bytes.ToLower(item), []byte(strings.ToLower(l.text))) {
				continue
			}
			if kept.Total++; l.limit == 0 || kept.Total <= l.limit {
				kept.Items = append(kept.Items, bytes.Clone(item))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.page(kept)
}

// tablePages writes a table.
type tablePages struct {
	listing
	p     printer
	table *terminal.Table
	shown int
}

func (t *tablePages) page(page client.Page) error {
	var rows [][]terminal.Cell
	for _, item := range page.Items {
		row, err := t.row(item)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	if t.shown += len(rows); t.shown == 0 {
		t.p.line("%s", t.none)
		return nil
	}
	if err := t.table.Write(rows); err != nil {
		return err
	}
	if !page.More && page.Total > t.shown {
		t.p.line("%d of %d: --limit 0 shows all, --filter TEXT those with a text in them", t.shown, page.Total)
	}
	return nil
}

// jsonPages writes one answer as it is, and several as one.
type jsonPages struct {
	w      io.Writer
	field  string
	opened bool
}

func (j *jsonPages) page(page client.Page) error {
	if !j.opened && !page.More && page.Body != nil {
		_, err := j.w.Write(terminal.CleanJSON(page.Body))
		return err
	}
	var b bytes.Buffer
	if !j.opened {
		fmt.Fprintf(&b, "{\n  %q: [", j.field)
	}
	for i, item := range page.Items {
		if i > 0 || j.opened {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		if err := json.Indent(&b, item, "    ", "  "); err != nil {
			return err
		}
	}
	j.opened = true
	if !page.More {
		fmt.Fprintf(&b, "\n  ],\n  \"total\": %d\n}\n", page.Total)
	}
	_, err := j.w.Write(terminal.CleanJSON(b.Bytes()))
	return err
}

// yamlPages writes the entries below the name of the list, whatever the number of pages.
type yamlPages struct {
	w      io.Writer
	field  string
	opened bool
}

func (y *yamlPages) page(page client.Page) error {
	if !y.opened && !page.More && page.Body != nil {
		text, err := toYAML(page.Body)
		if err == nil {
			_, err = y.w.Write(text)
		}
		return err
	}
	items, err := json.Marshal(append([]json.RawMessage{}, page.Items...))
	if err != nil {
		return err
	}
	text, err := toYAML(items)
	if err != nil {
		return err
	}
	if !y.opened {
		text = append([]byte(y.field+":\n"), text...)
	}
	y.opened = true
	if !page.More {
		text = fmt.Appendf(text, "total: %d\n", page.Total)
	}
	_, err = y.w.Write(text)
	return err
}
