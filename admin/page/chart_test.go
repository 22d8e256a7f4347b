package page

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestChart(t *testing.T) {
	t.Parallel()
	unknown := math.NaN()
	c := Chart{ID: "x", Title: `<b>"Traffic"`, Unit: PerSecond, Start: time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC), Step: 10 * time.Second, Lines: []Line{
		{"requests", "main", []float64{unknown, 10, 20, unknown, 5}},
		{"errors", "bad", []float64{unknown, unknown, 0, unknown, unknown}},
	}}
	svg := string(c.SVG())
	for _, want := range []string{
		`role="img" aria-labelledby="x-title x-desc" viewBox="0 0 5 60"`,
		`<title id="x-title">&lt;b&gt;&#34;Traffic&#34;</title>`,
		`Of the last hour. requests: now 5/s, highest 20/s at 10:00 UTC; errors: now 0/s, highest 0/s at 10:00 UTC.`,
		`class="line main" d="M1 31 2 2M4 45h1"`,
		`class="area main" d="M1 60L1 31 2 2V60ZM4 60L4 45V60Z"`,
		`class="line bad" d="M2 60h1"`,
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the drawing has no %s:\n%s", want, svg)
		}
	}
	if strings.Contains(svg, "style=") || strings.Contains(svg, "NaN") {
		t.Errorf("the policy of the page refuses styles, and no path has NaN: %s", svg)
	}
	c.Bars = true
	if svg := string(c.SVG()); !strings.Contains(svg, `d="M1 60v-29h.8v29zM2 60v-58h.8v58zM4 60v-15h.8v15z"`) {
		t.Errorf("bars: %s", svg)
	}
	empty := Chart{Lines: []Line{{Values: []float64{unknown, unknown}}}}
	if empty.Known() || !strings.Contains(empty.Words(), "Nothing is known") || empty.Top() != 1 {
		t.Errorf("%v %q %v", empty.Known(), empty.Words(), empty.Top())
	}
}

func TestNiceAbove(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]float64{0: 1, -3: 1, math.Inf(1): 1, 1: 1, 1.01: 1.5, 20: 20, 21: 25, 0.07: 0.08, 944: 1000, 1100: 1500} {
		if got := niceAbove(in); math.Abs(got-want) > want/1e9 {
			t.Errorf("niceAbove(%v) = %v, want %v", in, got, want)
		}
	}
}

func TestPerMinute(t *testing.T) {
	t.Parallel()
	unknown := math.NaN()
	in := []float64{1, unknown, 2, 0, 0, 0, unknown, unknown, unknown, unknown, unknown, unknown, 7}
	got := perMinute(in, 10*time.Second, sum)
	if len(got) != 3 || got[0] != 3 || !math.IsNaN(got[1]) || got[2] != 7 {
		t.Errorf("%v", got)
	}
	if got := perMinute(in[:6], 10*time.Second, math.Max); got[0] != 2 {
		t.Errorf("%v", got)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]string{0: "0", 0.01: "<0.1", 0.5: "0.5", 3: "3", 9.96: "10", 1234: "1\u202f234", 2.5e6: "2.5M"} {
		if got := number(in); got != want {
			t.Errorf("number(%v) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[float64]string{0.0031: "3.1 ms", 0.031: "31 ms", 0.5: "500 ms", 1.5: "1.5 s", 61: "61 s", 600: "10 min"} {
		if got := seconds(in); got != want {
			t.Errorf("seconds(%v) = %q, want %q", in, got, want)
		}
	}
}
