package web

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/statuspage"
)

// strictly reads XML to its end, so that what is not well-formed is found.
func strictly(t *testing.T, body []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, body)
		}
	}
}

// readAtom returns the Atom feed, after what RFC 4287 demands of it was looked at.
func readAtom(t *testing.T, v statuspage.View) atomFeed {
	t.Helper()
	body := rendered(t, v)["feed.atom"].Body
	strictly(t, body)
	var feed atomFeed
	if err := xml.Unmarshal(body, &feed); err != nil {
		t.Fatal(err)
	}
	if feed.ID == "" || feed.Title == "" || feed.Author == "" || len(feed.Links) != 2 {
		t.Errorf("the feed lacks what it has to have: %+v", feed)
	}
	ids := make(map[string]bool)
	last := time.Now().AddDate(100, 0, 0)
	for i, e := range feed.Entries {
		at, err := time.Parse(time.RFC3339, e.Updated)
		if err != nil || at.After(last) || i == 0 && e.Updated != feed.Updated {
			t.Errorf("entry %d was updated %q, after the one before it (%v): the feed %s", i, e.Updated, err, feed.Updated)
		}
		if last = at; e.ID == "" || ids[e.ID] || e.Title == "" || e.Link.Href == "" || e.Content.Type != "text" {
			t.Errorf("entry %d: %+v", i, e)
		}
		ids[e.ID] = true
	}
	return feed
}

// readRSS returns the RSS feed, after what RSS 2.0 demands was looked at.
func readRSS(t *testing.T, v statuspage.View) rssFeed {
	t.Helper()
	body := rendered(t, v)["feed.rss"].Body
	strictly(t, body)
	var feed rssFeed
	if err := xml.Unmarshal(body, &feed); err != nil {
		t.Fatal(err)
	}
	if c := feed.Channel; feed.Version != "2.0" || c.Title == "" || c.Link == "" || c.Description == "" {
		t.Errorf("the feed lacks what it has to have: %+v", feed)
	}
	for _, item := range feed.Channel.Items {
		if _, err := time.Parse(time.RFC1123Z, item.PubDate); err != nil || item.GUID.ID == "" || item.GUID.IsPermaLink || item.Link == "" {
			t.Errorf("%+v: %v", item, err)
		}
	}
	return feed
}

func TestFeeds(t *testing.T) {
	t.Parallel()
	for name, view := range map[string]statuspage.View{"well": wellView(), "trouble": troubleView(), "hostile": hostileView(), "new": newView(), "nothing": {}} {
		atom, rss := readAtom(t, view), readRSS(t, view)
		updates := 0
		for _, i := range slices.Concat(view.Incidents, view.Maintenance) {
			updates += len(i.Updates)
		}
		if len(atom.Entries) != updates || len(rss.Channel.Items) != updates {
			t.Errorf("%s: %d and %d entries of %d updates", name, len(atom.Entries), len(rss.Channel.Items), updates)
		}
		for i, e := range atom.Entries {
			if item := rss.Channel.Items[i]; e.ID != item.GUID.ID || e.Title != item.Title || e.Link.Href != item.Link {
				t.Errorf("%s: the feeds differ: %+v and %+v", name, e, item)
			}
		}
	}
	feed := readAtom(t, troubleView())
	if e := feed.Entries[0]; e.Title != "Identified: Devices in Europe lose their connection" || e.Link.Href != "https://status.example.com/incidents/20261130-edge.html#u20261130164542" {
		t.Errorf("%+v", e)
	}
}

// Readers take descriptions in RSS for HTML: a text does nothing there either.
func TestTextsInRSS(t *testing.T) {
	t.Parallel()
	v := wellView()
	v.Incidents[0].Updates[0].Text = "a < b & c\n<script>alert(1)</script>"
	newest := readRSS(t, v).Channel.Items
	if got := newest[slices.IndexFunc(newest, func(i rssItem) bool { return strings.HasPrefix(i.Description, "a ") })].Description; got != "a &lt; b &amp; c<br>\n&lt;script&gt;alert(1)&lt;/script&gt;" {
		t.Errorf("%q", got)
	}
}

// A reader tells of an entry once: its id is the same however the page was reached at what time, and whatever else was
// written meanwhile.
func TestIDsOfFeedsStay(t *testing.T) {
	t.Parallel()
	before := readAtom(t, troubleView())
	v := troubleView()
	v.Time = v.Time.Add(time.Hour)
	v.URL += "/"
	i := &v.Incidents[0]
	i.State, i.End = "resolved", v.Time
	i.Updates = append([]statuspage.Update{{Time: v.Time, State: "resolved", Text: "It is over."}}, i.Updates...)
	// Two were written in one second, by people at two places.
	old := &v.Incidents[1]
	old.Updates = append([]statuspage.Update{{Time: old.Updates[0].Time, State: "monitoring", Text: "Better."}}, old.Updates...)
	after := readAtom(t, v)
	if before.ID != after.ID || len(after.Entries) != len(before.Entries)+2 {
		t.Errorf("the feed is %s, was %s; it has %d entries, had %d", after.ID, before.ID, len(after.Entries), len(before.Entries))
	}
	for _, e := range before.Entries {
		if !slices.ContainsFunc(after.Entries, func(other atomEntry) bool {
			return other.ID == e.ID && other.Updated == e.Updated && other.Title == e.Title
		}) {
			t.Errorf("the entry %+v is another one now", e)
		}
	}
}

func TestFeedsAreBounded(t *testing.T) {
	t.Parallel()
	v := wellView()
	for range 300 {
		v.Incidents[0].Updates = append(v.Incidents[0].Updates, statuspage.Update{Time: now, State: "monitoring", Text: "x"})
	}
	if feed := readAtom(t, v); len(feed.Entries) != maxEntries || !strings.HasPrefix(feed.Entries[0].Updated, "2026-11-30T17:05") {
		t.Errorf("%d entries, the first of %s", len(feed.Entries), feed.Entries[0].Updated)
	}
}
