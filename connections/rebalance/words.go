package rebalance

import (
	"fmt"
	"maps"
	"slices"
)

// Phase is what goes on with the connections of a port.
type Phase string

// The phases.
const (
	// Even is that no instance has more than its share, and Unknown that nobody knows.
	Even, Unknown Phase = "even", "unknown"
	// Waiting is that one has, since a moment; Ending that some end, and Paused that it was in vain.
	Waiting, Ending, Paused Phase = "waiting", "ending", "paused"
)

func evenText(b *balance) string {
	if len(b.takers) == 1 {
		return fmt.Sprintf("1 instance has %s, so none ends", b.text())
	}
	return fmt.Sprintf("%d instances have %s, so none ends", len(b.takers), b.text())
}

func unevenText(b *balance) string {
	return fmt.Sprintf("%d instances have %s, and would have %.0f each", len(b.takers), b.text(), b.share)
}

// text says how many connections instances have.
func (b *balance) text() string {
	fewest, most := slices.Min(slices.Collect(maps.Values(b.takers))), slices.Max(slices.Collect(maps.Values(b.takers)))
	if fewest == most {
		return fmt.Sprintf("%.0f connections each", most)
	}
	return fmt.Sprintf("%.0f to %.0f connections", fewest, most)
}

func (s *state) endingText(in *input, b *balance, left float64) string {
	text := fmt.Sprintf("%s: up to %.3g %% of %.0f are ended a minute, by now %.0f since %s",
		unevenText(b), in.rate, b.sum, s.total, s.uneven.UTC().Format("15:04:05 UTC"))
	if left >= 1 {
		text += fmt.Sprintf("; %.0f end when their clients send something", left)
	}
	return text
}
