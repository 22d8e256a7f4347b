package e2e

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"relay/admin/api"
	"relay/collator/routing"
	"relay/internal/logtest"
	"relay/internal/relay"
)

// newsRelay is a Relay without Envoys whose status page has the others as places.
func newsRelay(t *testing.T, admin, page string, places ...string) *runningRelay {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("token", "s3cret-token")
	settings := "services: [{name: Shop, domains: [shop.test]}]\nplaces:\n"
	for i, place := range places {
		settings += fmt.Sprintf("  - {name: relay-%d, url: \"http://%s\", token-file: token}\n", i, place)
	}
	r := &runningRelay{t: t, log: new(logtest.Buffer), admin: newAdminClient(t)}
	r.config = relay.Config{
		Apps: relay.Apps{File: write("apps.yaml", "apps: []\n")}, XDS: relay.XDSPort{Address: "127.0.0.1:0"},
		Fleets:     []relay.Fleet{{Fleet: routing.Fleet{Name: "external", HTTP: netip.MustParseAddrPort("127.0.0.1:80"), Options: routing.DefaultOptions()}}},
		Admin:      relay.AdminPort{Address: admin, TokenFile: filepath.Join(dir, "token")},
		State:      relay.State{Dir: filepath.Join(dir, "state")},
		StatusPage: relay.StatusPage{File: write("page.yaml", settings), Address: page},
	}
	r.start()
	return r
}

// incident runs a command at a Relay, and returns what it shows.
func (r *runningRelay) incident(status int, args ...string) string {
	r.t.Helper()
	got, out, errs := command(r.t, append([]string{"incident", "--admin", r.running.AdminURL(), "--admin-token-file", r.config.Admin.TokenFile}, args...)...)
	if got != status {
		r.t.Fatalf("relay incident %q: status %d, want %d: %s%s", args, got, status, out, errs)
	}
	return out + errs
}

// shown waits until the page of a Relay has a text.
func shown(t *testing.T, page, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the page has %q", text), func() error {
		status, body, err := read(http.DefaultClient, "http://"+page+"/")
		if err == nil && (status != http.StatusOK || !strings.Contains(body, text)) {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
}

var idIn = regexp.MustCompile(`id +(\S+)`)

// People open an incident at one Relay. All Relays publish it, the first one may go away, and what is closed at another one stays
// so when it comes back.
func TestIncidentsOfTwoRelays(t *testing.T) {
	t.Parallel()
	admins, pages := []string{freeAddress(t), freeAddress(t)}, []string{freeAddress(t), freeAddress(t)}
	one, two := newsRelay(t, admins[0], pages[0], admins...), newsRelay(t, admins[1], pages[1], admins...)
	out := one.incident(0, "open", "Logins are slow", "--services", "Shop", "--text", "We look <b>into</b> it.")
	id := idIn.FindStringSubmatch(out)[1]
	shown(t, pages[0], "We look &lt;b&gt;into&lt;/b&gt; it.") // at once
	shown(t, pages[1], "Logins are slow")
	one.stop()
	two.incident(0, "update", id, "--state", "identified", "--text", "A disk is full.")
	two.incident(0, "close", id, "--text", "All is well again.")
	if out := two.incident(1, "close", id, "--text", "All is well again."); !strings.Contains(out, "is closed since") {
		t.Errorf("closed twice: %s", out)
	}
	one.start() // it has kept what it knew, and learns the rest
	shown(t, pages[0], "All is well again.")
	if out := one.incident(0, "list", id); !strings.Contains(out, api.IncidentResolved) || !strings.Contains(out, "We look <b>into</b> it.") {
		t.Errorf("the first Relay has %s", out)
	}
	if out := one.incident(1, "open", "Odd\u202e", "--text", "x"); !strings.Contains(out, "is not allowed") {
		t.Errorf("%s", out)
	}
	if status, _, errs := command(t, "incident", "open", "x", "--text", "x", "--admin", one.running.AdminURL()); status == 0 || !strings.Contains(errs, "token") {
		t.Errorf("without a token: %d %s", status, errs)
	}
}
