package guard

import (
	"slices"
	"strings"
	"time"
	"unicode"
)

const (
	// maxRecent is how many clients that were refused are remembered with the reason.
	maxRecent = 20
	// maxRecentText bounds what is remembered of each text, in bytes: clients are the authors of
	// parts of it.
	maxRecentText = 500
)

// Refused is a client that was refused lately.
type Refused struct {
	Refusal
	// Host is where it is, without a port.
	Host string
	// At is when it was refused the last time.
	At time.Time
}

// Latest returns the clients that were refused within the last hour, the latest first: no more
// than 20, each once for each Kind and Who.
func (l *Log) Latest() []Refused {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	latest := slices.DeleteFunc(slices.Clone(l.recent), func(r Refused) bool { return now.Sub(r.At) >= interval })
	slices.Reverse(latest)
	return latest
}

// remember puts a refusal last. The caller holds mu.
func (l *Log) remember(host string, r Refusal, now time.Time) {
	r.Who, r.Reason = printable(r.Who), printable(r.Reason)
	i := slices.IndexFunc(l.recent, func(other Refused) bool {
		return other.Kind == r.Kind && other.Host == host && other.Who == r.Who
	})
	switch {
	case i >= 0:
		l.recent = slices.Delete(l.recent, i, i+1)
	case len(l.recent) == maxRecent:
		l.recent = slices.Delete(l.recent, 0, 1)
	}
	l.recent = append(l.recent, Refused{Refusal: r, Host: host, At: now})
}

// printable is a text on one line, for terminals too, and of bounded length.
func printable(text string) string {
	if len(text) > maxRecentText {
		text = text[:maxRecentText] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}
