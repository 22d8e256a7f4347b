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
		switch {
		case r == '\n':
			continue
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Noncharacter_Code_Point, r),
			unicode.Is(unicode.Variation_Selector, r) && r != '\uFE0F', r == '\u200B', r == '\u2060', r == '\uFEFF', r == '\u2028', r == '\u2029':
			return fmt.Errorf("%s: the character %U is not allowed", what, r)
		}
		seen = seen || !unicode.IsSpace(r)
	}
	if !seen {
		return fmt.Errorf("%s: it is empty", what)
	}
	return nil
}
