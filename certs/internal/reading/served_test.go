package reading_test

import (
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/internal/reading"
)

func TestServedNeverReplacesGoodByWorse(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	made := func(from, to int) *certs.Certificate {
		return &certs.Certificate{NotBefore: now.AddDate(0, 0, from), NotAfter: now.AddDate(0, 0, to)}
	}
	valid, expired, future := made(-5, 5), made(-9, -1), made(2, 90)

	for name, test := range map[string]struct {
		offers []*certs.Certificate
		want   *certs.Certificate
		reason string
		later  int // days from now
		then   *certs.Certificate
	}{
		"first is taken, whatever it is": {[]*certs.Certificate{expired}, expired, "", 0, expired},
		"valid replaces expired":         {[]*certs.Certificate{expired, valid}, valid, "", 0, valid},
		"valid replaces future":          {[]*certs.Certificate{future, valid}, valid, "", 3, valid},
		"expired waits":                  {[]*certs.Certificate{valid, expired}, valid, "expired on 2026-02-28", 6, expired},
		"future waits for its time":      {[]*certs.Certificate{valid, future}, valid, "not valid before 2026-03-03", 2, future},
		"future does not replace dead":   {[]*certs.Certificate{expired, future}, expired, "not valid before", 2, future},
		"the old one again ends waiting": {[]*certs.Certificate{valid, future, valid}, valid, "", 3, valid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var served reading.Served
			for _, c := range test.offers {
				served.Update(c, now)
			}
			if served.Current() != test.want {
				t.Error("another certificate is current")
			}
			if reason := served.WaitingFor(now); (reason == "") != (test.reason == "") || !strings.Contains(reason, test.reason) {
				t.Errorf("waits because %q, want %q", reason, test.reason)
			}
			then := now.AddDate(0, 0, test.later)
			if change := served.NextChange(now); (test.then != test.want) != (!change.IsZero() && !change.After(then)) {
				t.Errorf("the next change is at %s, want one until %s: %v", change, then, test.then != test.want)
			}
			served.Advance(then)
			if served.Current() != test.then {
				t.Error("another certificate is current later")
			}
		})
	}
}
