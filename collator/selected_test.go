package collator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relay/certs"
	"relay/internal/problem"
)

// TestSelectedCertificates follows what those see who wait for changes.
func TestSelectedCertificates(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault", "dir"}})
	now := testTime
	c.now = func() time.Time { return now }
	later := *certificate("later", "2", "web.test")
	later.NotBefore, later.NotAfter = testTime.Add(time.Hour), later.NotAfter.Add(time.Hour)
	fallback := *certificate("default", "3")
	fallback.Default = true
	sync := func(source string, all ...*certs.Certificate) { c.SyncCertificates(source, all, nil); c.round() }
	uses := map[certs.Use]string{certs.UseUnknown: "unknown", certs.Unused: "unused", certs.InUse: "in use"}
	steps := []struct {
		name string
		do   func()
		want []string // nil: nothing changed
	}{
		{"one store is read", func() { sync("vault", certificate("web", "1", "web.test"), &later, &fallback) },
			[]string{"default unknown", "web unknown"}},
		{"apps are known", func() { syncApps(c, webApp("/other", "other.test")) }, nil},
		{"the other store is read", func() { sync("dir") }, []string{"default in use", "web unused"}},
		{"an app comes", func() { updateApps(c, webApp("/web", "web.test")) }, []string{"default in use", "web in use"}},
		{"another app of the domain comes", func() { updateApps(c, webApp("/web2", "web.test")) }, nil},
		{"the app changes", func() { updateApps(c, redirected(webApp("/web", "web.test"))) }, nil},
		{"a read without news", func() { sync("dir") }, nil},
		{"time goes by", func() { now = testTime.Add(time.Hour); c.round() }, []string{"default in use", "later in use"}},
		{"the apps go", func() { c.UpdateApps(nil, []string{"/web", "/web2"}); c.round() }, []string{"default in use", "later unused"}},
	}
	_, changed := c.SelectedCertificates()
	for _, step := range steps {
		step.do()
		if told := isClosed(changed); told != (step.want != nil) {
			t.Errorf("%s: told of a change: %v", step.name, told)
		}
		if step.want == nil {
			continue
		}
		var selected []certs.Selected
		selected, changed = c.SelectedCertificates()
		var got []string
		for _, s := range selected {
			got = append(got, s.Name+" "+uses[s.Use])
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// A poll without news costs nothing, and is not waited for.
func TestReadsWithoutNewsAreDropped(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault", "dir"}})
	a, b := certificate("a", "1", "a.test"), certificate("b", "2", "b.test")
	odd := []problem.Problem{{Subject: "b.test", Reason: "new"}}
	for i, read := range []struct {
		source   string
		all      []*certs.Certificate
		problems []problem.Problem
		news     bool
	}{
		{"vault", nil, nil, true}, {"vault", nil, nil, false}, {"dir", nil, nil, true},
		{"vault", []*certs.Certificate{a}, nil, true}, {"vault", []*certs.Certificate{a}, nil, false},
		{"vault", []*certs.Certificate{a}, odd, true}, {"vault", []*certs.Certificate{a}, slices.Clone(odd), false},
		{"vault", []*certs.Certificate{a, b}, odd, true}, {"dir", nil, nil, false}, {"vault", nil, nil, true},
	} {
		before := c.inbox.noted
		c.SyncCertificates(read.source, read.all, read.problems)
		if news := c.inbox.noted != before; news != read.news {
			t.Errorf("read %d was noted: %v, want %v", i, news, read.news)
		}
	}
}

func fiveThousandCertificates() []*certs.Certificate {
	all := make([]*certs.Certificate, 5000)
	for i := range all {
		name := fmt.Sprintf("n%d.test", i)
		all[i] = certificate(name, fmt.Sprint(i), name)
	}
	return all
}

// BenchmarkUnchangedCertificates is what every poll of a certificate store costs.
func BenchmarkUnchangedCertificates(b *testing.B) {
	c, _ := newTest(b, Config{CertificateSources: []string{"vault"}})
	all := fiveThousandCertificates()
	c.SyncCertificates("vault", all, nil)
	all = slices.Clone(all)
	for b.Loop() {
		c.SyncCertificates("vault", all, nil)
	}
}

// BenchmarkSelectedCertificates is what each change of use costs its readers.
func BenchmarkSelectedCertificates(b *testing.B) {
	c, _ := newTest(b, Config{CertificateSources: []string{"vault"}})
	c.SyncCertificates("vault", fiveThousandCertificates(), nil)
	syncApps(c)
	for b.Loop() {
		c.SelectedCertificates()
	}
}
