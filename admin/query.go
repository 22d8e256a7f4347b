package admin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"relay/admin/api"
)

// maxText is how many characters a parameter may have, where nothing else is said: it is compared
// with all names. maxCursor is that of a cursor, which has the name of an entry in it.
const (
	maxText   = 256
	maxCursor = 4096
)

// parameter is a parameter of a query.
type parameter struct {
	Name string
	// Text says what it is for.
	Text string
	// Values are those allowed; empty for any text. The first is the default.
	Values []string
	// Max is the greatest number, for a parameter that is a number; the least is 1. Default is
	// what holds without it.
	Max, Default int
	// Length is how many characters a text may have; 0 is maxText.
	Length int
	// Required tells that it has to be there, and not empty.
	Required bool
}

// query are the parameters of a request, each of which is allowed.
type query struct {
	values map[string]string
	limit  int
	after  *position
}

// text returns a parameter in lower case, to be compared with names in lower case.
func (q query) text(name string) string { return strings.ToLower(q.values[name]) }

// number returns a parameter that is a number; 0 if it is not there.
func (q query) number(name string) int {
	n, _ := strconv.Atoi(q.values[name]) // was read
	return n
}

// readQuery checks the parameters of a request against those that there are.
func readQuery(r *http.Request, params []parameter) (query, error) {
	q := query{values: make(map[string]string), limit: api.DefaultLimit}
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return q, badRequest("the query cannot be read: " + err.Error())
	}
	for name, values := range given {
		i := slices.IndexFunc(params, func(p parameter) bool { return p.Name == name })
		switch {
		case i < 0:
			return q, badRequest(fmt.Sprintf("there is no parameter %.100q here: %s", name, known(params)))
		case len(values) > 1:
			return q, badRequest(fmt.Sprintf("the parameter %s is there %d times: once is enough", name, len(values)))
		}
		if q.values[name], err = params[i].read(values[0]); err != nil {
			return q, err
		}
	}
	for _, p := range params {
		if _, ok := q.values[p.Name]; !ok && len(p.Values) > 0 {
			q.values[p.Name] = p.Values[0]
		}
	}
	for _, p := range params {
		if p.Required && strings.TrimSpace(q.values[p.Name]) == "" {
			return q, badRequest(fmt.Sprintf("the parameter %s is needed: %s", p.Name, p.Text))
		}
	}
	if limit, ok := q.values["limit"]; ok {
		q.limit, _ = strconv.Atoi(limit) // was read
	}
	if cursor := q.values["cursor"]; cursor != "" {
		if q.after, err = readPosition(cursor, q.values["sort"]); err != nil {
			return q, err
		}
	}
	return q, nil
}

func known(params []parameter) string {
	if len(params) == 0 {
		return "there is none"
	}
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.Name
	}
	return "there are " + strings.Join(names, ", ")
}

func (p parameter) read(value string) (string, error) {
	most := p.Length
	if most == 0 {
		most = maxText
	}
	switch {
	case utf8.RuneCountInString(value) > most:
		return "", badRequest(fmt.Sprintf("the parameter %s has %d characters: at most %d are allowed", p.Name, utf8.RuneCountInString(value), most))
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return "", badRequest(fmt.Sprintf("the parameter %s is no text in UTF-8", p.Name))
	case len(p.Values) > 0 && !slices.Contains(p.Values, value):
		return "", badRequest(fmt.Sprintf("the parameter %s is %q: it can be %s", p.Name, value, strings.TrimPrefix(strings.Join(p.Values, ", "), ", ")))
	}
	if p.Max > 0 {
		if n, err := strconv.Atoi(value); err != nil || n < 1 || n > p.Max || strconv.Itoa(n) != value {
			return "", badRequest(fmt.Sprintf("the parameter %s is %q: it is a number from 1 to %d", p.Name, value, p.Max))
		}
	}
	return value, nil
}

// position is that of an entry in a list: what it is sorted by, and its name. The entries after
// it stay the same whatever comes or goes before it.
type position struct {
	Sort  string  `json:"s,omitempty"`
	Value float64 `json:"v,omitempty"`
	Name  string  `json:"n,omitempty"`
	ID    uint64  `json:"i,omitempty"`
}

func (p position) cursor() string {
	text, _ := json.Marshal(p) // cannot fail
	return base64.RawURLEncoding.EncodeToString(text)
}

// readPosition reads a cursor that was given for the same order.
func readPosition(cursor, sort string) (*position, error) {
	var p position
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	switch {
	case err != nil:
		return nil, badRequest("the cursor is none that was given here: begin without one")
	case p.Sort != sort:
		return nil, badRequest(fmt.Sprintf("the cursor was given for sort=%.20s, and sort is %s now: begin without one", p.Sort, sort))
	}
	return &p, nil
}
