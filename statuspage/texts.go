package statuspage

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// plainText says what is wrong with a text of one line that everybody may read; nil if nothing is.
func plainText(what, text string, most int) error {
	if err := publicText(what, text, most); err != nil {
		return err
	}
	for _, r := range text {
		if r == '\n' {
			return fmt.Errorf("%s: want one line", what)
		}
	}
	return nil
}

// publicText says what is wrong with a text that everybody may read: it is shown in pages, feeds and terminals, where some
// characters do things that nobody sees.
func publicText(what, text string, most int) error {
	n := utf8.RuneCountInString(text)
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("%s: it is no text in UTF-8", what)
	case n > most:
		return fmt.Errorf("%s: it has %d characters: at most %d are allowed", what, n, most)
	}
	seen := false
	for _, r := range text {
		if r != '\n' && hidden(r) {
			return fmt.Errorf("%s: the character %U is not allowed", what, r)
		}
		seen = seen || !unicode.IsSpace(r)
	}
	if !seen {
		return fmt.Errorf("%s: it is empty", what)
	}
	return nil
}

// hidden reports whether a character is not shown itself but does something: it controls, or turns the direction. Two that join
// letters, or do not, are needed to write some languages.
func hidden(r rune) bool {
	switch {
	case r >= ' ' && r < 0x7f, r > 0xa0 && r < 0x300 && r != 0xad: // most of what is written
		return false
	case r == '\u200c', r == '\u200d':
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point)
}
