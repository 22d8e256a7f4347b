package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/collator/collatortest"
	"relay/statuspage"
)

// What breaks is shown in the end on the operators' page, on the status page and by alerts, in the time that the table in
// docs/monitoring.md says; what is no trouble is shown by none. All of it happens in one world, so that an app which fails, or
// Marathon, is not told of as more than that.
func TestWhatShows(t *testing.T) {
	rules, _, _ := shippedTimes(t)
	s := startShown(t)
	t.Logf("all is up after %s", time.Since(s.began).Round(time.Second))
	w := s.watch()
	good := s.clients.load(6, ok, "http://deployed.test/", "http://scaled.test/", "http://other.test/")
	bad := s.clients.load(12, func(answer) error { return nil }, "http://stopped.test/", "http://crashing.test/", "http://lost.test/")
	var shown []shownRow
	var late []func(*testing.T)
	together := func(rows ...shownRow) {
		began := make([]time.Time, len(rows))
		for i, row := range rows {
			began[i] = time.Now()
			row.breaks(s)
		}
		for i, row := range rows {
			t.Run(row.what, func(t *testing.T) { w.check(t, row, began[i], rules) })
			for _, a := range row.alerts {
				if a.late {
					late = append(late, func(t *testing.T) { w.checkAlert(t, a, began[i], rules) })
				}
			}
		}
		shown = append(shown, rows...)
		t.Logf("%d rows are shown after %s", len(shown), time.Since(s.began).Round(time.Second))
	}
	quiet := func(also ...string) {
		t.Helper()
		for _, key := range w.unexpected(shown, also...) {
			t.Errorf("unexpected: %s", key)
		}
	}
	together(nothingShows...)
	quiet()
	together(appsFail...)
	// Alertmanager does not tell of the first two: what fires already is worse.
	also := []string{alertKey("RelayAppErrorsSlow", ""), alertKey("RelayMarathonSyncOld", ""), alertKey("RelayCertificateNotRenewed", "old.test")}
	quiet(also...)
	s.clients.noFailure(good, 100)
	bad.stop()
	together(anEnvoyStops)
	// Two on one machine are of two fleets.
	quiet(append(also, alertKey("RelayNoEnvoys", "internal"))...)
	together(allEnvoysStop, aCertificateIsNotRenewed)
	quiet(append(also, alertKey("RelayEdgeDown", ""), alertKey("RelayNoEnvoys", "internal"), publicKey("half", statuspage.Down), publicKey("slow", statuspage.Down))...)
	t.Run("later", func(t *testing.T) {
		for _, check := range late {
			check(t)
		}
	})
}

// Without Relay its Envoys serve, the status page of another place says so, also when Relay was away for long, and an alert
// says that it is away.
func TestWhatShowsWithoutRelay(t *testing.T) {
	rules, _, _ := shippedTimes(t)
	s := startShown(t)
	// Who asks for an app that sleeps waits for Relay, and so would a place that does not know that it sleeps.
	s.far.awaits("sleepy.test", func(p api.Probe) bool { return p.Skipped != "" && len(p.Steps) == 0 })
	w := s.watch()
	good := s.clients.load(5, ok, "http://other.test/", "https://other.test/")
	since := time.Now()
	relayStops.breaks(s)
	if _, _, err := s.admin.request(http.MethodGet, "/"); err == nil {
		t.Error("the operators' page answers")
	}
	t.Run(relayStops.what, func(t *testing.T) { w.check(t, relayStops, since, rules) })
	becomes(t, "a minute, after which a place does not count", 2*time.Minute, func() error {
		if gone := time.Since(since); gone < 75*time.Second {
			return fmt.Errorf("%s are over", gone)
		}
		return nil
	})
	for _, key := range w.unexpected([]shownRow{relayStops}) {
		t.Errorf("unexpected: %s", key)
	}
	states, err := s.public()
	for service, state := range states {
		if state != statuspage.Up {
			t.Errorf("%s is %s", service, state)
		}
	}
	if err != nil {
		t.Error(err)
	}
	s.clients.noFailure(good, 100)
}

// The table has all rows, with what the tests look for, and when somebody is told by the files in deploy.
func TestWhatShowsTable(t *testing.T) {
	const file = "../docs/monitoring.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rules, scrape, group := shippedTimes(t)
	var table strings.Builder
	table.WriteString("| What happens | The operators' page | The status page | Alerts |\n|---|---|---|---|\n")
	for _, row := range shownRows() {
		page, alerts := []string{"no answer"}, []string{"none"}
		if len(row.page) > 0 {
			page = nil
		}
		for _, o := range row.page {
			path := o.path
			if strings.HasPrefix(path, "/apps/") {
				path = "/apps/ID"
			}
			page = append(page, fmt.Sprintf("`%s`: %s, %s", path, cmp.Or(o.means, "“"+o.words+"”"), when(o.found.within(probesEvery))))
		}
		for i, a := range row.alerts {
			r, known := rules[a.name]
			if !known {
				t.Fatalf("there is no alert %s", a.name)
			}
			if i == 0 {
				alerts = nil
			}
			after := a.found.within(probesEvery) + scrape + r.evaluation + r.wait + group
			if r.wait > 0 {
				after += r.evaluation
			}
			one := fmt.Sprintf("[%s](runbook.md#%s), %s", a.name, strings.ToLower(a.name), inWords(after))
			if a.only != "" {
				one += " (" + a.only + ")"
			}
			alerts = append(alerts, one)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", row.what, strings.Join(page, "; "), publicWords(row), strings.Join(alerts, "; "))
	}
	at := regexp.MustCompile(`(?ms)^\| What happens \| The operators.*?\n\n`).FindIndex(text)
	if at == nil {
		t.Fatalf("%s has no table of what shows what", file)
	}
	want := string(text[:at[0]]) + table.String() + "\n" + string(text[at[1]:])
	if *collatortest.Update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("the table of what shows what in %s is another one: write it with -update. It should be\n%s", file, table.String())
	}
}

func when(d time.Duration) string {
	if d == 0 {
		return "at once"
	}
	return inWords(d)
}

func publicWords(row shownRow) string {
	if len(row.public) == 0 {
		return "up"
	}
	return row.publicly + ", " + inWords(onPublicPage.within(probesEvery))
}
