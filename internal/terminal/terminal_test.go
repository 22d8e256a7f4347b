package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// hostile are texts that would do something to a terminal, or hide something.
var hostile = map[string]string{
	"plain, with ü, 漢字 and é":    "plain, with ü, 漢字 and é",
	"\x1b[2J\x1b]0;title\x07":    `\x1b[2J\x1b]0;title\a`,
	"a\r\nb\tc\x00\x7f":          `a\r\nb\tc\x00\x7f`,
	"\u009b31m":                  `\u009b31m`,
	"user\u202egnp.exe":          `user\u202egnp.exe`,
	"shop\u200b.test\ufeff":      `shop\u200b.test\ufeff`,
	"\u2066x\u2069":              `\u2066x\u2069`,
	"broken \xff\xc3":            `broken \xff\xc3`,
	"\uFFFD is a character":      "\uFFFD is a character",
	"\U000e0041 tag":             `\U000e0041 tag`,
	"no-break\u00a0space \u2028": `no-break\u00a0space \u2028`,
}

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range hostile {
		if got := Clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Clean(text)
		for _, r := range got {
			if !strconv.IsPrint(r) {
				t.Fatalf("%q: %q has %q", text, got, r)
			}
		}
		if Clean(got) != got || !utf8.ValidString(got) {
			t.Fatalf("%q: %q", text, got)
		}
	})
}

func TestCleanAll(t *testing.T) {
	t.Parallel()
	type named string
	type inner struct {
		Name   named
		Nested *inner
		hidden string
	}
	v := struct {
		List  []string
		Map   map[string][]named
		Any   any
		Raw   json.RawMessage
		Array [1]inner
		None  *inner
		Count int
	}{
		[]string{"\x1b"}, map[string][]named{"\x1b": {"\x1b"}}, map[string]any{"k\x1b": []any{"\x1b", 1.5, nil}}, json.RawMessage("\x1b"),
		[1]inner{{"\x1b", &inner{Name: "\x1b"}, "\x1b"}}, nil, 7,
	}
	want := v
	CleanAll(&v)
	want.List, want.Map, want.Any = []string{`\x1b`}, map[string][]named{`\x1b`: {`\x1b`}}, map[string]any{`k\x1b`: []any{`\x1b`, 1.5, nil}}
	want.Array = [1]inner{{`\x1b`, &inner{Name: `\x1b`}, "\x1b"}}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("%+v, want %+v", v, want)
	}
}

// JSON is the same after it was cleaned, in one piece or byte by byte.
func TestCleanJSON(t *testing.T) {
	t.Parallel()
	for text := range hostile {
		if !utf8.ValidString(text) {
			continue
		}
		v := map[string]string{"k" + text: text, "e": "emoji \U0001f600, 漢字"}
		var plain bytes.Buffer
		e := json.NewEncoder(&plain)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		got := CleanJSON(plain.Bytes())
		var back map[string]string
		if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%s: %v, %q", got, err, back)
		}
		if bytes.ContainsFunc(got, odd) {
			t.Errorf("%s is not clean", got)
		}
		var pieces bytes.Buffer
		w := JSONWriter(&pieces)
		for i := range plain.Len() {
			if n, err := w.Write(plain.Bytes()[i : i+1]); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		if pieces.String() != string(got) {
			t.Errorf("byte by byte: %s, want %s", pieces.String(), got)
		}
	}
	if text := []byte("{\n\t\"a\": \"ü\"\r\n}\n"); &CleanJSON(text)[0] != &text[0] {
		t.Error("harmless JSON is copied")
	}
}

func TestWidth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "shop": 4, "ü": 1, "u\u0308": 1, "漢字": 4, "\x1b[31mred\x1b[0m": 3} {
		if got := Width(text); got != want {
			t.Errorf("%q is %d wide, want %d", text, got, want)
		}
	}
	for _, tt := range []struct {
		text string
		n    int
		want string
	}{{"shop.test", 9, "shop.test"}, {"shop.test", 8, "shop.te…"}, {"漢字漢字", 5, "漢字…"}, {"漢字漢字", 4, "漢…"}, {"ab", 1, "…"}} {
		if got := Cut(tt.text, tt.n); got != tt.want || Width(got) > tt.n {
			t.Errorf("%q cut to %d: %q, want %q", tt.text, tt.n, got, tt.want)
		}
	}
}

func sample() ([]Column, [][]Cell) {
	return []Column{{Title: "APP"}, {Title: "N", Right: true}, {Title: "DOMAINS", Shrinks: true}, {Title: "WHY", Shrinks: true}},
		[][]Cell{
			{Text("/shop/web"), {"12", Red}, Text("shop.test, www.shop.test, 漢字.test"), Text("x")},
			{Text("/\x1b[2J\n"), Text("3"), Text(""), Text("")},
		}
}

