package failure

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// DefaultPage is the name of the page for codes that have none of their own.
	DefaultPage = "default"
	// MaxPage is how many bytes a page has at most.
	MaxPage = 64 << 10
	// maxPlaceholders is how many a page has at most: each takes memory in each filter chain.
	maxPlaceholders = 20
)

// The placeholders of pages, which are written as {{code}}.
const (
	// PageDomain is the host that was asked for, without a port.
	PageDomain = "domain"
	// PageCode, PageStatus and PageText are those of the answer.
	PageCode, PageStatus, PageText = "code", "status", "text"
	// PageRequestID is the id of the request, which apps see, too.
	PageRequestID = "request_id"
)

var placeholders = []string{PageDomain, PageCode, PageStatus, PageText, PageRequestID}

// Page is HTML of one's own for a code: texts and placeholders by turns, the first and the last
// of which are texts, which may be empty.
type Page struct {
	Texts        []string
	Placeholders []string
}

// Pages are those of a fleet, by the name of the code, or DefaultPage. They are never modified.
type Pages map[string]Page

// Of returns the page of a code.
func (p Pages) Of(code string) (name string, page Page, ok bool) {
	for _, name := range []string{code, DefaultPage} {
		if page, ok := p[name]; ok {
			return name, page, true
		}
	}
	return "", Page{}, false
}

// placeholder is what is meant as one. Other braces are left as they are: styles and scripts have
// some.
var placeholder = regexp.MustCompile(`\{\{ *([A-Za-z_][A-Za-z0-9_.-]*) *\}\}`)

// ParsePage reads the HTML of a page. The error says what keeps it from being used.
func ParsePage(html []byte) (Page, error) {
	switch {
	case len(bytes.TrimSpace(html)) == 0:
		return Page{}, errors.New("it is empty")
	case len(html) > MaxPage:
		return Page{}, fmt.Errorf("it is larger than %d kB", MaxPage>>10)
	case !utf8.Valid(html):
		return Page{}, errors.New("it is not UTF-8")
	case bytes.IndexByte(html, 0) >= 0:
		return Page{}, errors.New("it has a zero byte")
	}
	text := strings.TrimPrefix(string(html), "\ufeff")
	var page Page
	from := 0
	for _, at := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		name := text[at[2]:at[3]]
		if !slices.Contains(placeholders, name) {
			return Page{}, fmt.Errorf("there is no placeholder {{%.40s}}: there are %s", name, joined(placeholders))
		}
		page.Texts, page.Placeholders = append(page.Texts, text[from:at[0]]), append(page.Placeholders, name)
		from = at[1]
	}
	if n := len(page.Placeholders); n > maxPlaceholders {
		return Page{}, fmt.Errorf("it has %d placeholders: at most %d are possible", n, maxPlaceholders)
	}
	page.Texts = append(page.Texts, text[from:])
	return page, nil
}

func joined(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, "{{"+name+"}}")
	}
	return strings.Join(all, ", ")
}

// CheckPageName returns what is wrong with a name of a page: it must be DefaultPage or the name of
// a code.
func CheckPageName(name string) error {
	if _, ok := Of(name); ok || name == DefaultPage {
		return nil
	}
	names := []string{DefaultPage}
	for _, c := range codes {
		names = append(names, c.Name)
	}
	return fmt.Errorf("no code is called %.60q: there are %s", name, strings.Join(names, ", "))
}
