package certs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
	"relay/internal/hostname"
)

// answering is the certificate that clients of a name are shown; "" is none.
func answering(s certs.Selection, name string) string {
	for _, candidate := range []string{name, hostname.WildcardOver(name)} {
		if c := s.Winners[candidate]; c != nil {
			return c.Name
		}
	}
	return ""
}

// An exact name without a valid certificate is left to a valid wildcard that
// covers it, and to nothing else.
func TestSelectLeavesNamesToAWildcard(t *testing.T) {
	t.Parallel()
	var (
		expired  = made("vault", "expired", "a", -90, -1, "www.shop.test")
		deader   = made("vault", "deader", "b", -90, -2, "www.shop.test")
		future   = made("vault", "future", "c", 1, 89, "www.shop.test")
		valid    = made("dir", "valid", "d", -1, 10, "www.shop.test")
		several  = made("vault", "several", "e", -90, -1, "a.shop.test", "b.shop.test", "shop.test", "deep.www.shop.test", "*.www.shop.test")
		wildcard = made("dir", "wildcard", "f", -1, 89, "*.shop.test")
		ended    = made("dir", "ended", "g", -90, -3, "*.shop.test")
		early    = made("dir", "early", "h", 2, 89, "*.shop.test")
		upper    = made("dir", "upper", "i", -1, 89, "*.test")
		inside   = made("dir", "inside", "j", -90, -1, "*.in.shop.test")
		label    = made("dir", "label", "k", -90, -1, "localhost")
		fallback = made("dir", "fallback", "l", -90, -1, "www.shop.test")
	)
	fallback.Default = true
	const instead = "dir/wildcard, which is valid until 2026-05-29, is served instead for "
	for name, test := range map[string]struct {
		all  []*certs.Certificate
		want map[string]string
		said []string
	}{
		"expired": {[]*certs.Certificate{expired, wildcard}, map[string]string{"www.shop.test": "wildcard"},
			[]string{"expired: expired on 2026-02-28: " + instead + "www.shop.test"}},
		"not yet valid": {[]*certs.Certificate{future, wildcard}, map[string]string{"www.shop.test": "wildcard"},
			[]string{"future: is not valid before 2026-03-02: " + instead + "www.shop.test"}},
		"the best of two": {[]*certs.Certificate{deader, wildcard, expired}, map[string]string{"www.shop.test": "wildcard"},
			[]string{"expired: expired on 2026-02-28: " + instead + "www.shop.test"}},
		"another exact one is valid": {[]*certs.Certificate{expired, wildcard, valid}, map[string]string{"www.shop.test": "valid"}, nil},
		"wildcard expired": {[]*certs.Certificate{expired, ended}, map[string]string{"www.shop.test": "expired", "x.shop.test": "ended"},
			[]string{"ended: expired on 2026-02-26 and is served all the same: nothing else covers *.shop.test", "expired: expired on 2026-02-28 and is served all the same: nothing else covers www.shop.test"}},
		"wildcard not yet valid": {[]*certs.Certificate{expired, early}, map[string]string{"www.shop.test": "expired"},
			[]string{"early: is not valid before 2026-03-03 and is served all the same: nothing else covers *.shop.test", "expired: expired on 2026-02-28 and is served all the same: nothing else covers www.shop.test"}},
		"one of two wildcards": {[]*certs.Certificate{ended, expired, wildcard, early}, map[string]string{"www.shop.test": "wildcard"},
			[]string{"expired: expired on 2026-02-28: " + instead + "www.shop.test"}},
		"two levels up": {[]*certs.Certificate{expired, upper}, map[string]string{"www.shop.test": "expired", "shop.test": "upper"},
			[]string{"expired: expired on 2026-02-28 and is served all the same: nothing else covers www.shop.test"}},
		"some names of several": {[]*certs.Certificate{several, wildcard},
			map[string]string{"a.shop.test": "wildcard", "b.shop.test": "wildcard", "shop.test": "several", "deep.www.shop.test": "several"},
			[]string{
				"several: expired on 2026-02-28 and is served all the same: nothing else covers *.www.shop.test, deep.www.shop.test, shop.test",
				"several: expired on 2026-02-28: " + instead + "a.shop.test, b.shop.test",
			}},
		"names that no wildcard covers": {[]*certs.Certificate{inside, label, wildcard}, map[string]string{"x.in.shop.test": "inside", "localhost": "label"},
			[]string{"inside: expired on 2026-02-28 and is served all the same: nothing else covers *.in.shop.test", "label: expired on 2026-02-28 and is served all the same: nothing else covers localhost"}},
		"default all the same": {[]*certs.Certificate{fallback, wildcard}, map[string]string{"www.shop.test": "wildcard"},
			[]string{"fallback: expired on 2026-02-28 and is served all the same: nothing else covers unknown names", "fallback: expired on 2026-02-28: " + instead + "www.shop.test"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, order := range [][]*certs.Certificate{test.all, reversed(test.all)} {
				s := certs.Select(order, noon)
				got := make(map[string]string)
				for name := range test.want {
					got[name] = answering(s, name)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("served (-want +got):\n%s", diff)
				}
				var said []string
				for _, p := range problems(s) {
					said = append(said, fmt.Sprintf("%s: %s", p.Subject, p.Reason))
				}
				if diff := cmp.Diff(test.said, said); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				for name := range s.LeftToWildcard {
					if s.Winners[name] != nil {
						t.Errorf("%s is left to the wildcard and has a winner", name)
					}
				}
			}
		})
	}
}

// Time alone has a name change over, and back.
func TestNamesAreLeftToAWildcardByTheClock(t *testing.T) {
	t.Parallel()
	all := []*certs.Certificate{
		made("vault", "exact", "a", -80, 5, "www.shop.test"),
		made("vault", "renewed", "b", 8, 60, "www.shop.test"),
		made("dir", "wildcard", "c", 2, 20, "*.shop.test"),
		made("dir", "later wildcard", "d", 70, 90, "*.shop.test"),
	}
	var got []string
	for now := noon; !now.IsZero(); now = certs.Select(all, now).Next {
		got = append(got, fmt.Sprintf("%s: %s", now.Truncate(time.Hour).Format(time.DateOnly), answering(certs.Select(all, now), "www.shop.test")))
	}
	want := []string{
		"2026-03-01: exact", "2026-03-03: exact", "2026-03-06: wildcard", "2026-03-09: renewed", "2026-03-21: renewed",
		"2026-04-30: renewed", "2026-05-10: later wildcard", "2026-05-30: renewed",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
