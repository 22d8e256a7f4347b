package page

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Chart is one small chart of the last hour. It is drawn without text, so that it can be
// stretched to any width; the words around it are HTML.
type Chart struct {
	// ID names the chart within its page.
	ID, Title string
	Lines     []Line
	// Bars draws each value as a bar, those of a later line before those of an earlier one.
	Bars  bool
	Unit  Unit
	Start time.Time
	Step  time.Duration
}

// Line is one row of values, oldest first. NaN means that nothing is known.
type Line struct {
	// Name is what people read, Class how it is drawn: "main", "bad" or "dim".
	Name, Class string
	Values      []float64
}

// Unit is how a value is written.
type Unit int

// The units of charts.
const (
	PerSecond Unit = iota
	PerMinute
	Seconds
)

// chartHeight is that of the drawing; each value is one wide.
const chartHeight = 60

// Points are how many values the chart is wide.
func (c Chart) Points() int {
	n := 0
	for _, l := range c.Lines {
		n = max(n, len(l.Values))
	}
	return n
}

// Known reports whether there is anything to draw.
func (c Chart) Known() bool {
	return slices.ContainsFunc(c.Lines, func(l Line) bool {
		return slices.ContainsFunc(l.Values, func(v float64) bool { return !math.IsNaN(v) })
	})
}

// Top is the value at the upper edge: the highest one, rounded up to one that is read at a glance.
func (c Chart) Top() float64 {
	top := 0.0
	for _, l := range c.Lines {
		for _, v := range l.Values {
			if v > top { // not NaN
				top = v
			}
		}
	}
	return niceAbove(top)
}

// niceAbove returns the next number above v that has one digit, or is 1.5 or 2.5 of a power of ten.
func niceAbove(v float64) float64 {
	if v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
		if v <= step*power*(1+1e-9) {
			return step * power
		}
	}
	return 10 * power
}

// Now is the newest value that is known of a line.
func (l Line) Now() float64 {
	for _, v := range slices.Backward(l.Values) {
		if !math.IsNaN(v) {
			return v
		}
	}
	return math.NaN()
}

