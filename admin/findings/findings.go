// Package findings says in sentences how all is, how an app is, and whether a domain is
// served: for people who ask why something does not work. It concludes that from answers of the
// API alone, so that page, command line and API say the same.
package findings

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"relay/admin/api"
	"relay/internal/failure"
	"relay/internal/plural"
)

// list collects findings.
type list []api.Finding

func (l *list) add(level api.Level, action, format string, args ...any) {
	*l = append(*l, api.Finding{Level: level, Text: fmt.Sprintf(format, args...), Action: action})
}

var levels = []api.Level{api.Critical, api.Warning, api.OK}

// sorted returns the findings, the worst first, and of equal ones the one that was added first.
// If nothing is wrong, they begin with that.
func (l list) sorted(well string) []api.Finding {
	slices.SortStableFunc(l, func(a, b api.Finding) int { return slices.Index(levels, a.Level) - slices.Index(levels, b.Level) })
	if Worst(l) == api.OK {
		return slices.Insert(l, 0, api.Finding{Level: api.OK, Text: well})
	}
	return l
}

// Worst is the level of findings.
func Worst(findings []api.Finding) api.Level {
	if len(findings) == 0 {
		return api.OK
	}
	return findings[0].Level
}

// apps says which sources of apps cannot be read: then what is shown of apps may be old.
func (l *list) apps(sources []api.Source) {
	for _, s := range sources {
		if ofApps(s) && away(s) {
			l.add(api.Critical, "see whether it runs, and whether Relay reaches it; routing stays as it was meanwhile",
				"Apps cannot be read from %s%s: what is shown of apps may be old%s", s.Kind, since(s.LastSync), reason(s))
		}
	}
}

// certificateSources says which stores of certificates cannot be read. That is critical if
// something hurts by it: else certificates are renewed weeks before they end.
func (l *list) certificateSources(sources []api.Source, hurts bool) {
	level := api.Warning
	if hurts {
		level = api.Critical
	}
	for _, s := range sources {
		if !ofApps(s) && away(s) {
			l.add(level, "see whether it runs and lets Relay read; Envoys keep the certificates that they have",
				"Certificates cannot be read from %s%s%s", s.Kind, since(s.LastSync), reason(s))
		}
	}
}

// ofApps reports whether a source is one of apps.
func ofApps(s api.Source) bool { return s.Kind == "marathon" || s.Kind == "file" }

func away(s api.Source) bool { return !s.Connected || s.LastError != "" }

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + stamp(t)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// reason is why a source cannot be read. What Marathon says of it is at the end, in brackets.
func reason(s api.Source) string {
	if s.LastError == "" {
		return ""
	}
	if _, why, found := strings.Cut(strings.TrimSuffix(s.LastError, ")"), " ("); found && strings.HasPrefix(s.LastError, "not followed since ") {
		return ": " + why
	}
	return ": " + s.LastError
}

// tooMany is the share of errors from which an app is said to fail.
const tooMany = 0.05

// lately is how old a failure may be to be told as something of now.
const lately = 10 * time.Minute

// noInstance are the codes of requests that found no instance.
var noInstance = []string{failure.Offline, failure.Crashed, failure.Starting}

// traffic says what became of the requests of apps: of the last minute by load, and of the last
// hour by failures, of which last are the newest. All is how many there were. Failures before up for want of an instance
// are past.
func (l *list) traffic(apps []string, load *api.Load, last []api.Failure, all *int, up, now time.Time) {
	if load != nil && load.Errors > 0 && load.Errors >= tooMany*load.Requests {
		part := share(load.Errors, load.Requests)
		if slices.ContainsFunc(last, func(f api.Failure) bool { return isProblem(f) && now.Sub(f.Time) < time.Minute }) {
			l.add(api.Critical, "the last failures say why", "%s of the requests of the last minute ended with errors", part)
		} else {
			l.add(api.Critical, "look at the app's log; relay tail shows which requests fail",
				"%s itself answers with errors (500 or above): %s of its requests of the last minute. Envoy reaches it", named(apps, "The app"), strings.ToLower(part))
		}
	}
	for _, sum := range byCode(last) {
		code, _ := failure.Of(sum.last.Code)
		level, text, do := api.Warning, cause(code, sum.last), strings.TrimSuffix(code.Do, ".")
		past := slices.Contains(noInstance, code.Name) && sum.last.Time.Before(up)
		if past {
			text, do = "there was no instance then, and there is one now", ""
		}
		if past || !code.Problem() || now.Sub(sum.last.Time) > lately {
			level = api.OK
		}
		l.add(level, plain(do), "%s failed with %s%s, %s: %s",
			plural.Of(sum.count, "request"), sum.last.Code, among(last, all), whose(sum.last), plain(text))
	}
}

// plain takes the marks off that documents have around code.
func plain(text string) string { return strings.ReplaceAll(text, "`", "") }

// named names the first apps, or says something else of them.
func named(apps []string, other string) string {
	switch {
	case len(apps) == 0:
		return other
	case len(apps) > 2:
		return fmt.Sprintf("%s and %d others", apps[0], len(apps)-1)
	}
	return strings.Join(apps, " and ")
}

func isProblem(f api.Failure) bool {
	code, _ := failure.Of(f.Code)
	return code.Problem()
}

func cause(code failure.Code, f api.Failure) string {
	if code.Cause != "" {
		return strings.TrimSuffix(code.Cause, ".")
	}
	return f.Cause
}

// among says of how many failures these are a part: only the newest are kept.
func among(last []api.Failure, all *int) string {
	newest := 0
	for _, f := range last {
		newest += max(1, f.Count)
	}
	if all == nil || *all <= newest {
		return ""
	}
	return fmt.Sprintf(" (of the last %d; %d failed in the last hour)", newest, *all)
}

// whose says whose request was the last one, and where it went.
func whose(f api.Failure) string {
	text := "the last one at " + stamp(f.Time)
	if f.Client != "" {
		text += " from " + f.Client
	}
	if f.Instance != "" {
		text += " to " + f.Instance
	}
	return text
}

// Kinds puts failures together that have the same code and app, or domain: a client that asks for
// what is not there would push out all others. Of each kind it returns the newest, which counts
// for all of them.
func Kinds(failures []api.Failure, limit int) (kinds []api.Failure) {
	for _, f := range failures {
		i := slices.IndexFunc(kinds, func(k api.Failure) bool {
			return k.Code == f.Code && k.App == f.App && (f.App != "" || k.Domain == f.Domain)
		})
		if i >= 0 {
			kinds[i].Count += max(1, f.Count)
		} else if len(kinds) < limit {
			f.Count = max(1, f.Count)
			kinds = append(kinds, f)
		}
	}
	return kinds
}

type codeSum struct {
	count int
	last  api.Failure
}

// maxCodes bounds what is said of failures.
const maxCodes = 3

// byCode sums up failures, those with the newest first.
func byCode(failures []api.Failure) (sums []codeSum) {
	for _, f := range failures {
		i := slices.IndexFunc(sums, func(s codeSum) bool { return s.last.Code == f.Code })
		if i < 0 {
			i = len(sums)
			sums = append(sums, codeSum{last: f})
		}
		sums[i].count += max(1, f.Count)
	}
	return sums[:min(len(sums), maxCodes)]
}

// share is a part of all, in whole percent.
func share(part, all float64) string {
	if all <= 0 || part >= all {
		return "All"
	}
	return strconv.Itoa(max(1, int(100*part/all))) + " %"
}

func verb(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
