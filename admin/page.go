package admin

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"relay/collator"
	"relay/internal/problem"
	"relay/xds"
)

// A page with everything would be megabytes at thousands of apps, every few
// seconds: it shows what needs attention first, the JSON has the rest.
const (
	maxGroups       = 50 // of problems
	maxOfPageGroup  = 5  // problems
	maxEnvoys       = 100
	maxCertificates = 50
	maxUnused       = 10
	maxUncovered    = 25
	// maxDomains is how many domains of one certificate are shown.
	maxDomains = 4
	// warnDays is when an expiry is shown as a warning. ACME clients renew 30
	// days ahead, so less than that means that renewal does not work.
	warnDays = 21
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago":   func(t time.Time) string { return ago(time.Since(t)) },
	"stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"days":  days,
	"until": func(t time.Time) string { return ago(time.Until(t)) },
	"left":  func(t time.Time) string { return days(int(math.Floor(time.Until(t).Hours() / 24))) },
	"state": certificateClass,
	"count": count,
	"some":  some,
	"level": severityClass,
}).Parse(pageSource))

type pageData struct {
	Version  string
	Now      time.Time
	Refresh  bool
	NotReady []string
	Counts   Counts
	Envoys   int
	Sources  []SourceView
	Fleets   []pageFleet
	Refused  []string

	// Served is the first line.
	Served       collator.Served
	Problems     int
	Groups       []problem.Group
	HiddenGroups int

	Certificates, HiddenCertificates, UnusedCertificates int
	ShownCertificates                                    []collator.CertificateView

	Uncovered, HiddenUncovered int
	UncoveredKnown             bool
	ShownUncovered             []collator.UncoveredDomain
}

type pageFleet struct {
	FleetView
	Shown  []pageEnvoy
	Hidden int
}

type pageEnvoy struct {
	xds.StreamStatus
	Lacking, Behind int
}

// page answers GET /. With ?refresh=off it stays as it is, to read and copy.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	var buf bytes.Buffer
	data := s.pageData()
	data.Refresh = r.URL.Query().Get("refresh") != "off"
	if err := pageTemplate.Execute(&buf, data); err != nil {
		s.cfg.Log.Error("admin: render the status page", "event", "answer_failed", "error", err)
		http.Error(w, "cannot render the page", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = buf.WriteTo(w) // the client may be gone
}

func (s *Server) pageData() pageData {
	certificates := slices.Clone(s.cfg.Views.Certificates())
	slices.SortStableFunc(certificates, func(a, b collator.CertificateView) int { return a.NotAfter.Compare(b.NotAfter) })
	used, unused := splitUnused(certificates)
	uncovered, known := s.cfg.Views.Uncovered()
	d := pageData{
		Version:           s.cfg.Version,
		Now:               time.Now(),
		NotReady:          s.notReady(),
		Counts:            s.cfg.Views.Counts(),
		Sources:           s.sources(),
		Served:            s.cfg.Views.Served(),
		Certificates:      len(certificates),
		ShownCertificates: slices.Concat(used[:min(len(used), maxCertificates)], unused[:min(len(unused), maxUnused)]),
		Uncovered:         len(uncovered),
		UncoveredKnown:    known,
		ShownUncovered:    uncovered[:min(len(uncovered), maxUncovered)],

		UnusedCertificates: len(unused),
	}
	d.HiddenUncovered = d.Uncovered - len(d.ShownUncovered)
	problems := s.cfg.Views.Problems()
	d.Problems = len(problems)
	d.Groups, d.HiddenGroups = grouped(problems, maxGroups, maxOfPageGroup)
	d.HiddenCertificates = d.Certificates - len(d.ShownCertificates)
	for _, refused := range s.cfg.Views.Refused() {
		d.Refused = append(d.Refused, redact(refused))
	}
	for _, f := range s.fleets() {
		d.Envoys += len(f.Envoys)
		d.Fleets = append(d.Fleets, newPageFleet(f))
	}
	return d
}

// splitUnused separates the certificates that nobody has to care for: they come last.
func splitUnused(certificates []collator.CertificateView) (used, unused []collator.CertificateView) {
	for _, c := range certificates {
		if c.Unused {
			unused = append(unused, c)
		} else {
			used = append(used, c)
		}
	}
	return used, unused
}

// some cuts a list of domains for the page, with the number of those left out.
func some(domains []string) (shown struct {
	Domains []string
	Hidden  int
}) {
	shown.Domains = domains[:min(len(domains), maxDomains)]
	shown.Hidden = len(domains) - len(shown.Domains)
	return shown
}

// newPageFleet puts the Envoys that need attention first.
func newPageFleet(f FleetView) pageFleet {
	var envoys []pageEnvoy
	for _, e := range f.Envoys {
		p := pageEnvoy{StreamStatus: e}
		for _, t := range e.Types {
			p.Lacking += t.StaleCount
			p.Behind += t.Behind
		}
		envoys = append(envoys, p)
	}
	slices.SortStableFunc(envoys, func(a, b pageEnvoy) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.NodeID, b.NodeID))
	})
	shown := envoys[:min(len(envoys), maxEnvoys)]
	return pageFleet{FleetView: f, Shown: shown, Hidden: len(envoys) - len(shown)}
}

func rank(e pageEnvoy) int {
	switch {
	case e.Lacking > 0:
		return 0
	case e.Behind > 0:
		return 1
	}
	return 2
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
func severityClass(s problem.Severity) string {
	switch s {
	case problem.Failing:
		return "bad"
	case problem.Ignored:
		return "warn"
	}
	return "dim"
}

// count writes a number with its thousands apart.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}
