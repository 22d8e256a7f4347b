package statuspage

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

// Days of the history. A few more are kept than shown, so that a clock that is wrong for a while costs nothing.
const (
	shownDays = 90
	keptDays  = 100
	dayLength = 24 * time.Hour
	dateForm  = time.DateOnly
)

// day is the time of a day, in milliseconds, in which a service was up, degraded and down. What is missing is not known.
type day [3]int64

// The indices of a day are the ranks of the states.
const (
	dayUp = iota
	dayDegraded
	dayDown
)

func (d day) known() time.Duration {
	return time.Duration(d[dayUp]+d[dayDegraded]+d[dayDown]) * time.Millisecond
}

// record is the history of a service.
type record struct {
	State State     `json:"state"`
	Since time.Time `json:"since,omitzero"`
	// Seen is when that was so last.
	Seen time.Time      `json:"seen,omitzero"`
	Days map[string]day `json:"days,omitempty"`
}

// sound implements entry.
func (r record) sound(string) error {
	_, ranked := rank[r.State]
	bad := r.State != Unknown && !ranked || len(r.Days) > keptDays
	for date, d := range r.Days {
		_, err := time.Parse(dateForm, date)
		bad = bad || err != nil || slices.Min(d[:]) < 0 || slices.Max(d[:]) > dayLength.Milliseconds() || d.known() > dayLength
	}
	if bad {
		return errors.New("the days of this service cannot be")
	}
	return nil
}

// add notes that a state held from one moment to another, by days in UTC.
func (r *record) add(state State, from, to time.Time) {
	i, ok := rank[state]
	if !ok || !from.Before(to) {
		return
	}
	if r.Days == nil {
		r.Days = make(map[string]day)
	}
	for from = from.UTC(); from.Before(to); {
		next := from.Truncate(dayLength).Add(dayLength)
		end := to
		if next.Before(to) {
			end = next
		}
		date := from.Format(dateForm)
		d := r.Days[date]
		// A clock that is set back has hours twice.
		d[i] += min(end.Sub(from), dayLength-d.known()).Milliseconds()
		r.Days[date] = d
		from = next
	}
	r.prune(to)
}

// prune keeps the days that are nearest to now: not only the past ones, so that a clock which is wrong for a while has
// none forgotten, and never more than keptDays.
func (r *record) prune(now time.Time) {
	for len(r.Days) > keptDays {
		delete(r.Days, slices.MaxFunc(slices.Collect(maps.Keys(r.Days)), func(a, b string) int {
			return cmp.Or(cmp.Compare(distance(a, now), distance(b, now)), cmp.Compare(a, b))
		}))
	}
}

// distance is how many days a date is from now, to either side; very far if it cannot be read.
func distance(date string, now time.Time) int64 {
	at, err := time.Parse(dateForm, date)
	if err != nil {
		return math.MaxInt32
	}
	return int64(at.Sub(now).Abs() / dayLength)
}

// merge adds what another record of the same service knows of other times.
func (r *record) merge(other record, now time.Time) {
	for date, d := range other.Days {
		mine := r.Days[date]
		for i, ms := range d {
			mine[i] += max(0, min(ms, (dayLength-mine.known()).Milliseconds()))
		}
		if r.Days == nil {
			r.Days = make(map[string]day)
		}
		r.Days[date] = mine
	}
	r.prune(now)
}

// lasts is how long a state has to last in a day to be that of the day.
const lasts = time.Minute

// days are those that are shown, with the share of the known time in which it was not down.
func (r *record) days(now time.Time) (days []Day, uptime *float64) {
	var sum day
	today := now.UTC().Truncate(dayLength)
	for i := range shownDays {
		date := today.Add(time.Duration(i-shownDays+1) * dayLength).Format(dateForm)
		d := r.Days[date]
		for k := range d {
			sum[k] += d[k]
		}
		days = append(days, Day{Date: date, State: d.state(), Down: wholeSeconds(d[dayDown]), Degraded: wholeSeconds(d[dayDegraded])})
	}
	if known := sum.known(); known > 0 {
		// Rounded, so that it does not change with each look.
		share := math.Floor(float64(sum[dayUp]+sum[dayDegraded])/float64(known.Milliseconds())*1e5) / 1e5
		uptime = &share
	}
	return days, uptime
}

// wholeSeconds of milliseconds.
func wholeSeconds(ms int64) float64 { return float64(ms / 1000) }

func (d day) state() State {
	switch {
	case d.known() == 0:
		return Unknown
	case d[dayDown] >= lasts.Milliseconds():
		return Down
	case d[dayDown]+d[dayDegraded] >= lasts.Milliseconds():
		return Degraded
	}
	return Up
}
