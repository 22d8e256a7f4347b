package certs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
	"relay/internal/problem"
	"relay/internal/secret"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func made(source, name, fingerprint string, fromDay, toDay int, names ...string) *certs.Certificate {
	return &certs.Certificate{
		Source: source, Name: name, Fingerprint: fingerprint, ServerNames: names,
		NotBefore: noon.AddDate(0, 0, fromDay), NotAfter: noon.AddDate(0, 0, toDay),
	}
}

func TestSelectOneWinnerPerName(t *testing.T) {
	t.Parallel()
	var (
		valid    = made("dir", "valid", "b", -10, 10, "a.test")
		longer   = made("dir", "longer", "c", -10, 20, "a.test")
		vault    = made("vault", "vault", "z", -10, 10, "a.test")
		twin     = made("dir", "twin", "a", -10, 10, "a.test")
		expired  = made("vault", "expired", "d", -20, -1, "a.test")
		longDead = made("dir", "long dead", "e", -20, -2, "a.test")
		future   = made("vault", "future", "f", 1, 99, "a.test")
	)
	for name, test := range map[string]struct {
		all     []*certs.Certificate
		want    *certs.Certificate
		problem string
		next    time.Time
	}{
		"alone":                         {[]*certs.Certificate{valid}, valid, "", valid.NotAfter.Add(1)},
		"longest validity":              {[]*certs.Certificate{valid, longer, vault}, longer, "", valid.NotAfter.Add(1)},
		"vault before directory":        {[]*certs.Certificate{twin, vault, valid}, vault, "", valid.NotAfter.Add(1)},
		"lowest fingerprint":            {[]*certs.Certificate{valid, twin}, twin, "", valid.NotAfter.Add(1)},
		"valid before expired":          {[]*certs.Certificate{expired, valid}, valid, "", valid.NotAfter.Add(1)},
		"valid before future":           {[]*certs.Certificate{future, valid}, valid, "", future.NotBefore},
		"expired when nothing else":     {[]*certs.Certificate{longDead, expired}, expired, "expired on 2026-02-28", time.Time{}},
		"expired before not yet valid":  {[]*certs.Certificate{future, expired}, expired, "expired", future.NotBefore},
		"not yet valid is the last one": {[]*certs.Certificate{future}, future, "not valid before 2026-03-02", future.NotBefore},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, order := range [][]*certs.Certificate{test.all, reversed(test.all)} {
				got := certs.Select(order, noon)
				if got.Winners["a.test"] != test.want {
					t.Errorf("winner %s, want %s", got.Winners["a.test"].Name, test.want.Name)
				}
				if !got.Next.Equal(test.next) {
					t.Errorf("next %s, want %s", got.Next, test.next)
				}
				reasons := fmt.Sprint(problems(got))
				if (len(got.Problems) == 0) != (test.problem == "") || !strings.Contains(reasons, test.problem) {
					t.Errorf("problems %s, want %q", reasons, test.problem)
				}
			}
		})
	}
}

func TestSelectFollowsTheClock(t *testing.T) {
	t.Parallel()
	old := made("dir", "old", "a", -10, 5, "a.test")
	renewed := made("dir", "renewed", "b", 2, 90, "a.test")
	all := []*certs.Certificate{old, renewed}

	var winners []string
	for now := noon; !now.IsZero(); now = certs.Select(all, now).Next {
		winners = append(winners, certs.Select(all, now).Winners["a.test"].Name)
	}
	if diff := cmp.Diff([]string{"old", "renewed", "renewed", "renewed"}, winners); diff != "" {
		t.Error(diff)
	}
}

func TestSelectDefault(t *testing.T) {
	t.Parallel()
	star := made("dir", "star", "a", -10, 10)
	star.Default = true
	dead := made("vault", "dead", "b", -10, -1, "dead.test")
	dead.Default = true
	unnamed := made("vault", "unnamed", "c", -10, 99)

	got := certs.Select([]*certs.Certificate{dead, unnamed, star}, noon)
	if got.Default != star {
		t.Errorf("default %v, want the valid one", got.Default)
	}
	if _, ok := got.Winners["dead.test"]; !ok || len(got.Winners) != 1 {
		t.Errorf("winners %v", got.Winners)
	}
	if got := certs.Select([]*certs.Certificate{unnamed}, noon); got.Default != nil {
		t.Error("a certificate that does not ask for it became the default")
	}
}

func TestSelectProblemIsShort(t *testing.T) {
	t.Parallel()
	got := certs.Select([]*certs.Certificate{made("dir", "x", "a", -9, -1, "a.test", "b.test", "c.test", "d.test", "e.test")}, noon)
	want := []problem.Problem{{Subject: "x", Reason: "expired on 2026-02-28 and is served all the same: nothing else covers a.test, b.test, c.test and 2 more"}}
	if diff := cmp.Diff(want, problems(got)); diff != "" {
		t.Error(diff)
	}
	if source := got.Problems[0].Certificate.Source; source != "dir" {
		t.Errorf("the certificate is of %q", source)
	}
}

func problems(s certs.Selection) (all []problem.Problem) {
	for _, p := range s.Problems {
		all = append(all, p.Problem())
	}
	return all
}

func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	t.Parallel()
	c := &certs.Certificate{Key: secret.Bytes("hush")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if out := fmt.Sprintf(format, c.Key); strings.Contains(out, "hush") {
			t.Errorf("%s printed the key: %s", format, out)
		}
	}
}

func reversed(all []*certs.Certificate) []*certs.Certificate {
	var out []*certs.Certificate
	for _, c := range all {
		out = append([]*certs.Certificate{c}, out...)
	}
	return out
}
