package explain

import (
	"fmt"
	"strings"

	"relay/sources"
)

// matchWords says what a request must be like.
func matchWords(m sources.Match) string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	if m.Scheme != "" {
		say("by %s", m.Scheme)
	}
	for _, h := range m.Headers {
		if h.Name == ":method" {
			say("%sof method %s", not(h.Not), strings.ReplaceAll(h.Value, "|", " or "))
			continue
		}
		say("%swith the header %s", not(h.Not), fieldWords(h))
	}
	for _, q := range m.Query {
		say("%swith the parameter %s", not(q.Not), fieldWords(q))
	}
	for _, path := range m.NotPaths {
		rest := "*"
		if path.Exact {
			rest = ""
		}
		say("not for %s%s", path.Prefix, rest)
	}
	return strings.Join(words, ", ")
}

func not(inverted bool) string {
	if inverted {
		return "not "
	}
	return ""
}

func fieldWords(f sources.FieldMatch) string {
	switch {
	case f.Value == "":
		return f.Name
	case f.Regex:
		return f.Name + " like " + sources.Clip(f.Value)
	}
	return f.Name + "=" + sources.Clip(f.Value)
}
