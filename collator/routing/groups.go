package routing

import (
	"slices"
	"strings"

	"relay/sources"
)

// NearFleet returns the name of a fleet that a group, which is none of them, was likely meant
// to be; "" if it is another word. Other load balancers may have groups of their own, so little
// may differ: case, white space, separators and letters that look alike, or one typo in a
// long word, or one or two letters at its end. Numbers tell names apart.
func NearFleet(group string, fleets []string) string {
	if slices.Contains(fleets, group) || len(group) > sources.MaxNameBytes {
		return ""
	}
	words := make([][]string, len(fleets)) // of each fleet; a group may have many words to compare
	joined := make([]string, len(fleets))
	for i, fleet := range fleets {
		words[i] = foldedWords(fleet)
		joined[i] = strings.Join(words[i], "")
	}
	same := func(name string) string {
		if folded := strings.Join(foldedWords(name), ""); folded != "" {
			if i := slices.Index(joined, folded); i >= 0 {
				return fleets[i]
			}
		}
		return ""
	}
	if fleet := same(group); fleet != "" {
		return fleet
	}
	// Commas are what separates groups, and people write other things.
	for _, one := range strings.FieldsFunc(group, func(c rune) bool { return strings.ContainsRune(" \t\r\n;|", c) }) {
		if fleet := same(one); fleet != "" {
			return fleet
		}
	}
	own := foldedWords(group)
	if i := slices.IndexFunc(words, func(fleet []string) bool { return nearWords(own, fleet) }); i >= 0 {
		return fleets[i]
	}
	return ""
}

// foldedWords are the words of a name, as people read it.
func foldedWords(name string) []string {
	return strings.FieldsFunc(string(sources.AppendFolded(nil, sources.BoundedName(name))), func(c rune) bool { return c == '_' || c == '-' })
}

// nearWords reports whether names differ in one word that may be mistyped.
func nearWords(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	near := 0
	for i := range a {
		switch {
		case a[i] == b[i]:
		case nearWord(a[i], b[i]):
			near++
		default:
			return false
		}
	}
	return near == 1
}

// minNear is the length of words of which one may be a mistyped other one.
const minNear = 5

func nearWord(a, b string) bool {
	short, long := a, b
	if len(short) > len(long) {
		short, long = long, short
	}
	switch {
	case len(short) < minNear || len(long)-len(short) > 2 || withoutDigits(a) == withoutDigits(b):
		return false
	case strings.HasPrefix(long, short):
		return true
	}
	return sources.Typos(short, long) == 1
}

func withoutDigits(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= '0' && c <= '9' {
			return -1
		}
		return c
	}, s)
}
