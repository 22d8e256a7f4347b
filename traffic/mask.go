package traffic

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest texts of a request, in bytes as the client sent them.
const maxTailedPath, maxUserAgent = 1024, 200

// maskedRun is how many letters and digits in a row, with a digit among them, are taken for a
// token or key, of which masked leaves shownOfRun. Words are not: they have no digits. Nor is a
// UUID, in which at most twelve are in a row.
const maskedRun, shownOfRun = 16, 4

// maskPath takes out of a path what may be a credential: the query, parameters of segments,
// users of URLs, and what looks like a token.
func maskPath(path string) string {
	path, query, asked := strings.Cut(path, "?")
	if !asked {
		// Some apps take an encoded one for it.
		for _, mark := range []string{"%3f", "%3F", "#", "%23"} {
			if before, after, found := strings.Cut(path, mark); found {
				path, query, asked = before, after, true
			}
		}
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		for _, mark := range []string{";", "%3b", "%3B"} {
			if name, parameters, found := strings.Cut(segment, mark); found && parameters != "" {
				segment = name + ";…"
			}
		}
		// In a URL within the path, a user is before the host.
		if at := strings.LastIndexByte(segment, '@'); at >= 0 && i >= 2 && segments[i-1] == "" && strings.HasSuffix(segments[i-2], ":") {
			segment = "…" + segment[at:]
		}
		segments[i] = maskTokens(segment)
	}
	path = strings.Join(segments, "/")
	if asked && query != "" {
		return path + "?…"
	} else if asked {
		return path + "?"
	}
	return path
}

// maskTokens shows of what looks like a token only the beginning.
func maskTokens(text string) string {
	var masked strings.Builder
	for len(text) > 0 {
		n, digits := 0, false
		for n < len(text) && isLetterOrDigit(text[n]) {
			digits = digits || text[n] >= '0' && text[n] <= '9'
			n++
		}
		if n >= maskedRun && digits {
			masked.WriteString(text[:shownOfRun] + "…")
		} else {
			masked.WriteString(text[:n])
		}
		text = text[n:]
		if len(text) > 0 && !isLetterOrDigit(text[0]) {
			masked.WriteByte(text[0])
			text = text[1:]
		}
	}
	return masked.String()
}

func isLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// visible cuts a text of a stranger, and replaces what cannot be seen, or changes how the rest is
// shown, such as escape sequences of terminals and marks that turn the direction of writing.
func visible(s string, most int) string {
	return clean(s, most, func(string) string { return "?" })
}

// visiblePath does so with a path, in which such characters can be told as they are.
func visiblePath(s string) string {
	return clean(s, maxTailedPath, func(raw string) string {
		var encoded strings.Builder
		for i := range len(raw) {
			fmt.Fprintf(&encoded, "%%%02X", raw[i])
		}
		return encoded.String()
	})
}

// clean cuts a text, and replaces each character that is not one to be seen. The copy does not
// hold on to the message.
func clean(s string, most int, replace func(raw string) string) string {
	var b strings.Builder
	cut := len(s) > most
	s = s[:min(len(s), most)]
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n <= 1 || !unicode.IsPrint(r) {
			b.WriteString(replace(s[:n]))
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	if cut {
		b.WriteString("…")
	}
	return b.String()
}
