package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"relay/admin/api"
	"relay/admin/client"
	"relay/admin/findings"
	"relay/internal/terminal"
)

// What is shown to Nagios at most: it takes a line of some kilobytes, people less.
const (
	maxNagiosFindings = 4
	maxNagiosText     = 500
)

// nagiosLine is one line after the plugin guideline (nagios-plugins.org, "Plugin Output" and
// "Performance data"): the service, its level, words for people, and after "|" numbers.
func nagiosLine(s api.Status) string {
	found := s.Findings
	words := make([]string, 0, maxNagiosFindings)
	for _, f := range found[:min(len(found), maxNagiosFindings)] {
		words = append(words, f.Text)
	}
	if more := len(found) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	if worst(found) == levelOK {
		words = []string{s.Summary}
	}
	return nagiosText(worst(found), strings.Join(words, "; ")) + " | " + strings.Join(performance(s), " ")
}

// nagiosText leaves out what Nagios takes for its own.
func nagiosText(l level, text string) string {
	text = terminal.Cut(strings.ReplaceAll(terminal.Clean(text), "|", "/"), maxNagiosText)
	return "RELAY " + l.String() + " - " + text
}

// nagiosFailed says that there is no answer, and returns the status. The guideline keeps
// "unknown" for what is wrong with the plugin and its arguments: a Relay that does not answer
// is critical.
func nagiosFailed(w io.Writer, err error) level {
	l := levelCritical
	switch client.KindOf(err) {
	case client.Usage, client.Denied, client.TooOld:
		l = levelUnknown
	}
	if own, ok := errors.AsType[exitStatus](err); ok && own.status == statusUsage {
		l = levelUnknown
	}
	fmt.Fprintln(w, nagiosText(l, err.Error()))
	return l
}

// performance are the numbers: 'label'=value[unit];[warning];[critical];[least];[most].
func performance(s api.Status) (all []string) {
	add := func(label string, value float64, unit, thresholds string) {
		text := "U" // the guideline's word for what is not known
		if !math.IsNaN(value) {
			text = strconv.FormatFloat(math.Round(value*1e6)/1e6, 'f', -1, 64) + unit
		}
		all = append(all, label+"="+text+";"+thresholds)
	}
	var upToDate, behind, rejecting int
	for _, f := range s.Fleets {
		upToDate, behind, rejecting = upToDate+f.UpToDate, behind+f.Behind, rejecting+f.Rejecting
	}
	add("envoys", float64(s.Counts.Envoys), "", ";;0")
	add("envoys_up_to_date", float64(upToDate), "", ";;0")
	add("envoys_behind", float64(behind), "", ";;0")
	add("envoys_rejecting", float64(rejecting), "", "0;;0")
	add("apps", float64(s.Counts.Apps), "", ";;0")
	add("domains", float64(s.Counts.Domains), "", ";;0")
	add("endpoints", float64(s.Counts.Endpoints), "", ";;0")
	add("problems", float64(s.Counts.Problems), "", ";;0")
	add("problems_failing", float64(s.Counts.Failing), "", "0;;0")
	requests, failing, failures, p99, days := math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()
	if s.Load != nil {
		requests, failing = s.Load.Requests, s.Load.Errors
	}
	if s.Failures != nil {
		failures = *s.Failures
	}
	if s.Convergence != nil {
		p99 = s.Convergence.P99
	}
	if next := s.Certificates.Next; next != nil {
		days = next.NotAfter.Sub(s.Time).Hours() / 24
	}
	add("requests_per_second", requests, "", ";;0")
	add("errors_per_second", failing, "", ";;0")
	add("failures_per_second", failures, "", ";;0")
	add("convergence_p99", p99, "s", ";;0")
	add("certificate_days_left", days, "", fmt.Sprintf("%d:;%d:;", soonDays, findings.CriticalDays))
	return all
}
