// Package logs has the ways of Relay's log to other places: as JSON with the names of the Elastic Common
// Schema, and by syslog.
package logs

import (
	"encoding"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode"
)

// field is one value of a line.
type field struct{ key, value string }

// flatten appends the attributes as texts; those in groups get the names of these before a dot. Secrets hide
// themselves when they are resolved, and when they are printed.
func flatten(fields []field, group string, attributes []slog.Attr) []field {
	for _, a := range attributes {
		v := a.Value.Resolve()
		if v.Kind() == slog.KindGroup {
			inner := group
			if a.Key != "" {
				inner += a.Key + "."
			}
			fields = flatten(fields, inner, v.Group())
			continue
		}
		if a.Key != "" {
			fields = append(fields, field{group + a.Key, text(v)})
		}
	}
	return fields
}

// text is a value as slog's own handler for text has it.
func text(v slog.Value) string {
	if v.Kind() != slog.KindAny {
		return v.String()
	}
	switch x := v.Any().(type) {
	case error:
		return x.Error()
	case encoding.TextMarshaler:
		if out, err := x.MarshalText(); err == nil {
			return string(out)
		}
	}
	return fmt.Sprintf("%+v", v.Any())
}

// line is text on one line without what a reader could take for the end of it, and not longer than so many bytes.
func line(text string, most int) string {
	const more = "…"
	if len(text) > most {
		// A rune that was cut in the middle goes, with all that is invalid.
		text = strings.ToValidUTF8(text[:most-len(more)], "") + more
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// token is a word of printable ASCII, as headers of syslog take it, without the other characters that are given.
func token(text string, most int, without string) string {
	out := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' || strings.ContainsRune(without, r) {
			return '_'
		}
		return r
	}, text)
	return out[:min(len(out), most)]
}

// handler keeps what loggers were made with, and has take make a line of it.
type handler struct {
	enabled func(slog.Level) bool
	take    func(slog.Record, []field)
	group   string
	fields  []field
}

// with returns a handler with more of the same.
func (h handler) with(group string, attributes []slog.Attr) handler {
	h.fields = flatten(slices.Clip(h.fields), h.group, attributes)
	h.group += group
	return h
}
