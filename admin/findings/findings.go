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
)

// list collects findings.
type list []api.Finding

func (l *list) add(level api.Level, action, format string, args ...any) {
	*l = append(*l, api.Finding{Level: level, Text: fmt.Sprintf(format, args...), Action: action})
}

var levels = []api.Level{api.Critical, api.Warning, api.OK}

// sorted returns the findings, the worst first, and of equal ones the one that was added first.
// Without any, all is well.
func (l list) sorted(well string) []api.Finding {
	if len(l) == 0 {
		l.add(api.OK, "", "%s", well)
	}
	slices.SortStableFunc(l, func(a, b api.Finding) int { return slices.Index(levels, a.Level) - slices.Index(levels, b.Level) })
	return l
}

// Worst is the level of findings.
func Worst(findings []api.Finding) api.Level {
	if len(findings) == 0 {
		return api.OK
	}
	return findings[0].Level
}

// sources says which sources cannot be read: then what is said of the rest may be old.
func (l *list) sources(sources []api.Source) {
	for _, s := range sources {
		if s.Connected && s.LastError == "" {
			continue
		}
		since, reason := "", ""
		if !s.LastSync.IsZero() {
			since = " since " + s.LastSync.UTC().Format("2006-01-02 15:04 UTC")
		}
		if s.LastError != "" {
			reason = ": " + s.LastError
		}
		if ofApps(s) {
			l.add(api.Critical, "see whether it runs, and whether Relay reaches it; routing stays as it was meanwhile",
				"Apps cannot be read from %s%s%s", s.Kind, since, reason)
			continue
		}
		l.add(api.Warning, "see whether it runs and lets Relay read; Envoys keep the certificates that they have",
			"Certificates cannot be read from %s%s%s", s.Kind, since, reason)
	}
}

// ofApps reports whether a source is one of apps. That is worse than one of certificates, which
// are renewed weeks before they end.
func ofApps(s api.Source) bool { return s.Kind == "marathon" || s.Kind == "file" }

// tooMany is the share of errors from which an app is said to fail.
const tooMany = 0.05

// traffic says what became of requests: of the last minute by load, and of the last hour by
// failures, of which last are the newest.
func (l *list) traffic(load *api.Load, last []api.Failure) {
	if load != nil && load.Errors > 0 && load.Errors >= tooMany*load.Requests {
		action := "the last failures say why"
		if !slices.ContainsFunc(last, func(f api.Failure) bool { return !byClient(f) }) {
			action = "Envoy itself reports no failure, so the app answers 500 or above: look at its log"
		}
		l.add(api.Critical, action, "%s of its requests of the last minute ended with errors", share(load.Errors, load.Requests))
	}
	for _, sum := range byCode(last) {
		code, _ := failure.Of(sum.last.Code)
		level := api.Warning
		if code.Client {
			level = api.OK
		}
		l.add(level, strings.TrimSuffix(code.Do, "."), "%s failed with %s, %s: %s", plural(sum.count, "request"), sum.last.Code, whose(sum.last), cause(code, sum.last))
	}
}

func byClient(f api.Failure) bool {
	code, _ := failure.Of(f.Code)
	return code.Client
}

func cause(code failure.Code, f api.Failure) string {
	if code.Cause != "" {
		return strings.TrimSuffix(code.Cause, ".")
	}
	return f.Cause
}

// whose says whose request was the last one, and where it went.
func whose(f api.Failure) string {
	text := "the last one at " + f.Time.UTC().Format(time.RFC3339)
	if f.Client != "" {
		text += " from " + f.Client
	}
	if f.Instance != "" {
		text += " to " + f.Instance
	}
	return text
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

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func verb(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}
