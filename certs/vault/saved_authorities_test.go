package vault

import (
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/certs/internal/reading"
)

// denied answers 403 to requests for one of the paths in the mount.
func denied(paths ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(rw http.ResponseWriter, r *http.Request) bool {
		for _, p := range paths {
			if strings.HasPrefix(r.URL.Path, path.Join("/v1/secret", p)) {
				reply(rw, http.StatusForbidden, `{"errors":["permission denied"]}`)
				return true
			}
		}
		return false
	}
}

// savedAuthority is one as an earlier run saved it.
func savedAuthority(t testing.TB, root *certstest.Authority, name, list string) *certs.Authority {
	t.Helper()
	a, err := reading.Saved(source, name, string(root.PEM()), list)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// At the start, what Vault denies is no answer if an earlier run had it: nobody who was let in is
// locked out by a right that was taken away.
func TestDeniedWhileOthersAreSaved(t *testing.T) {
	devices, trackers := testRoot(t, "devices"), testRoot(t, "trackers")
	list := string(devices.TestRevoke(t, certstest.ListOptions{}, 5))
	const all, absent = "metadata/authorities", -1
	for name, test := range map[string]struct {
		denied []string
		saved  bool
		empty  bool // Vault has no authority
		// complete is whether it is an answer, and devices and trackers what is revoked of them then.
		complete          bool
		devices, trackers int
		problem           string
	}{
		"the list, saved":           {denied: []string{all}, saved: true, devices: absent, trackers: absent},
		"the list, and its entries": {denied: []string{all, "data/authorities"}, saved: true, devices: absent, trackers: absent},
		"the list, nothing saved":   {denied: []string{all}, complete: true, devices: absent, trackers: absent, problem: "the right to list authorities"},
		"one entry, saved":          {denied: []string{"data/authorities/devices"}, saved: true, complete: true, devices: 1, trackers: 2, problem: "the right to read it; what was read of it last stays in use"},
		"one entry, nothing saved":  {denied: []string{"data/authorities/devices"}, complete: true, devices: absent, trackers: 2, problem: "nobody is let in by it"},
		"none any more, saved":      {saved: true, empty: true, complete: true, devices: absent, trackers: absent},
		"nothing denied":            {saved: true, complete: true, devices: 2, trackers: 2},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.vault.publish(w.T, "a.test", w.issue("a.test"))
				w.vault.intercept = denied(test.denied...)
				if test.saved {
					w.sink.Save(savedAuthority(t, devices, "devices", list), savedAuthority(t, trackers, "trackers", ""))
				}
				if !test.empty {
					w.vault.storeAuthority("devices", map[string]string{"certificates": string(devices.PEM()), "crl": string(devices.TestRevoke(t, certstest.ListOptions{Number: 2}, 5, 6))})
					w.vault.storeAuthority("trackers", map[string]string{"certificates": string(trackers.PEM()), "crl": string(trackers.TestRevoke(t, certstest.ListOptions{}, 1, 2))})
				}
			}, func(w *world) {
				for range 3 {
					w.names("a.test")
					if w.source.authorities.complete != test.complete {
						t.Fatalf("it counts as a complete read: %v", !test.complete)
					}
					w.revoked("devices", test.devices)
					w.revoked("trackers", test.trackers)
					w.authorityProblem(test.problem)
					if unread := w.sink.Last().Unread; strings.Contains(unread, "give Relay's policy the right to list authorities") == test.complete {
						t.Errorf("the sink is told of failure: %q", unread)
					}
					if err := w.reload(); (err == nil) != test.complete {
						t.Errorf("the hook is told %v", err)
					}
					w.sleep(nextPoll)
				}
				w.vault.change(func(f *fakeVault) { f.intercept = nil })
				if err := w.reload(); err != nil {
					t.Error(err)
				}
				if !test.empty {
					w.revoked("devices", 2)
					w.revoked("trackers", 2)
				}
				w.authorityProblem("")
				if unread := w.sink.Last().Unread; unread != "" {
					t.Errorf("the sink is still told of failure: %s", unread)
				}
			})
		})
	}
}

// What was saved of an entry is as good as what was read of it: an older list does not replace it.
func TestSavedListOnlyGetsNewer(t *testing.T) {
	devices := testRoot(t, "devices")
	inWorld(t, func(w *world) {
		w.vault.intercept = denied("data/authorities/devices")
		w.sink.Save(savedAuthority(t, devices, "devices", string(devices.TestRevoke(t, certstest.ListOptions{ThisUpdate: time.Now(), Number: 3}, 5, 6, 7))))
		w.vault.storeAuthority("devices", map[string]string{"certificates": string(devices.PEM()), "crl": string(devices.TestRevoke(t, certstest.ListOptions{Number: 2}, 5))})
	}, func(w *world) {
		w.revoked("devices", 3)
		w.vault.change(func(f *fakeVault) { f.intercept = nil })
		w.sleep(nextPoll)
		w.revoked("devices", 3)
		w.authorityProblem("older than the one in use")
	})
}
