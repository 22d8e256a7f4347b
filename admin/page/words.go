package page

import (
	"errors"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"relay/admin/api"
	"relay/internal/problem"
)

var errPanicked = errors.New("rendering the page has panicked")

// warnDays is when an expiry is shown as a warning. ACME clients renew 30 days ahead, so less
// than that means that renewal does not work.
const warnDays = 21

// maxText is how many characters of a text from outside are shown.
const maxText = 400

// moment writes a time as people read it, with the exact one to be read by pointing at it.
func moment(t time.Time) template.HTML {
	if t.IsZero() {
		return "never"
	}
	exact := t.UTC().Format(time.RFC3339)
	words := ago(time.Since(t)) + " ago"
	if time.Until(t) > 0 {
		words = "in " + ago(time.Until(t))
	}
	return template.HTML(`<time datetime="` + exact + `" title="` + exact + `">` + words + `</time>`)
}

// ago returns a duration in its largest unit.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// days words DaysLeft of a certificate, which is rounded down.
func days(n int) string {
	switch {
	case n < -2:
		return fmt.Sprintf("expired %d days ago", -n-1)
	case n == -2:
		return "expired 1 day ago"
	case n == -1: // less than a day ago
		return "expired"
	case n == 1:
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}

// certificateClass returns the CSS class for an expiry in n days.
func certificateClass(n int) string {
	switch {
	case n < 0:
		return "bad"
	case n < warnDays:
		return "warn"
	}
	return "ok"
}

// severityClass returns the CSS class for a severity.
func severityClass(s any) string { // of the API a string, of a problem its own type
	switch problem.Severity(fmt.Sprint(s)) {
	case problem.Failing:
		return "bad"
	case problem.Ignored:
		return "warn"
	}
	return "dim"
}

func findingClass(l api.Level) string {
	switch l {
	case api.Critical:
		return "bad"
	case api.Warning:
		return "warn"
	}
	return "ok"
}

func domainClass(s api.DomainStatus) string {
	switch s {
	case api.DomainServed:
		return "ok"
	case api.DomainWithoutTask:
		return "bad"
	case api.DomainStopped, api.DomainAsleep:
		return "dim"
	}
	return "warn"
}

func envoyClass(s api.EnvoyState) string {
	switch s {
	case api.EnvoyUpToDate:
		return "ok"
	case api.EnvoyBehind:
		return "warn"
	}
	return "bad"
}

func healthClass(health string) string {
	if health == "healthy" {
		return "ok"
	}
	return "warn"
}

// countOf is count for templates, whose numbers are of several types.
func countOf(n any) string {
	switch n := n.(type) {
	case *int:
		return count(*n)
	case int:
		return count(n)
	case uint64:
		return count(int(n))
	}
	return fmt.Sprint(n)
}

// count writes a number with its thousands apart.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// plural writes a number and its noun.
func plural(n int, noun string) string {
	return count(n) + " " + nounOf(n, noun)
}

// nounOf is a noun as it follows a number.
func nounOf(n int, noun string) string {
	switch {
	case n == 1:
		return noun
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "x"):
		return noun + "es"
	}
	return noun + "s"
}

// rateOf is the percentage of errors of a load, in words; empty for none.
func rateOf(l *api.Load) string {
	if l == nil || l.Errors <= 0 {
		return ""
	}
	of := 100 * l.Errors / max(l.Requests, l.Errors)
	switch {
	case of < 0.1:
		return "<0.1 %"
	case of < 10:
		return strconv.FormatFloat(of, 'f', 1, 64) + " %"
	}
	return strconv.Itoa(int(math.Round(of))) + " %"
}

// rate is number for templates: of an optional one, too.
func rate(v any) string {
	switch v := v.(type) {
	case float64:
		return number(v)
	case *float64:
		return number(*v)
	}
	return "–"
}

// secondsOf is seconds for templates: of an optional number, too.
func secondsOf(v any) string {
	switch v := v.(type) {
	case float64:
		return seconds(v)
	case *float64:
		return seconds(*v)
	}
	return "–"
}

// errorClass is "bad" where so many requests fail that somebody should look: one in a hundred.
func errorClass(l *api.Load) string {
	if l == nil || l.Errors < 0.01*l.Requests || l.Errors == 0 {
		return "some"
	}
	return "bad"
}

// deref reads an optional number; -1 where there is none.
func deref(n *int) int {
	if n == nil {
		return -1
	}
	return *n
}

// clip cuts a text that is too long for a page.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// some is the first few of a list.
type some[T any] struct {
	Shown  []T
	Hidden int
}

func firstOf[T any](n int, list []T) some[T] {
	shown := list[:min(len(list), n)]
	return some[T]{shown, len(list) - len(shown)}
}

func decode(b []byte) (rune, int) { return utf8.DecodeRune(b) }

// isControl reports whether a byte is a control character that the page's own text has not: one
// begins what turns a terminal around that shows the page as it came.
func isControl(b byte) bool { return b < 0x20 && b != '\n' && b != '\t' || b == 0x7f }

// hidden reports whether a character cannot be seen, or turns others around.
func hidden(r rune) bool {
	if r < 0x80 {
		return isControl(byte(r))
	}
	return r != utf8.RuneError && (unicode.Is(unicode.Cf, r) || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029)
}

// sentence makes one of a text that may be a part of one.
func sentence(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	s = string(unicode.ToUpper(r)) + s[size:]
	if !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "…") {
		s += "."
	}
	return s
}

// shownPhases are those that lists are narrowed by: the others last for moments.
func shownPhases() []string {
	return []string{api.PhaseAwake, api.PhaseAsleep, api.PhaseWaking, api.PhaseFailed, api.PhaseOffline}
}

// rebalanceClass returns the CSS class for what goes on with the connections of a port.
func rebalanceClass(phase string) string {
	switch phase {
	case api.RebalanceEven:
		return "ok"
	case api.RebalanceUnknown, api.RebalancePaused:
		return "warn"
	}
	return "dim"
}

// phaseClass returns the CSS class for the phase of an app that may sleep.
func phaseClass(phase string) string {
	switch phase {
	case api.PhaseAwake:
		return "ok"
	case api.PhaseFailed:
		return "bad"
	case api.PhaseWaking:
		return "warn"
	}
	return "dim"
}
