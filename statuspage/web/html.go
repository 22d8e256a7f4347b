package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"regexp"
	"slices"
	"strings"
	"time"

	"relay/internal/plural"
	"relay/statuspage"
)

//go:embed templates/style.css
var style string

//go:embed templates/pages.html
var templates string

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"moment": moment, "machine": machine, "sentence": sentence, "length": length,
	"plural": func(n int, word string) string { return plural.Of(n, word) },
	"word":   func(s statuspage.State) string { return stateWords[known(s)] },
	"known":  known,
	"lasted": func(from, to time.Time) string {
		return length(to.Sub(from).Seconds())
	},
	"sameDay": func(a, b time.Time) bool {
		return a.UTC().Format(time.DateOnly) == b.UTC().Format(time.DateOnly)
	},
	"clock": func(t time.Time) string { return t.UTC().Format("15:04 UTC") },
}).Parse(templates))

// policy lets a page load nothing but its own style: no script runs, even if a text got into the page as it is.
var policy = "default-src 'none'; style-src 'sha256-" + digest(style) + "'; img-src data:; base-uri 'none'; form-action 'none'"

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// head is what pages have in common.
type head struct {
	// Site is the title of the status page, Title that of this page.
	Site, Title string
	// Root leads from the page to the first one: "" or "../".
	Root string
	// Canonical is the public address of the page, if it is known.
	Canonical string
	Style     template.CSS
	Policy    string
	Icon      template.URL
	State     statuspage.State
}

func headOf(v *statuspage.View, title, root, path string) head {
	state := worst(v.Services)
	h := head{Site: v.Title, Title: title, Root: root, Style: template.CSS(style), Policy: policy, Icon: icons[state], State: state}
	if h.Site == "" {
		h.Site = "Status"
	}
	if base := baseURL(v); base != "" {
		h.Canonical = base + path
	}
	return h
}

// first is the first page.
type first struct {
	head
	Headline string
	// Named are the services that the headline is about.
	Named   []named
	Checked time.Time
	// Open are incidents that last, Past those that ended.
	Open, Past, Maintenance []incident
	Groups                  []group
}

// group are the services under one heading, in the order of the settings.
type group struct {
	Name     string
	Services []service
}

type service struct {
	statuspage.Service
	Bars   bars
	Uptime string
}

// incident is one that people wrote.
type incident struct {
	statuspage.Incident
	// Page is its own page from the first one; empty if its id cannot be a file's name.
	Page string
	// Mood is how it is shown: "down" or "degraded" while it lasts, "planned", "over".
	Mood string
	// Updates have the names by which they are linked.
	Updates []update
}

// CalledOff reports whether maintenance ended before it began.
func (i incident) CalledOff() bool { return !i.End.IsZero() && i.End.Before(i.Begin) }

// Latest is the newest update, nil if there is none.
func (i incident) Latest() *update {
	if len(i.Updates) == 0 {
		return nil
	}
	return &i.Updates[0]
}

type update struct {
	statuspage.Update
	Anchor string
}

// fileName is what may be the name of a page: the ids that people or programs chose come from outside.
var fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,79}$`)

func incidentPath(id string) string {
	if !fileName.MatchString(id) {
		return ""
	}
	return "incidents/" + id + ".html"
}

func incidentOf(i statuspage.Incident, services []statuspage.Service, planned bool) incident {
	out := incident{Incident: i, Page: incidentPath(i.ID), Mood: "degraded", Updates: updatesOf(i)}
	switch {
	case planned:
		out.Mood = "planned"
	case !i.End.IsZero():
		out.Mood = "over"
	case slices.ContainsFunc(services, func(s statuspage.Service) bool {
		return s.State == statuspage.Down && slices.Contains(i.Services, s.Name)
	}):
		out.Mood = "down"
	}
	return out
}

// updatesOf names each update by its time, so that links and entries of feeds stay when others are added.
func updatesOf(i statuspage.Incident) []update {
	updates := make([]update, len(i.Updates))
	seen := make(map[string]int)
	for at, u := range slices.Backward(i.Updates) {
		anchor := "u" + u.Time.UTC().Format("20060102150405")
		if seen[anchor]++; seen[anchor] > 1 {
			anchor = fmt.Sprintf("%s-%d", anchor, seen[anchor])
		}
		updates[at] = update{u, anchor}
	}
	return updates
}

func firstOf(v *statuspage.View) first {
	f := first{head: headOf(v, "", "", ""), Headline: headline(v.Services), Named: namedOf(v.Services), Checked: v.Time.Truncate(time.Minute)}
	for _, i := range v.Incidents {
		if i.End.IsZero() {
			f.Open = append(f.Open, incidentOf(i, v.Services, false))
		} else {
			f.Past = append(f.Past, incidentOf(i, v.Services, false))
		}
	}
	for _, i := range v.Maintenance {
		f.Maintenance = append(f.Maintenance, incidentOf(i, v.Services, true))
	}
	at := make(map[string]int)
	for _, s := range v.Services {
		n, ok := at[s.Group]
		if !ok {
			n = len(f.Groups)
			at[s.Group] = n
			f.Groups = append(f.Groups, group{Name: s.Group})
		}
		f.Groups[n].Services = append(f.Groups[n].Services, service{s, barsOf(s.Days), share(s.Uptime)})
	}
	return f
}

// story is the page of an incident.
type story struct {
	head
	Incident incident
}

// incidentMark begins each page of an incident: so it is known later whose file it is.
const incidentMark = "<!doctype html>\n<!-- An incident of a status page. -->\n"

// htmlFiles adds the pages of a view to files, by path.
func htmlFiles(v *statuspage.View, add func(path string, body []byte)) error {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, "first", firstOf(v)); err != nil {
		return err
	}
	add("index.html", page.Bytes())
	for _, planned := range []bool{false, true} {
		list := v.Incidents
		if planned {
			list = v.Maintenance
		}
		for _, i := range list {
			one := incidentOf(i, v.Services, planned)
			if one.Page == "" {
				continue
			}
			var page bytes.Buffer
			page.WriteString(incidentMark)
			s := story{headOf(v, i.Title, "../", one.Page), one}
			if err := pages.ExecuteTemplate(&page, "incident", s); err != nil {
				return err
			}
			add(one.Page, page.Bytes())
		}
	}
	return nil
}

// baseURL is the public address of the page with a slash at its end; empty if it is not known.
func baseURL(v *statuspage.View) string {
	if v.URL == "" {
		return ""
	}
	return strings.TrimSuffix(v.URL, "/") + "/"
}
