package traefik

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"relay/sources"
	"relay/sources/labels"
)

// placeholders are a text with variables between braces: {name}, or {name:pattern}.
type placeholders struct {
	// head is the text before the first variable, and tail that after the last one.
	head, tail string
	// variables are the patterns of the variables.
	variables []string
	// expression is a regular expression that the whole must fit.
	expression string
}

// parsePlaceholders reads a text with variables. A variable without a pattern has the one given.
func parsePlaceholders(text, pattern string) (placeholders, error) {
	var t placeholders
	var expression strings.Builder
	wrong := errors.New("has braces that are not closed, or a variable without a name")
	rest := text
	for {
		before, after, found := strings.Cut(rest, "{")
		if strings.ContainsRune(before, '}') {
			return t, wrong
		}
		expression.WriteString(regexp.QuoteMeta(before))
		if len(t.variables) == 0 {
			t.head = before
		}
		if !found {
			t.tail = before
			break
		}
		end := closing(after)
		if end < 0 {
			return t, wrong
		}
		name, own, has := strings.Cut(after[:end], ":")
		if !has {
			own = pattern
		}
		if name == "" || own == "" {
			return t, wrong
		}
		if wrong := labels.CheckPattern(own); wrong != "" {
			return t, fmt.Errorf("has a variable whose pattern %s", wrong)
		}
		t.variables = append(t.variables, own)
		expression.WriteString("(?:" + own + ")")
		rest = after[end+1:]
	}
	t.expression = expression.String()
	if len(t.expression) > sources.MaxMatchBytes-50 {
		return t, errors.New("has a pattern that is too long")
	}
	if wrong := labels.CheckWhole(t.expression + ".*"); wrong != "" {
		return t, fmt.Errorf("has a pattern that %s", wrong)
	}
	return t, nil
}

// closing returns where the brace is that closes one before the text: a pattern may have braces of its own.
func closing(text string) int {
	depth := 1
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
