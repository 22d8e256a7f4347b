package web

import (
	"fmt"
	"html/template"
	"strings"

	"relay/statuspage"
)

// Each day is a bar of barWidth in a column of barStep. Trouble stands out by height too, and not by colour alone.
const (
	barWidth  = 7
	barStep   = 10
	barHeight = 40
)

// barTops are where bars begin, from above.
var barTops = map[statuspage.State]int{statuspage.Down: 0, statuspage.Degraded: 5, statuspage.Up: 12, statuspage.Unknown: 33}

// bars are the last days of a service, to draw.
type bars struct {
	Width, Height int
	// Up and Unknown are paths: one for all such days, so that a page of many services stays small.
	Up, Unknown string
	// Trouble are the other days, each with words of its own.
	Trouble []bar
	// Words sum them up.
	Words string
	// First and Last are the dates at the ends.
	First, Last string
}

// bar is a day with trouble.
type bar struct {
	X, Y, Width, Height int
	State               statuspage.State
	Date, Day, Words    string
}

func barsOf(days []statuspage.Day) bars {
	b := bars{Width: max(len(days)*barStep-(barStep-barWidth), barWidth), Height: barHeight, Words: daysWords(days)}
	if len(days) > 0 {
		b.First, b.Last = days[0].Date, days[len(days)-1].Date
	}
	var up, unknown strings.Builder
	for i, d := range days {
		x, state := i*barStep, known(d.State)
		top := barTops[state]
		switch state {
		case statuspage.Up:
			fmt.Fprintf(&up, "M%d %dh%dV%dh-%dz", x, top, barWidth, barHeight, barWidth)
		case statuspage.Unknown:
			fmt.Fprintf(&unknown, "M%d %dh%dV%dh-%dz", x, top, barWidth, barHeight, barWidth)
		default:
			b.Trouble = append(b.Trouble, bar{X: x, Y: top, Width: barWidth, Height: barHeight - top, State: state, Date: d.Date, Day: dayName(d.Date), Words: dayWords(d)})
		}
	}
	b.Up, b.Unknown = up.String(), unknown.String()
	return b
}

// TroubleBackwards are the days with trouble, the newest first.
func (b bars) TroubleBackwards() []bar {
	all := make([]bar, 0, len(b.Trouble))
	for i := len(b.Trouble) - 1; i >= 0; i-- {
		all = append(all, b.Trouble[i])
	}
	return all
}

// icons are the picture of the page in tabs of browsers: its colour and shape tell the state there.
var icons = map[statuspage.State]template.URL{
	statuspage.Up:       icon("%2312794a", "M9 17l5 5 10-11"),
	statuspage.Degraded: icon("%23a65a05", "M16 8v10M16 23v.5"),
	statuspage.Down:     icon("%23b42318", "M10 10l12 12M22 10L10 22"),
	statuspage.Unknown:  icon("%234b5868", "M10 16h12"),
}

func icon(colour, path string) template.URL {
	return template.URL("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Ccircle cx='16' cy='16' r='16' fill='" + colour +
		"'/%3E%3Cpath d='" + path + "' fill='none' stroke='%23fff' stroke-width='4' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E")
}
