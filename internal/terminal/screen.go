package terminal

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
	"golang.org/x/text/width"
)

// Screen is where a command writes for people.
type Screen struct {
	io.Writer
	// Width is how many columns there are; 0 if lines may be of any length.
	Width int
	// Color tells that styles are shown.
	Color bool
}

// minWidth is the least that tables are made for.
const minWidth = 40

// NewScreen looks at what is written to. Colours and widths are for terminals alone: what goes
// into a file or another program has all of it. NO_COLOR, if it is not empty, turns colours
// off (no-color.org), and so does TERM=dumb; COLUMNS goes before what the terminal says.
func NewScreen(w io.Writer, getenv func(string) string) *Screen {
	s := &Screen{Writer: w}
	file, ok := w.(*os.File)
	if !ok {
		return s
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return s
	}
	s.Width = int(size.Col)
	if columns, err := strconv.Atoi(getenv("COLUMNS")); err == nil && columns > 0 {
		s.Width = columns
	}
	if s.Width == 0 {
		s.Width = 80
	}
	s.Width = max(s.Width, minWidth)
	s.Color = getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	return s
}

// Style is how a text stands out. What it says is in the words too.
type Style string

// The styles, as SGR sequences of ECMA-48.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Faint  Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
)

// Styled returns a clean text in a style, if there are colours.
func (s *Screen) Styled(style Style, text string) string {
	if !s.Color || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// Paragraph writes a clean text after an indent, in lines that fit. What follows the first
// line is indented alike.
func (s *Screen) Paragraph(indent, text string) {
	s.Hanging(indent, strings.Repeat(" ", Width(indent)), text)
}

// Hanging is Paragraph with another indent after the first line.
func (s *Screen) Hanging(first, rest, text string) {
	line, used, empty := first, Width(first), true
	for _, word := range strings.Fields(text) {
		n := Width(word)
		if !empty && s.Width > 0 && used+1+n > s.Width {
			_, _ = io.WriteString(s, line+"\n")
			line, used, empty = rest, Width(rest), true
		}
		if !empty {
			line, used = line+" ", used+1
		}
		line, used, empty = line+word, used+n, false
	}
	_, _ = io.WriteString(s, strings.TrimRight(line, " ")+"\n")
}

// Width is how many columns a clean text takes, styled or not.
func Width(s string) (n int) {
	styled := false
	for _, r := range s {
		switch {
		case r == '\x1b':
			styled = true
		case styled:
			styled = r != 'm'
		default:
			n += runeWidth(r)
		}
	}
	return n
}

func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut returns a text of at most n columns; where something is missing, it ends with "…".
func Cut(s string, n int) string {
	if Width(s) <= n {
		return s
	}
	used := 0
	for i, r := range s {
		if used+runeWidth(r) > n-1 {
			return s[:i] + "…"
		}
		used += runeWidth(r)
	}
	return s
}
