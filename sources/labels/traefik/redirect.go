package traefik

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"

	"relay/sources"
)

// redirectOf turns an expression for whole URLs, such as ^https?://www\.example\.com/(.*), into expressions for the host
// and the path. What comes before the first slash after the scheme is the host.
func redirectOf(pattern, replacement string, code int) (sources.Redirect, error) {
	none := errors.New("it is none of the expressions by which Relay redirects, such as ^https?://www\\.example\\.com/(.*), with a scheme, a host and a path")
	if len(pattern) > sources.MaxMatchBytes || len(replacement) > sources.MaxMatchBytes {
		return sources.Redirect{}, errors.New("it is too long")
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return sources.Redirect{}, errors.New("its expression is none")
	}
	redirect := sources.Redirect{Code: code}
	rest := strings.TrimPrefix(pattern, "^")
	first := 1 // the number of the first group of the host
	switch scheme, after, ok := strings.Cut(rest, "://"); {
	case !ok:
		return redirect, none
	case scheme == "http" || scheme == "https":
		redirect.Scheme, rest = scheme, after
	case scheme == "https?" || scheme == "http(?:s)?":
		rest = after
	case scheme == "(https?)" || scheme == "http(s)?":
		rest, first = after, 2
	default:
		return redirect, none
	}
	host, path := cutPath(rest)
	if !whole(host) || !whole(path) {
		return redirect, none
	}
	if strings.HasSuffix(pattern, "$") {
		path = strings.TrimSuffix(path, "$")
	} else if path == "" || !strings.HasSuffix(path, ".*") && !strings.HasSuffix(path, "(.*)") {
		path += ".*"
	}
	redirect.Host, redirect.Path = host, path
	// Traefik looks at the URL with its query, which is kept if it is a part of what is kept.
	redirect.DropQuery = !strings.HasSuffix(path, "(.*)")
	target, ok := renumbered(replacement, first)
	if !ok {
		return redirect, errors.New("it uses the scheme of the request, which Relay cannot put into a target")
	}
	redirect.Target = target
	return redirect, nil
}

// cutPath cuts an expression at the first slash that is in no group or class.
func cutPath(pattern string) (host, path string) {
	depth, class, escaped := 0, false, false
	for i := range len(pattern) {
		c := pattern[i]
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '/' && depth == 0:
			return pattern[:i], pattern[i:]
		}
	}
	return pattern, ""
}

// whole reports whether a part of an expression is one of its own.
func whole(pattern string) bool {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && parsed.Op != syntax.OpAlternate
}

// renumbered has the groups of a replacement begin with those of the host.
func renumbered(replacement string, first int) (string, bool) {
	fine := true
	text := group.ReplaceAllStringFunc(strings.ReplaceAll(replacement, `\`, `\\`), func(found string) string {
		n := int(strings.Trim(found, "${}")[0] - '0')
		if n < first {
			fine = false
			return ""
		}
		return `\` + string(rune('0'+n-first+1))
	})
	return text, fine
}
