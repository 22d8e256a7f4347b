package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/admin/findings"
	"relay/internal/problem"
)

// What the plugin guideline says of a line: the words, "|", and numbers as
// 'label'=value[UOM];[warn];[crit];[min];[max], where a label with spaces has quotes, a value is
// a number or U, and thresholds are ranges.
const (
	nagiosNumber = `-?[0-9]+(?:\.[0-9]+)?`
	nagiosRange  = `(?:@?(?:(?:` + nagiosNumber + `|~)?:)?(?:` + nagiosNumber + `)?)?`
	nagiosDatum  = `[^\s'=|;]+=(?:U|` + nagiosNumber + `(?:s|us|ms|%|B|KB|MB|TB|c)?)(?:;` + nagiosRange + `(?:;` + nagiosRange + `(?:;(?:` + nagiosNumber + `)?(?:;(?:` + nagiosNumber + `)?)?)?)?)?`
)

var (
	nagiosForm   = regexp.MustCompile(`^RELAY (OK|WARNING|CRITICAL) - [^|\n]+ \| ` + nagiosDatum + `(?: ` + nagiosDatum + `)*\n$`)
	nagiosNoData = regexp.MustCompile(`^RELAY (CRITICAL|UNKNOWN) - [^|\n]+\n$`)
)

// wellStatus is that of a Relay with which all is well.
func wellStatus() api.Status {
	s := fakeStatus()
	s.Summary, s.OK = "all domains are served", true
	s.Sources[1].Connected, s.Sources[1].LastError = true, ""
	s.Fleets[0].UpToDate, s.Fleets[0].Rejecting, s.Fleets[0].Disconnected = 2, 0, nil
	s.Counts.Problems, s.Counts.Failing, s.Worst = 0, 0, nil
	s.Certificates.Soon, s.Certificates.Next.NotAfter = 0, fakeNow.Add(40*24*time.Hour)
	s.Findings = findings.OfStatus(&s)
	return s
}

// Each thing that is not well decides the level, of relay status and for Nagios.
func TestLevels(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*api.Status)
		want   level
		says   string
	}{
		"well":                       {func(*api.Status) {}, levelOK, "all domains are served"},
		"nothing is reported":        {func(s *api.Status) { s.Load, s.Failures, s.Convergence, s.Certificates.Next = nil, nil, nil, nil }, levelOK, "requests_per_second=U;"},
		"not ready":                  {func(s *api.Status) { s.Ready, s.NotReady = false, []string{"Marathon was not read"} }, levelCritical, "Marathon was not read"},
		"not ready without a reason": {func(s *api.Status) { s.Ready = false }, levelCritical, "not served everything"},
		"Marathon is lost":           {func(s *api.Status) { s.Sources[0].Connected = false }, levelCritical, "Apps cannot be read from marathon"},
		"Vault is lost":              {func(s *api.Status) { s.Sources[1].Connected, s.Sources[1].LastError = false, "expired | token" }, levelWarning, "expired / token"},
		"all Envoys have left":       {func(s *api.Status) { s.Fleets[0].Envoys, s.Fleets[0].Disconnected = 0, []api.EnvoySince{{ID: "e-1"}} }, levelCritical, "no Envoy is connected any more"},
		"no Envoy":                   {func(s *api.Status) { s.Fleets[0].Envoys = 0 }, levelWarning, "no Envoy is connected"},
		"one Envoy has left":         {func(s *api.Status) { s.Fleets[0].Disconnected = []api.EnvoySince{{ID: "e-1"}} }, levelWarning, "such as e-1"},
		"an Envoy rejects":           {func(s *api.Status) { s.Fleets[0].Rejecting = 2 }, levelWarning, "2 Envoys reject"},
		"an Envoy is behind":         {func(s *api.Status) { s.Fleets[0].Behind = 1 }, levelOK, "envoys_behind=1;"},
		"a certificate ends soon":    {func(s *api.Status) { s.Certificates.Soon = 1 }, levelWarning, "less than 21 days"},
		"a certificate ends":         {func(s *api.Status) { s.Certificates.Next.NotAfter = fakeNow.Add(30 * time.Hour) }, levelCritical, "ends at " + fakeNow.Add(30*time.Hour).UTC().Format("2006-01-02 15:04 UTC")},
		"a certificate has ended":    {func(s *api.Status) { s.Certificates.Next.NotAfter = before(time.Hour) }, levelCritical, "ended at "},
		"domains lack a certificate": {func(s *api.Status) { s.Certificates.Uncovered = 3 }, levelWarning, "3 domains have no certificate"},
		"problems":                   {func(s *api.Status) { s.Counts.Failing = 1 }, levelWarning, "1 problem costs requests"},
		"advice":                     {func(s *api.Status) { s.Counts.Problems = 1; s.Worst = []api.Group{{Severity: problem.Advice}} }, levelOK, "problems=1;"},
		"an Envoy was refused":       {func(s *api.Status) { s.Refused = []string{"10.0.0.1: an\x1b old certificate\n"} }, levelWarning, `an\x1b old certificate\n`},
		"much of it, in a long line": {func(s *api.Status) { s.NotReady = strings.Split(strings.Repeat("x,", 900), ",") }, levelCritical, "and 897 more"},
	} {
		f := newFakeRelay(t)
		s := wellStatus()
		tt.change(&s)
		s.Findings = findings.OfStatus(&s)
		f.answers["status"] = s
		status, out, errs := command(t, "status", "--nagios")
		if status != int(tt.want) || !nagiosForm.MatchString(out) || !strings.HasPrefix(out, "RELAY "+tt.want.String()+" - ") || !strings.Contains(out, tt.says) || errs != "" {
			t.Errorf("%s: status %d, want %d and %q: %q%s", name, status, tt.want, tt.says, out, errs)
		}
		if len(out) > 2000 {
			t.Errorf("%s: the line has %d bytes", name, len(out))
		}
		status, out, _ = command(t, "status")
		if (status == 0) != (tt.want == levelOK) || !strings.HasPrefix(out, tt.want.String()+"  ") {
			t.Errorf("%s: relay status ends with %d:\n%s", name, status, out)
		}
	}
}

// A Relay that does not answer is critical; what is wrong with the check itself is unknown.
func TestNagiosWithoutAnAnswer(t *testing.T) {
	f := newFakeRelay(t)
	f.answers["status"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	failing := newFakeRelay(t)
	failing.answers["status"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	for _, tt := range []struct {
		args []string
		want level
	}{
		{[]string{"--admin", nobody(t)}, levelCritical}, {[]string{"--admin", failing.URL}, levelCritical}, {[]string{"--admin", f.URL}, levelUnknown},
		{[]string{"--admin", "ftp://a"}, levelUnknown}, {[]string{"--none"}, levelUnknown}, {[]string{"--admin-ca", "/none"}, levelUnknown},
	} {
		status, out, errs := command(t, append([]string{"status", "--nagios"}, tt.args...)...)
		if status != int(tt.want) || !nagiosNoData.MatchString(out) || errs != "" {
			t.Errorf("%q: status %d, want %d: %q%s", tt.args, status, tt.want, out, errs)
		}
	}
	if got := nagiosText(levelUnknown, errors.New("a|b\nc").Error()); got != `RELAY UNKNOWN - a/b\nc` {
		t.Error(got)
	}
	if got := fmt.Sprint(levelOK, levelUnknown); got != "OK UNKNOWN" {
		t.Error(got)
	}
}
