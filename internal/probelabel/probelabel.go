// Package probelabel reads what the label RELAY_{n}_PROBE of an app port says: how it is asked from outside, and what
// is expected. Relay reads it to check it, and whoever asks to know what to ask.
package probelabel

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is how a port is asked.
type Kind string

// The kinds. Off is never asked, also not by chance.
const (
	HTTP      Kind = "http"
	GRPC      Kind = "grpc"
	WebSocket Kind = "websocket"
	TCP       Kind = "tcp"
	Module    Kind = "module"
	Off       Kind = "off"
)

const (
	// MaxBytes is the length of a value.
	MaxBytes    = 512
	maxStatus   = 10
	maxContains = 128
	maxName     = 64
	// Longest is how long an answer may take at most.
	Longest = time.Minute
)

// Label is what the label says.
type Label struct {
	Kind Kind
	// Method and Path are those of HTTP and WebSockets. Name is that of a service of gRPC, or of a module of the settings.
	Method, Path, Name string
	// Status are those that are expected; Class, from 1 to 5, takes all of a class. Without both 2xx is expected.
	Status []int
	Class  int
	// Contains is a text that the answer has to have.
	Contains string
	// Within is how long the answer may take; 0 if it does not say.
	Within time.Duration
}

// How says what can be written, for errors.
const How = `write a path with what is expected, such as /health, /health 200, HEAD /, /health 2xx within 500ms or /health contains "ok"; or grpc, websocket /path, tcp, module NAME, off`

// Parse reads a value. Errors say what to write.
func Parse(value string) (Label, error) {
	if len(value) > MaxBytes {
		return Label{}, fmt.Errorf("it has more than %d bytes", MaxBytes)
	}
	words, err := split(value)
	if err != nil {
		return Label{}, err
	}
	if len(words) == 0 {
		return Label{}, fmt.Errorf("it is empty: %s", How)
	}
	var l Label
	rest, err := l.begin(words)
	if err != nil {
		return Label{}, err
	}
	for len(rest) > 0 {
		if rest, err = l.expect(rest); err != nil {
			return Label{}, err
		}
	}
	if l.Contains != "" && l.Method == "HEAD" {
		return Label{}, fmt.Errorf("an answer to HEAD contains nothing: leave HEAD out")
	}
	return l, nil
}

// word is a word of a value, which may have stood in quotes.
type word struct {
	text   string
	quoted bool
}

// split cuts a value at spaces; what is in double quotes is one word.
func split(value string) (words []word, err error) {
	if !utf8.ValidString(value) {
		return nil, fmt.Errorf("it is no text in UTF-8")
	}
	for value = strings.TrimLeft(value, " \t"); value != ""; value = strings.TrimLeft(value, " \t") {
		if value[0] == '"' {
			quoted, err := strconv.QuotedPrefix(value)
			if err != nil {
				return nil, fmt.Errorf("a quote has no end: write a backslash before a quote in a text")
			}
			text, err := strconv.Unquote(quoted)
			if err != nil || !utf8.ValidString(text) {
				return nil, fmt.Errorf("the text %.40s cannot be read", quoted)
			}
			words, value = append(words, word{text, true}), value[len(quoted):]
			continue
		}
		end := strings.IndexAny(value, " \t\"")
		if end < 0 {
			end = len(value)
		}
		words, value = append(words, word{value[:end], false}), value[end:]
	}
	return words, nil
}

// begin reads what to ask, and returns the words behind it.
func (l *Label) begin(words []word) ([]word, error) {
	first := words[0].text
	if words[0].quoted {
		return nil, fmt.Errorf("it begins with a text in quotes: %s", How)
	}
	next := func() (string, bool) {
		if len(words) > 1 && !words[1].quoted {
			return words[1].text, true
		}
		return "", false
	}
	switch {
	case strings.HasPrefix(first, "/"):
		l.Kind = HTTP
		return words[1:], l.path(first)
	case first == "GET" || first == "HEAD":
		path, _ := next()
		if l.Kind = HTTP; first == "HEAD" {
			l.Method = first
		}
		return words[min(2, len(words)):], l.path(path)
	case first == "websocket":
		path, _ := next()
		l.Kind = WebSocket
		return words[min(2, len(words)):], l.path(path)
	case first == "grpc":
		l.Kind = GRPC
		if name, ok := next(); ok && name != "within" {
			l.Name = name
			return words[2:], checkName(name, "service of gRPC")
		}
		return words[1:], nil
	case first == "module":
		l.Kind = Module
		l.Name, _ = next()
		return words[min(2, len(words)):], checkName(l.Name, "module")
	case first == "tcp" || first == "off":
		l.Kind = Kind(first)
		return words[1:], nil
	}
	return nil, fmt.Errorf("%.40q is not known: %s", first, How)
}

