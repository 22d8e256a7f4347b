package sources

import (
	"unicode"
	"unicode/utf8"
)

// What stands between words; a hyphen outweighs an underscore.
const underscore, hyphen = 1, 2

var separators = [...]byte{underscore: '_', hyphen: '-'}

// AppendFolded appends text to dst as people read it, so that what differs in things that
// nobody sees or minds becomes equal. Letters are in lower case, and those that look like
// Latin ones are these. A run of underscores and white space becomes one "_", and a run in
// which there are hyphens, dots, slashes or colons one "-"; at both ends they are left
// out. Quotes and invisible characters are left out everywhere.
func AppendFolded(dst []byte, text string) []byte {
	start, separator := len(dst), byte(0) // that was read and not written yet
	for _, c := range text {
		if c >= utf8.RuneSelf {
			c = foldOther(c)
		}
		switch {
		case c == '_' || c == ' ' || c >= '\t' && c <= '\r':
			separator = max(separator, underscore)
		case c == '-' || c == '.' || c == '/' || c == ':':
			separator = hyphen
		case c < ' ' || c == 0x7f || c == '"' || c == '\'' || c == '`':
		default:
			if separator != 0 && len(dst) > start {
				dst = append(dst, separators[separator])
			}
			separator = 0
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = utf8.AppendRune(dst, c)
		}
	}
	return dst
}

// foldOther returns what a character beyond ASCII is read as: an ASCII character, itself
// in lower case, or 0 if it is not seen.
func foldOther(c rune) rune {
	switch {
	case unicode.IsLetter(c) && (c < 'Α' || c > 'ӿ') && c < '！': // neither Greek nor Cyrillic
		return unicode.ToLower(c)
	case c >= '！' && c <= '～': // of full width
		return c - '！' + '!'
	case unicode.In(c, unicode.Cf, unicode.Cc, unicode.Mn, unicode.Other_Default_Ignorable_Code_Point):
		return 0
	case unicode.IsSpace(c), unicode.Is(unicode.Pc, c):
		return '_'
	case unicode.Is(unicode.Pd, c):
		return '-'
	case unicode.In(c, unicode.Pi, unicode.Pf): // quotes
		return 0
	}
	if latin := lookAlikes[unicode.ToUpper(c)]; latin != 0 {
		return latin
	}
	return unicode.ToLower(c)
}

// lookAlikes has the capital letters of Greek and Cyrillic that look like Latin ones.
var lookAlikes = map[rune]rune{
	'Α': 'a', 'Β': 'b', 'Ε': 'e', 'Ζ': 'z', 'Η': 'h', 'Ι': 'i', 'Κ': 'k', 'Μ': 'm', 'Ν': 'n', 'Ο': 'o', 'Ρ': 'p', 'Τ': 't', 'Υ': 'y', 'Χ': 'x',
	'А': 'a', 'В': 'b', 'Е': 'e', 'Ѕ': 's', 'І': 'i', 'Ј': 'j', 'К': 'k', 'М': 'm', 'Н': 'h', 'О': 'o', 'Р': 'p', 'С': 'c', 'Т': 't', 'У': 'y', 'Х': 'x',
}

// Typos is how many slips of a hand make one word of another: a letter too much, too few
// or wrong, or two letters next to each other that changed places. Words of which it is
// asked are short: it takes time by the product of their lengths.
func Typos(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			d := row[j]
			if a[i] != b[j] {
				d++
			}
			d = min(d, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			next[j+1] = d
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
