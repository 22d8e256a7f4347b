package autoscale

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// figures are those of one decision.
type figures struct {
	config Config
	// from is how many instances were wanted before.
	from int
	// limit is how many there may be after one step.
	limit int
	// load is the requests in progress, over a window, if that is known.
	load   float64
	loaded bool
	over   time.Duration
	// known is set if the load is known now.
	known, panic bool
	// needed have room for the load. Fewer is the most that were needed of late, and since is for how
	// long it has been less than from.
	needed, fewer int
	since         time.Duration
	// asked is what the load asks for, and wanted what comes of it within the limits.
	asked, wanted int
}

// reason puts them into a sentence.
func (f *figures) reason() string {
	var b strings.Builder
	if f.loaded {
		if !f.known {
			b.WriteString("at least ")
		}
		fmt.Fprintf(&b, "%s in progress over the last %d s, %s meant for each instance: %s",
			count(f.load, "request"), int(f.over.Seconds()), are(f.config.Target), count(float64(f.needed), "instance"))
	} else {
		b.WriteString("how many requests are in progress is not known for long enough")
	}
	switch {
	case f.asked > f.from && f.limit == f.from:
		fmt.Fprintf(&b, ", and the number of instances was just changed: %d for a second", f.from)
	case f.asked > f.limit:
		fmt.Fprintf(&b, ", at most double the %d of now: %d", f.from, f.limit)
	case f.asked < f.from:
		fmt.Fprintf(&b, "; %d have had room for a tenth more for %s", f.asked, length(f.config.DownAfter))
	case f.asked == f.from && (!f.loaded || f.needed < f.from):
		fmt.Fprintf(&b, "; %s", f.stay())
	}
	switch reached := min(f.asked, f.limit); {
	case reached > f.config.Max:
		fmt.Fprintf(&b, ", at most %d", f.config.Max)
	case reached < f.config.Min:
		fmt.Fprintf(&b, ", at least %d", f.config.Min)
	}
	return b.String()
}

// stay says why there are not fewer.
func (f *figures) stay() string {
	stay := fmt.Sprintf("the %d of now stay", f.from)
	switch {
	case !f.loaded:
		return stay
	case !f.known:
		return stay + ", for an Envoy does not report, or a Relay cannot be asked"
	case f.panic:
		return stay + fmt.Sprintf(" until %s after the last steep rise", length(StableWindow))
	case f.since == 0:
		return stay + ", for fewer have no room for a tenth more"
	}
	return stay + fmt.Sprintf(", for fewer have been enough for %s, and it takes %s", length(f.since), length(f.config.DownAfter))
}

// count is a number with what is counted.
func count(n float64, of string) string {
	if text := number(n); text != "1" {
		return text + " " + of + "s"
	}
	return "1 " + of
}

func are(n float64) string {
	if text := number(n); text != "1" {
		return text + " are"
	}
	return "1 is"
}

// number has one digit after the point, if it is not 0.
func number(n float64) string {
	return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64)
}

// length is a duration as people write it, in whole seconds.
func length(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}
