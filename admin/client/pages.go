package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"relay/admin/api"
)

// Page is a part of a list.
type Page struct {
	// Body is the whole answer.
	Body  []byte
	Items []json.RawMessage
	// Total counts all that there is, on all pages. An older Relay says nothing: then it is
	// what was read.
	Total int
	// More tells that another page follows, and is asked for.
	More bool
}

// Pages reads a list page by page: at most limit entries, or all if it is 0. The list is in
// the field of the answer. Nothing is kept of a page after each was called with it.
func (c *Client) Pages(ctx context.Context, path, field string, query url.Values, limit int, each func(Page) error) error {
	query = maps.Clone(query)
	if query == nil {
		query = url.Values{}
	}
	for read, seen := 0, []string(nil); ; {
		size := api.DefaultLimit
		if limit > 0 {
			size = min(limit-read, api.MaxLimit)
		}
		query.Set("limit", strconv.Itoa(size))
		answer, err := c.Get(ctx, path, query)
		if err != nil {
			return err
		}
		if !answer.Found {
			return &Error{Kind: NotFound, err: errors.New(answer.Reason())}
		}
		page, next, err := pageOf(answer.Body, field)
		if err != nil {
			return fmt.Errorf("the answer of Relay at %s has no list of %s: is it older or newer than this command?", c.Address(), field)
		}
		if limit > 0 && len(page.Items) > limit-read { // of an older Relay, which knows no limit
			page.Items = page.Items[:limit-read]
		}
		read += len(page.Items)
		page.Total = max(page.Total, read)
		page.More = next != "" && len(page.Items) > 0 && (limit == 0 || read < limit)
		if page.More && slices.Contains(seen, next) {
			return fmt.Errorf("the list of %s of Relay at %s has no end", field, c.Address())
		}
		if err := each(page); err != nil || !page.More {
			return err
		}
		seen = []string{next}
		query.Set("cursor", next)
	}
}

func pageOf(body []byte, field string) (page Page, next string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return page, "", err
	}
	var about api.Page
	if err := json.Unmarshal(body, &about); err != nil {
		return page, "", err
	}
	page = Page{Body: body, Total: about.Total}
	if fields[field] == nil {
		return page, "", errors.New("no list")
	}
	err = json.Unmarshal(fields[field], &page.Items)
	page.Total = max(page.Total, len(page.Items))
	return page, about.Next, err
}
