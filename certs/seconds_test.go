package certs_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
)

func ofKind(kind certs.Kind, c *certs.Certificate) *certs.Certificate {
	c.Kind = kind
	return c
}

// A name has one certificate of each kind, as long as both are valid.
func TestSelectSeconds(t *testing.T) {
	t.Parallel()
	rsa := ofKind(certs.RSA, made("dir", "rsa", "a", -10, 10, "a.test", "b.test"))
	longerRSA := ofKind(certs.RSA, made("dir", "longer RSA", "b", -10, 15, "a.test"))
	ecdsa := ofKind(certs.ECDSA, made("dir", "ECDSA", "c", -10, 20, "a.test"))
	vault := ofKind(certs.ECDSA, made("vault", "vault", "d", -10, 20, "a.test"))
	unknown := made("dir", "unknown", "e", -10, 30, "a.test")
	expired := ofKind(certs.RSA, made("dir", "expired", "f", -10, -1, "a.test"))
	early := ofKind(certs.RSA, made("dir", "early", "g", 1, 90, "a.test"))
	wildcard := ofKind(certs.ECDSA, made("dir", "wildcard", "h", -10, 90, "*.test"))
	for name, test := range map[string]struct {
		all  []*certs.Certificate
		want string
	}{
		"one of each":                 {[]*certs.Certificate{rsa, ecdsa}, "ECDSA + rsa"},
		"the best of each":            {[]*certs.Certificate{rsa, longerRSA, ecdsa, vault}, "vault + longer RSA"},
		"two of a kind":               {[]*certs.Certificate{rsa, longerRSA}, "longer RSA"},
		"expired":                     {[]*certs.Certificate{expired, ecdsa}, "ECDSA"},
		"not valid yet":               {[]*certs.Certificate{early, ecdsa}, "ECDSA"},
		"none is valid":               {[]*certs.Certificate{early, ofKind(certs.ECDSA, made("dir", "ended", "i", -9, -1, "a.test"))}, "ended"},
		"kind unknown":                {[]*certs.Certificate{unknown, ecdsa}, "unknown"},
		"a wildcard is no second one": {[]*certs.Certificate{rsa, wildcard}, "rsa"},
		"expired, left to a wildcard": {[]*certs.Certificate{expired, wildcard}, "wildcard"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, order := range [][]*certs.Certificate{test.all, reversed(test.all)} {
				s := certs.Select(order, noon)
				got := answering(s, "a.test")
				if second := s.Seconds["a.test"]; second != nil {
					got += " + " + second.Name
				}
				if got != test.want {
					t.Errorf("a.test is served with %s, want %s", got, test.want)
				}
			}
		})
	}

	rsa.Default, ecdsa.Default = true, true
	s := certs.Select([]*certs.Certificate{rsa, ecdsa}, noon)
	if s.Default != ecdsa || s.DefaultSecond != rsa {
		t.Errorf("the default certificates are %v and %v", s.Default, s.DefaultSecond)
	}
	if got := len(s.Certificates()); got != 2 {
		t.Errorf("%d certificates are selected, want both", got)
	}
}

// The second one comes and goes by the clock.
func TestSecondsFollowTheClock(t *testing.T) {
	t.Parallel()
	all := []*certs.Certificate{
		ofKind(certs.ECDSA, made("dir", "ECDSA", "a", -10, 20, "a.test")),
		ofKind(certs.RSA, made("dir", "RSA", "b", 2, 10, "a.test")),
	}
	var got []string
	for now := noon; !now.IsZero(); now = certs.Select(all, now).Next {
		s, second := certs.Select(all, now), "none"
		if c := s.Seconds["a.test"]; c != nil {
			second = c.Name
		}
		got = append(got, fmt.Sprintf("%s %s, %s", now.Truncate(time.Hour).Format(time.DateOnly), s.Winners["a.test"].Name, second))
	}
	want := []string{"2026-03-01 ECDSA, none", "2026-03-03 ECDSA, RSA", "2026-03-11 ECDSA, none", "2026-03-21 ECDSA, none"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