func TestTable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		screen Screen
		want   string
	}{
		{Screen{}, "APP          N  DOMAINS                              WHY\n/shop/web   12  shop.test, www.shop.test, 漢字.test  x\n/\\x1b[2J\\n   3\n"},
		{Screen{Width: 40}, "APP          N  DOMAINS              WHY\n/shop/web   12  shop.test, www.sho…  x\n/\\x1b[2J\\n   3\n"},
		{Screen{Color: true}, "\x1b[1mAPP\x1b[0m          \x1b[1mN\x1b[0m  \x1b[1mDOMAINS\x1b[0m                              \x1b[1mWHY\x1b[0m\n/shop/web   \x1b[31m12\x1b[0m  shop.test, www.shop.test, 漢字.test  x\n/\\x1b[2J\\n   3\n"},
	} {
		var b bytes.Buffer
		screen := tt.screen
		screen.Writer = &b
		columns, rows := sample()
		if err := screen.NewTable(columns...).Write(rows); err != nil || b.String() != tt.want {
			t.Errorf("%+v: %v\n%q\nwant\n%q", tt.screen, err, b.String(), tt.want)
		}
		for line := range strings.Lines(b.String()) {
			if n := Width(strings.TrimSuffix(line, "\n")); screen.Width > 0 && n > screen.Width {
				t.Errorf("%d columns: %q", n, line)
			}
		}
	}
}

func TestParagraph(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	s := &Screen{Writer: &b, Width: 12}
	s.Hanging("a: ", "  ", "one two three  averyveryverylongword x")
	if want := "a: one two\n  three\n  averyveryverylongword\n  x\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
	b.Reset()
	s.Width = 0
	s.Paragraph("  ", strings.Repeat("word ", 40))
	if want := "  " + strings.TrimSpace(strings.Repeat("word ", 40)) + "\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

// What is no terminal has neither colours nor a width, whatever the environment says.
func TestScreenOfAFile(t *testing.T) {
	t.Parallel()
	env := func(string) string { return "100" }
	if s := NewScreen(new(bytes.Buffer), env); s.Color || s.Width != 0 {
		t.Errorf("%+v", s)
	}
}

// A terminal has a width and colours, unless the environment says otherwise.
func TestScreenOfATerminal(t *testing.T) {
	t.Parallel()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 120, Row: 40}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env   map[string]string
		width int
		color bool
	}{
		{nil, 120, true}, {map[string]string{"NO_COLOR": "1"}, 120, false}, {map[string]string{"TERM": "dumb"}, 120, false},
		{map[string]string{"COLUMNS": "90", "NO_COLOR": ""}, 90, true}, {map[string]string{"COLUMNS": "3"}, minWidth, true}, {map[string]string{"COLUMNS": "wide"}, 120, true},
	} {
		s := NewScreen(terminal, func(name string) string { return tt.env[name] })
		if s.Width != tt.width || s.Color != tt.color {
			t.Errorf("%v: %d columns, colours %v", tt.env, s.Width, s.Color)
		}
	}
}

// Where cutting is not enough, columns that may are left out, the last first.
func TestOptionalColumns(t *testing.T) {
	t.Parallel()
	columns := []Column{{Title: "APP"}, {Title: "VERSION", Optional: true}, {Title: "ADDRESS", Optional: true}, {Title: "WHY", Shrinks: true}}
	row := []string{"/shop/web", "1.40.0", "10.0.0.7", "it is so for a long reason"}
	for width, want := range map[int]string{
		0:  "APP        VERSION  ADDRESS   WHY\n/shop/web  1.40.0   10.0.0.7  it is so for a long reason\n",
		40: "APP        VERSION  ADDRESS   WHY\n/shop/web  1.40.0   10.0.0.7  it is so …\n",
		32: "APP        VERSION  WHY\n/shop/web  1.40.0   it is so fo…\n",
		24: "APP        WHY\n/shop/web  it is so for…\n",
		10: "APP        WHY\n/shop/web  it is s…\n",
	} {
		var b bytes.Buffer
		var cells []Cell
		for _, text := range row {
			cells = append(cells, Text(text))
		}
		if err := (&Screen{Writer: &b, Width: width}).NewTable(columns...).Write([][]Cell{cells}); err != nil || b.String() != want {
			t.Errorf("%d: %v\n%s\nwant\n%s", width, err, b.String(), want)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	shown := func(lines []DiffLine) string {
		var b strings.Builder
		for _, l := range lines {
			fmt.Fprintf(&b, "%c%s ", l.Kind, l.Text)
		}
		return strings.TrimSpace(b.String())
	}
	for _, tt := range []struct{ before, after, want string }{
		{"a b c d e f", "a b c x e f", "@  c -d +x  e @"},
		{"", "a b", "+a +b"},
		{"a b", "", "-a -b"},
		{"a b", "a b", "@"},
		{"a b c", "b c d", "-a  b  c +d"},
		{"x a y a z", "x a z", "@  a -y -a  z"},
	} {
		if got := shown(Diff(strings.Fields(tt.before), strings.Fields(tt.after), 1)); got != tt.want {
			t.Errorf("%s to %s: %q, want %q", tt.before, tt.after, got, tt.want)
		}
	}
	// Whatever differs, both sides can be read from it: also from what is too large to compare.
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) (lines []string) {
		for range n {
			lines = append(lines, strconv.Itoa(r.IntN(5)))
		}
		return lines
	}
	for i := range 50 {
		a, b := random(r.IntN(20)), random(r.IntN(20))
		if i == 0 {
			a, b = random(3000), random(3000)
		}
		var before, after []string
		for _, l := range compared(a, b) {
			if l.Kind != '+' {
				before = append(before, l.Text)
			}
			if l.Kind != '-' {
				after = append(after, l.Text)
			}
		}
		if !slices.Equal(before, a) || !slices.Equal(after, b) {
			t.Fatalf("%q and %q: %q and %q", a, b, before, after)
		}
	}
}
