package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"html"
	"slices"
	"strings"
	"time"

	"relay/statuspage"
)

// maxEntries bounds the entries of a feed: the newest are kept.
const maxEntries = 100

// entry is an update of an incident or of maintenance: each is one entry, so that readers of feeds tell of it.
type entry struct {
	id, link, title, text string
	time                  time.Time
}

// entriesOf returns the updates of all incidents, the newest first.
func entriesOf(v *statuspage.View) []entry {
	var all []entry
	for _, i := range slices.Concat(v.Incidents, v.Maintenance) {
		for _, u := range updatesOf(i) {
			e := entry{title: sentence(u.State) + ": " + i.Title, text: u.Text, time: u.Time.UTC()}
			e.link = baseURL(v)
			if path := incidentPath(i.ID); path != "" {
				e.link += path + "#" + u.Anchor
			}
			e.id = stableID(v, i.ID+"#"+u.Anchor)
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Or(b.time.Compare(a.time), cmp.Compare(a.id, b.id)) })
	return all[:min(len(all), maxEntries)]
}

// stableID names the feed, or an entry of it. It depends on the page's address and what is named alone, so that it
// is the same from every place, and after a restart.
func stableID(v *statuspage.View, name string) string {
	sum := sha256.Sum256([]byte(cmp.Or(baseURL(v), v.Title) + "\n" + name))
	// A UUID of version 8, which is for hashes of one's own choice (RFC 9562, section 5.8).
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

type atomFeed struct {
	XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID      string      `xml:"id"`
	Title   string      `xml:"title"`
	Updated string      `xml:"updated"`
	Author  string      `xml:"author>name"`
	Links   []atomLink  `xml:"link"`
	Entries []atomEntry `xml:"entry"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr,omitempty"`
	Type string `xml:"type,attr,omitempty"`
	Href string `xml:"href,attr"`
}

type atomEntry struct {
	ID        string   `xml:"id"`
	Title     string   `xml:"title"`
	Published string   `xml:"published"`
	Updated   string   `xml:"updated"`
	Link      atomLink `xml:"link"`
	Content   atomText `xml:"content"`
}

type atomText struct {
	Type string `xml:"type,attr"`
	Text string `xml:",chardata"`
}

// atom returns the Atom feed (RFC 4287).
func atom(v *statuspage.View) ([]byte, error) {
	title := siteTitle(v)
	feed := atomFeed{
		ID: stableID(v, ""), Title: title, Author: title, Updated: machine(updated(v)),
		Links: []atomLink{{Rel: "self", Type: "application/atom+xml", Href: baseURL(v) + "feed.atom"}, {Rel: "alternate", Type: "text/html", Href: pageLink(v)}},
	}
	for _, e := range entriesOf(v) {
		at := machine(e.time)
		feed.Entries = append(feed.Entries, atomEntry{ID: e.id, Title: e.title, Published: at, Updated: at, Link: atomLink{Href: cmp.Or(e.link, pageLink(v))}, Content: atomText{"text", e.text}})
	}
	return marshal(feed)
}

type rssFeed struct {
	XMLName xml.Name   `xml:"rss"`
	Version string     `xml:"version,attr"`
	Channel rssChannel `xml:"channel"`
}

type rssChannel struct {
	Title         string    `xml:"title"`
	Link          string    `xml:"link"`
	Description   string    `xml:"description"`
	LastBuildDate string    `xml:"lastBuildDate"`
	Items         []rssItem `xml:"item"`
}

type rssItem struct {
	Title       string  `xml:"title"`
	Link        string  `xml:"link"`
	Description string  `xml:"description"`
	GUID        rssGUID `xml:"guid"`
	PubDate     string  `xml:"pubDate"`
}

type rssGUID struct {
	IsPermaLink bool   `xml:"isPermaLink,attr"`
	ID          string `xml:",chardata"`
}

// rss returns the feed in RSS 2.0, for readers that know no Atom.
func rss(v *statuspage.View) ([]byte, error) {
	channel := rssChannel{
		Title: siteTitle(v), Link: pageLink(v), Description: "Incidents and maintenance", LastBuildDate: updated(v).Format(time.RFC1123Z),
	}
	for _, e := range entriesOf(v) {
		channel.Items = append(channel.Items, rssItem{
			Title: e.title, Link: cmp.Or(e.link, pageLink(v)), Description: asHTML(e.text), GUID: rssGUID{ID: e.id}, PubDate: e.time.Format(time.RFC1123Z),
		})
	}
	return marshal(rssFeed{Version: "2.0", Channel: channel})
}

// asHTML is a plain text as HTML, which readers take the description of an entry for.
func asHTML(text string) string { return strings.ReplaceAll(html.EscapeString(text), "\n", "<br>\n") }

// updated is when the newest update was written. It changes with the incidents alone, so that a feed without news
// is the same bytes.
func updated(v *statuspage.View) time.Time {
	if entries := entriesOf(v); len(entries) > 0 {
		return entries[0].time
	}
	return time.Unix(0, 0).UTC()
}

func siteTitle(v *statuspage.View) string { return cmp.Or(v.Title, "Status") }

// pageLink leads to the first page, from beside the feed if the public address is not known.
func pageLink(v *statuspage.View) string { return cmp.Or(baseURL(v), "index.html") }

// marshal writes XML. What XML cannot have, such as control characters, becomes U+FFFD.
func marshal(feed any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	encoder := xml.NewEncoder(&b)
	encoder.Indent("", " ")
	if err := encoder.Encode(feed); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
