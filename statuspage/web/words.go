package web

import (
	"fmt"
	"math"
	"strings"
	"time"

	"relay/internal/plural"
	"relay/statuspage"
)

// stateWords are the states as people read them.
var stateWords = map[statuspage.State]string{
	statuspage.Up: "Operational", statuspage.Degraded: "Degraded", statuspage.Down: "Down", statuspage.Unknown: "Unknown",
}

// known returns one of the states that pages and styles know.
func known(s statuspage.State) statuspage.State {
	if _, ok := stateWords[s]; !ok {
		return statuspage.Unknown
	}
	return s
}

// headline says in one sentence how all services are.
func headline(services []statuspage.Service) string {
	count := countStates(services)
	for _, state := range []statuspage.State{statuspage.Down, statuspage.Degraded} {
		word := strings.ToLower(stateWords[state])
		switch n := count[state]; {
		case n == 0:
		case len(services) == 1:
			return "The service is " + word
		case n == len(services):
			return "All services are " + word
		case n == 1:
			return fmt.Sprintf("1 of %d services is %s", len(services), word)
		default:
			return fmt.Sprintf("%d of %d services are %s", n, len(services), word)
		}
	}
	switch unknown := count[statuspage.Unknown]; {
	case len(services) == 0:
		return "No service is watched yet"
	case unknown == len(services):
		return "The state of the services is not known"
	case unknown > 0:
		return "All services that could be checked are operational"
	}
	return "All services are operational"
}

func countStates(services []statuspage.Service) map[statuspage.State]int {
	count := make(map[statuspage.State]int)
	for _, s := range services {
		count[known(s.State)]++
	}
	return count
}

// maxNamed is how many services of one state are named above the page.
const maxNamed = 4

// named are the services of a state that is not as it should be.
type named struct {
	State statuspage.State
	Names []string
	// More is how many others there are.
	More int
}

// namedOf names those that are down and those that are degraded, and if there are such, those that nobody could check too.
func namedOf(services []statuspage.Service) (all []named) {
	for _, state := range []statuspage.State{statuspage.Down, statuspage.Degraded, statuspage.Unknown} {
		n := named{State: state}
		for _, s := range services {
			switch {
			case known(s.State) != state:
			case len(n.Names) == maxNamed:
				n.More++
			default:
				n.Names = append(n.Names, s.Name)
			}
		}
		if len(n.Names) > 0 && len(services) > 1 && len(n.Names)+n.More < len(services) {
			all = append(all, n)
		}
	}
	return all
}

// worst is the state in which the page is as a whole: what is down goes before what is degraded, and what
// nobody could judge matters only if that is all.
func worst(services []statuspage.Service) statuspage.State {
	count := countStates(services)
	for _, state := range []statuspage.State{statuspage.Down, statuspage.Degraded, statuspage.Up} {
		if count[state] > 0 {
			return state
		}
	}
	return statuspage.Unknown
}

// share is a share as a percentage. It is rounded down, so that 100 % is said only of what never failed.
func share(uptime *float64) string {
	if uptime == nil || math.IsNaN(*uptime) {
		return ""
	}
	hundredths := math.Floor(min(max(*uptime, 0), 1)*10000 + 1e-7)
	text := fmt.Sprintf("%.2f", hundredths/100)
	return strings.TrimSuffix(text, ".00") + " %"
}

// length is a time in seconds, in the two largest units that it has.
func length(seconds float64) string {
	d := time.Duration(min(max(seconds, 0), 1e9) * float64(time.Second)).Round(time.Second)
	if d < time.Minute {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	if d = d.Round(time.Minute); d < time.Hour {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	if d < 48*time.Hour {
		return twoUnits(fmt.Sprintf("%d h", d/time.Hour), int64(d%time.Hour/time.Minute), "min")
	}
	d = d.Round(time.Hour)
	return twoUnits(fmt.Sprintf("%d days", d/(24*time.Hour)), int64(d%(24*time.Hour)/time.Hour), "h")
}

func twoUnits(first string, rest int64, unit string) string {
	if rest == 0 {
		return first
	}
	return fmt.Sprintf("%s %d %s", first, rest, unit)
}

// dayWords says how a day was.
func dayWords(d statuspage.Day) string {
	var parts []string
	if d.Down > 0 {
		parts = append(parts, "down for "+length(d.Down))
	}
	if d.Degraded > 0 {
		parts = append(parts, "degraded for "+length(d.Degraded))
	}
	if len(parts) > 0 {
		return strings.Join(parts, ", ")
	}
	return map[statuspage.State]string{
		statuspage.Up: "no trouble", statuspage.Degraded: "degraded", statuspage.Down: "down", statuspage.Unknown: "not known",
	}[known(d.State)]
}

// daysWords sum up the bars, for those who do not see them.
func daysWords(days []statuspage.Day) string {
	count := make(map[statuspage.State]int)
	for _, d := range days {
		count[known(d.State)]++
	}
	if len(days) == 0 || count[statuspage.Unknown] == len(days) {
		return "Nothing is known of the days before."
	}
	var parts []string
	for _, p := range []struct {
		state statuspage.State
		words string
	}{{statuspage.Down, "down on %s"}, {statuspage.Degraded, "degraded on %s"}, {statuspage.Up, "no trouble on %s"}, {statuspage.Unknown, "nothing known of %s"}} {
		if n := count[p.state]; n > 0 {
			parts = append(parts, fmt.Sprintf(p.words, plural.Of(n, "day")))
		}
	}
	return fmt.Sprintf("The last %s: %s.", plural.Of(len(days), "day"), strings.Join(parts, ", "))
}

// sentence begins a text with a capital letter.
func sentence(text string) string {
	r := []rune(text)
	if len(r) == 0 {
		return ""
	}
	return strings.ToUpper(string(r[:1])) + string(r[1:])
}

// moment is a time as people read it; all are in UTC.
func moment(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

// machine is a time as programs read it.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// dayName is the date of a day as people read it, or as it is if it is none.
func dayName(date string) string {
	day, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return day.Format("2 Jan 2006")
}
