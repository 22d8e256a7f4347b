package collator

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"unicode/utf8"

	"relay/sources"
)

// mapApp returns the app as the fleets use it: domains and endpoints checked,
// sorted and without duplicates. What it leaves out is added to the problems.
// A source is not trusted to have done so: one bad name would cost all apps.
func mapApp(app *sources.App) (*sources.App, error) {
	switch {
	case app.ID == "":
		return nil, errors.New("has no id")
	case !utf8.ValidString(app.ID):
		return nil, errors.New("has an id that is not UTF-8")
	}
	clean := *app
	clean.Ports = make([]sources.Port, len(app.Ports))
	clean.Problems = slices.Clone(app.Problems)
	for i, port := range app.Ports {
		report := func(field, reason string) {
			clean.Problems = append(clean.Problems, sources.Problem{
				Subject: fmt.Sprintf("port %d, %s", i, field), Reason: reason,
			})
		}
		port.Domains = cleanDomains(port.Domains, report)
		port.ACMEDomains = cleanDomains(port.ACMEDomains, report)
		var dropped []string
		port.Endpoints, dropped = cleanEndpoints(port.Endpoints)
		for _, reason := range dropped {
			report("endpoints", reason)
		}
		clean.Ports[i] = port
	}
	return &clean, nil
}

func cleanDomains(domains []string, report func(field, reason string)) []string {
	clean := make([]string, 0, len(domains))
	for _, domain := range domains {
		normal, err := sources.NormalizeDomain(domain)
		if err != nil {
			report("domains", err.Error())
			continue
		}
		clean = append(clean, normal)
	}
	slices.Sort(clean)
	return slices.Compact(clean)
}

// guarded calls f and turns a panic into an error, so that it costs one thing
// only.
func guarded[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{value: r, stack: debug.Stack()}
		}
	}()
	return f()
}

// panicError is a bug in Relay that cost one app or resource.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string {
	return fmt.Sprintf("a bug in Relay was hit (%v): what was there before is kept; please report it with the log", e.value)
}
