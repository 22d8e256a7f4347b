package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/admin/api"
	"relay/sources/marathon/marathontest"
)

// troubles are what goes wrong at Marathon when Relay writes to it, until mend is called.
var troubles = map[string]func(w *world) (mend func()){
	"409": func(w *world) func() {
		return w.marathon.Inject(writeOf("/sleepy"), marathontest.Fault{Status: http.StatusConflict, Body: `{"message":"App is locked by one or more deployments.","deployments":[{"id":"of-people"}]}`})
	},
	"500": func(w *world) func() {
		return w.marathon.Inject(writeOf("/sleepy"), marathontest.Fault{Status: http.StatusInternalServerError, Body: "oops"})
	},
	// The change is made, and Relay is not told so.
	"the answer is lost": func(w *world) func() {
		return w.marathon.Inject(writeOf("/sleepy"), marathontest.Fault{Cut: true})
	},
	// Nothing comes through, not even what reads.
	"away": func(w *world) func() {
		w.marathon.away()
		w.marathon.Inject(marathontest.KindWrite, marathontest.Fault{Status: http.StatusServiceUnavailable})
		w.marathon.Inject(marathontest.KindVersions, marathontest.Fault{Status: http.StatusServiceUnavailable})
		w.marathon.CutStreams()
		return w.marathon.ClearFaults
	},
}

// Whatever Marathon does when Relay puts an app to sleep, no request fails then or after, and when Marathon is well
// the app sleeps or is awake as Marathon says, and wakes.
func TestMarathonFailsWhileFallingAsleep(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			w := dozing(t)
			w.startOften()
			w.clients.expect("http://sleepy.test/", http.StatusOK, "/sleepy")
			w.phase("/sleepy", api.PhaseFallingAsleep)
			mend := trouble(w)
			w.eventually("Relay has written, or says why not", func() error {
				if s := w.scaling("/sleepy"); w.writes("/sleepy") == 0 && !strings.Contains(s.Text, "503") {
					return fmt.Errorf("%+v", s)
				}
				return nil
			})
			var all []<-chan answer
			for range 10 {
				all = append(all, w.ask(http.MethodPost, make([]byte, bodySize)))
			}
			if name == "409" { // nothing was changed: there is nothing to wait for
				for i, a := range all {
					a := <-a
					a.is(t, fmt.Sprint("request ", i), http.StatusOK, "")
				}
				all = nil
			}
			mend()
			for i, a := range all {
				a := <-a
				a.is(t, fmt.Sprint("request ", i), http.StatusOK, "")
			}
			w.clients.expect("http://sleepy.test/", http.StatusOK, "/sleepy")
			w.envoy.nothingRejected()
		})
	}
}

// What fails while an app wakes is tried again, and who waits does not notice.
func TestMarathonFailsWhileWaking(t *testing.T) {
	t.Parallel()
	for name, trouble := range troubles {
		t.Run(name, func(t *testing.T) {
			w := asleep(t, 50*time.Millisecond)
			mend := trouble(w)
			a := w.ask(http.MethodPost, make([]byte, bodySize))
			if name != "the answer is lost" {
				w.held(1)
				w.eventually("people are told", func() error {
					if s := w.scaling("/sleepy"); s.Phase != api.PhaseWaking || !strings.Contains(s.Trouble, "scale app /sleepy") || s.Waiting != 1 {
						return fmt.Errorf("%+v", s)
					}
					return nil
				})
				w.triedAgain(2)
				w.held(1)
			}
			mend()
			got := <-a
			got.is(t, "what waited", http.StatusOK, "")
			w.clients.tasks("http://sleepy.test/", 2, "")
			w.has("/sleepy", 2, "")
			w.phase("/sleepy", api.PhaseAwake)
		})
	}
}

// triedAgain waits until Relay has tried again.
func (w *world) triedAgain(n int) {
	w.t.Helper()
	w.eventually("Relay has tried again", func() error {
		if w.relay.count("scaling_failed") < n {
			return errors.New("not yet")
		}
		return nil
	})
}
