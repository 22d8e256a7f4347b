package terminal

import (
	"io"
	"slices"
	"strings"
)

// Column is one of a table.
type Column struct {
	Title string
	// Right aligns it to the right, as numbers are.
	Right bool
	// Shrinks tells that its texts may be cut where the table does not fit: not those that
	// people copy.
	Shrinks bool
	// Optional tells that the column is left out where the table does not fit, the last of
	// those first.
	Optional bool
}

// Cell is a text in a table, and how it stands out.
type Cell struct {
	Text  string
	Style Style
}

// Text is a Cell that does not stand out.
func Text(s string) Cell { return Cell{Text: s} }

// gap is between columns.
const gap = "  "

// leastShrunk is how far a column is cut at most, in columns of the terminal.
const leastShrunk = 8

// Table writes rows in columns that are as wide as the first rows need, so that any number
// of rows can follow. All texts are cleaned.
type Table struct {
	screen  *Screen
	columns []Column
	widths  []int
}

// NewTable returns a table without rows.
func (s *Screen) NewTable(columns ...Column) *Table {
	return &Table{screen: s, columns: columns}
}

// Write writes rows, below the titles if they are the first.
func (t *Table) Write(rows [][]Cell) error {
	for _, row := range rows {
		for i := range row {
			row[i].Text = Clean(row[i].Text)
		}
	}
	var b strings.Builder
	if t.widths == nil {
		t.measure(rows)
		var titles []Cell
		for _, c := range t.columns {
			titles = append(titles, Cell{c.Title, Bold})
		}
		t.line(&b, titles)
	}
	for _, row := range rows {
		t.line(&b, row)
	}
	_, err := io.WriteString(t.screen, b.String())
	return err
}

// hidden is the width of a column that is left out.
const hidden = -1

// measure decides how wide each column is.
func (t *Table) measure(rows [][]Cell) {
	t.widths = make([]int, len(t.columns))
	for i, c := range t.columns {
		t.widths[i] = Width(c.Title)
		for _, row := range rows {
			t.widths[i] = max(t.widths[i], Width(row[i].Text))
		}
	}
	natural := slices.Clone(t.widths)
	for t.screen.Width > 0 && !t.shrink() {
		last := -1
		for i, c := range t.columns {
			if c.Optional && natural[i] != hidden {
				last = i
			}
		}
		if last < 0 {
			return
		}
		natural[last] = hidden
		copy(t.widths, natural)
	}
}

// shrink cuts columns, always the widest, until the table fits.
func (t *Table) shrink() (fits bool) {
	sum := -len(gap)
	for _, n := range t.widths {
		if n != hidden {
			sum += n + len(gap)
		}
	}
	for ; sum > t.screen.Width; sum-- {
		widest := -1
		for i, c := range t.columns {
			if c.Shrinks && t.widths[i] > max(leastShrunk, Width(c.Title)) && (widest < 0 || t.widths[i] > t.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return false
		}
		t.widths[widest]--
	}
	return true
}

func (t *Table) line(b *strings.Builder, row []Cell) {
	last := len(row) - 1
	for last > 0 && (row[last].Text == "" || t.widths[last] == hidden) {
		last--
	}
	for i, cell := range row[:last+1] {
		if t.widths[i] == hidden {
			continue
		}
		text := cell.Text
		if t.columns[i].Shrinks && t.screen.Width > 0 {
			text = Cut(text, t.widths[i])
		}
		pad := strings.Repeat(" ", max(0, t.widths[i]-Width(text)))
		text = t.screen.Styled(cell.Style, text)
		switch {
		case t.columns[i].Right:
			text = pad + text
		case i < last:
			text += pad
		}
		if i > 0 {
			b.WriteString(gap)
		}
		b.WriteString(text)
	}
	b.WriteString("\n")
}

// Joined puts short texts into one, the first few of them.
func Joined(list []string, few int) string {
	if len(list) <= few {
		return strings.Join(list, ", ")
	}
	return strings.Join(slices.Concat(list[:few], []string{"…"}), ", ")
}