// SVG draws the chart. The texts are escaped; nothing else comes from outside.
func (c Chart) SVG() template.HTML {
	var b strings.Builder
	width := max(c.Points(), 1)
	fmt.Fprintf(&b, `<svg class="plot" role="img" aria-labelledby="%[1]s-title %[1]s-desc" viewBox="0 0 %[2]d %[3]d" preserveAspectRatio="none"><title id="%[1]s-title">%[4]s</title><desc id="%[1]s-desc">%[5]s</desc>`,
		template.HTMLEscapeString(c.ID), width, chartHeight, template.HTMLEscapeString(c.Title), template.HTMLEscapeString(c.Words()))
	fmt.Fprintf(&b, `<path class="grid" d="M0 %[2]dH%[1]d M0 %[3]dH%[1]d"/>`, width, chartHeight/2, 0)
	top := c.Top()
	for _, l := range c.Lines {
		class := template.HTMLEscapeString(l.Class)
		if c.Bars {
			fmt.Fprintf(&b, `<path class="bar-fill %s" d="%s"/>`, class, bars(l.Values, top))
			continue
		}
		if l.Class == "main" {
			fmt.Fprintf(&b, `<path class="area %s" d="%s"/>`, class, area(l.Values, top))
		}
		fmt.Fprintf(&b, `<path class="line %s" d="%s"/>`, class, line(l.Values, top))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// Words says what the drawing shows, for those who do not see it.
func (c Chart) Words() string {
	if !c.Known() {
		return "Nothing is known of the last hour."
	}
	var parts []string
	for _, l := range c.Lines {
		at, highest := l.highest()
		if at < 0 {
			continue
		}
		when := c.Start.Add(time.Duration(at) * c.Step).UTC().Format("15:04 UTC")
		parts = append(parts, fmt.Sprintf("%s: now %s, highest %s at %s", l.Name, c.Unit.write(l.Now()), c.Unit.write(highest), when))
	}
	return "Of the last hour. " + strings.Join(parts, "; ") + "."
}

// highest returns the index of the highest value, and the value; the index is -1 if none is known.
func (l Line) highest() (at int, v float64) {
	at = -1
	for i, w := range l.Values {
		if !math.IsNaN(w) && (at < 0 || w > v) {
			at, v = i, w
		}
	}
	return at, v
}

// y is the height of a value in the drawing, whose upper edge is 0.
func y(v, top float64) int {
	return chartHeight - int(math.Round(min(max(v/top, 0), 1)*(chartHeight-2)))
}

// runs calls draw for each run of values that are known.
func runs(values []float64, draw func(from, to int)) {
	from := -1
	for i := range len(values) + 1 {
		known := i < len(values) && !math.IsNaN(values[i])
		if known && from < 0 {
			from = i
		}
		if !known && from >= 0 {
			draw(from, i)
			from = -1
		}
	}
}

func line(values []float64, top float64) string {
	var b []byte
	runs(values, func(from, to int) {
		b = appendPoints(append(b, 'M'), values, top, from, to)
		if to == from+1 { // a line of one point is none
			b = append(b, "h1"...)
		}
	})
	return string(b)
}

func area(values []float64, top float64) string {
	var b []byte
	runs(values, func(from, to int) {
		b = append(strconv.AppendInt(append(b, 'M'), int64(from), 10), ' ')
		b = append(strconv.AppendInt(b, chartHeight, 10), 'L')
		b = appendPoints(b, values, top, from, to)
		b = append(b, 'V')
		b = append(strconv.AppendInt(b, chartHeight, 10), 'Z')
	})
	return string(b)
}

func appendPoints(b []byte, values []float64, top float64, from, to int) []byte {
	for i := from; i < to; i++ {
		if i > from {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(y(values[i], top)), 10)
	}
	return b
}

func bars(values []float64, top float64) string {
	var b []byte
	for i, v := range values {
		if math.IsNaN(v) || v <= 0 {
			continue
		}
		height := max(chartHeight-y(v, top), 1)
		b = fmt.Appendf(b, "M%d %dv-%dh.8v%dz", i, chartHeight, height, height)
	}
	return string(b)
}

// write puts a value and its unit in words; an unknown one is a dash.
func (u Unit) write(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case u == PerSecond:
		return number(v) + "/s"
	case u == PerMinute:
		return number(v) + "/min"
	}
	return seconds(v)
}

// number writes a rate with as many digits as help.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v == 0:
		return "0"
	case v < 0.095:
		return "<0.1"
	case v < 9.95:
		return tenths(v)
	case v < 1e6:
		return count(int(math.Round(v)))
	}
	return strconv.FormatFloat(v/1e6, 'f', 1, 64) + "M"
}

func tenths(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// seconds writes a duration in its unit.
func seconds(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v < 0.00995:
		return tenths(v*1000) + " ms"
	case v < 0.9995:
		return strconv.FormatFloat(v*1000, 'f', 0, 64) + " ms"
	case v < 9.95:
		return tenths(v) + " s"
	}
	return ago(time.Duration(v * float64(time.Second)))
}

// perMinute makes one value of those of each minute. A minute of which nothing is known is NaN.
func perMinute(values []float64, step time.Duration, join func(a, b float64) float64) []float64 {
	n := max(int(time.Minute/cmp.Or(step, time.Minute)), 1)
	out := make([]float64, 0, len(values)/n+1)
	for chunk := range slices.Chunk(values, n) {
		joined := math.NaN()
		for _, v := range chunk {
			switch {
			case math.IsNaN(v):
			case math.IsNaN(joined):
				joined = v
			default:
				joined = join(joined, v)
			}
		}
		out = append(out, joined)
	}
	return out
}

func sum(a, b float64) float64 { return a + b }