// path takes one without a query: people are shown it, and a query may have what is secret.
func (l *Label) path(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%.40q is not a path: it begins with a slash", path)
	case strings.ContainsAny(path, "?#"):
		return fmt.Errorf("the path has a query, which is not asked for, as people are shown it")
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("the path has other characters than printable ASCII: escape them")
	}
	l.Path = path
	return nil
}

func checkName(name, of string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/", r))
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%.40q is not the name of a %s: it has letters, digits, dots, hyphens, underscores and slashes, at most %d", name, of, maxName)
	}
	return nil
}

// expect reads one expectation, and returns the words behind it.
func (l *Label) expect(words []word) ([]word, error) {
	key := words[0].text
	switch {
	case l.Kind == Off:
		return nil, fmt.Errorf("nothing follows off")
	case !words[0].quoted && key == "within" && l.Within == 0:
		if len(words) < 2 {
			return nil, fmt.Errorf("within needs a duration, such as 500ms")
		}
		d, err := time.ParseDuration(words[1].text)
		if err != nil || d < time.Millisecond || d > Longest {
			return nil, fmt.Errorf("%.40q is not a duration from 1ms to %s, such as 500ms", words[1].text, "1m")
		}
		l.Within = d
		return words[2:], nil
	case !words[0].quoted && key == "contains" && l.Kind == HTTP && l.Contains == "":
		if len(words) < 2 || words[1].text == "" || len(words[1].text) > maxContains {
			return nil, fmt.Errorf("contains needs a text of at most %d bytes, in quotes if it has spaces", maxContains)
		}
		l.Contains = words[1].text
		return words[2:], nil
	case !words[0].quoted && l.Kind == HTTP && l.Status == nil && l.Class == 0:
		return words[1:], l.status(key)
	}
	return nil, fmt.Errorf("%.40q is not known there, or is there twice: %s", key, How)
}

// status reads "2xx", or codes with commas between.
func (l *Label) status(text string) error {
	if len(text) == 3 && text[1:] == "xx" && text[0] >= '1' && text[0] <= '5' {
		l.Class = int(text[0] - '0')
		return nil
	}
	for one := range strings.SplitSeq(text, ",") {
		code, err := strconv.Atoi(one)
		if err != nil || code < 100 || code > 599 || len(one) != 3 {
			return fmt.Errorf("%.40q is no status: write 200, or 200,204, or 2xx", text)
		}
		if !slices.Contains(l.Status, code) {
			l.Status = append(l.Status, code)
		}
	}
	if len(l.Status) > maxStatus {
		return fmt.Errorf("there are %d statuses: at most %d are compared", len(l.Status), maxStatus)
	}
	return nil
}

// String writes it as Parse reads it.
func (l Label) String() string {
	var words []string
	switch l.Kind {
	case HTTP:
		if l.Method != "" {
			words = append(words, l.Method)
		}
		words = append(words, l.Path)
	case WebSocket:
		words = append(words, string(l.Kind), l.Path)
	default:
		words = append(words, string(l.Kind))
		if l.Name != "" {
			words = append(words, l.Name)
		}
	}
	if l.Class != 0 {
		words = append(words, fmt.Sprintf("%dxx", l.Class))
	}
	if len(l.Status) > 0 {
		codes := make([]string, len(l.Status))
		for i, code := range l.Status {
			codes[i] = strconv.Itoa(code)
		}
		words = append(words, strings.Join(codes, ","))
	}
	if l.Within != 0 {
		words = append(words, "within", l.Within.String())
	}
	if l.Contains != "" {
		words = append(words, "contains", strconv.Quote(l.Contains))
	}
	return strings.Join(words, " ")
}
