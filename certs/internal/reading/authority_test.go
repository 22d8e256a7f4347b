package reading_test

import (
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/internal/reading"
)

// authorityWorld is an authority in a store, and what is served of it.
type authorityWorld struct {
	*testing.T
	now    time.Time
	served reading.ServedAuthority
}

func newAuthorityWorld(t *testing.T) *authorityWorld {
	return &authorityWorld{T: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (w *authorityWorld) root(name string) *certstest.Authority {
	w.Helper()
	return certstest.TestRoot(w.T, name, w.now.AddDate(-1, 0, 0), w.now.AddDate(5, 0, 0))
}

// list is one that was made some hours from now, for a week, and names as many certificates.
func (w *authorityWorld) list(a *certstest.Authority, hours, revoked int) []byte {
	w.Helper()
	serials := make([]int64, revoked)
	for i := range serials {
		serials[i] = int64(i + 1)
	}
	return a.TestRevoke(w.T, certstest.ListOptions{ThisUpdate: w.now.Add(time.Duration(hours) * time.Hour), Number: int64(1000 + hours)}, serials...)
}

const none = -1

// has is what is served after the store has these texts: as many authorities and revoked
// certificates, and what is said of it.
func (w *authorityWorld) has(authorities, revoked int, said string) {
	w.Helper()
	a, text := w.served.Current(), strings.Join(w.served.Reasons(), "; ")
	switch {
	case a == nil && revoked != none:
		w.Errorf("nothing is served: %s", text)
	case a != nil && (len(a.Subjects) != authorities || a.RevokedCount != revoked):
		w.Errorf("served are %d authorities and %d revoked certificates, want %d and %d: %s", len(a.Subjects), a.RevokedCount, authorities, revoked, text)
	}
	if !strings.Contains(text, said) || (text == "") != (said == "") {
		w.Errorf("said is %q, want %q", text, said)
	}
}

func (w *authorityWorld) put(certificates, revoked []byte) {
	w.served.Update(reading.AuthorityText{Source: "dir", Name: "devices", Certificates: certificates, Revoked: revoked}, w.now)
}

// A list is replaced by a newer one alone, whatever the store has.
func TestListsOnlyGetNewer(t *testing.T) {
	t.Parallel()
	w := newAuthorityWorld(t)
	a := w.root("devices")
	good := w.list(a, -2, 1)
	w.put(a.PEM(), good)
	w.has(1, 1, "")
	w.put(a.PEM(), nil)
	w.has(1, 1, "is gone")
	w.put(a.PEM(), []byte{})
	w.has(1, 1, "its revocation lists (.crl.pem, or the field crl in Vault): no revocation list in it, in PEM or DER; the last good revocation lists stay in use")
	w.put(a.PEM(), good[:len(good)-20])
	w.has(1, 1, "broken")
	w.put(a.PEM(), w.list(a, -3, 0))
	w.has(1, 1, "older than the one in use")
	w.put(a.PEM(), w.list(w.root("devices"), -1, 0))
	w.has(1, 1, "none of the authorities here made them")
	w.put(a.PEM(), w.list(a, -1000, 0))
	w.has(1, 1, "older than the one in use")
	w.put(a.PEM(), certstest.Join(w.list(a, -3, 0), w.list(a, -1, 2)))
	w.has(1, 2, "older than the one in use")
	w.put(a.PEM(), w.list(a, -1, 2))
	w.has(1, 2, "")
}

// A new list that is out of date does not replace one that is not, before that is, too.
func TestListOutOfDate(t *testing.T) {
	t.Parallel()
	w := newAuthorityWorld(t)
	a := w.root("devices")
	w.put(a.PEM(), w.list(a, -24, 1))
	short := a.TestRevoke(t, certstest.ListOptions{ThisUpdate: w.now.Add(-2 * time.Hour), NextUpdate: w.now.Add(-time.Hour), Number: 2000}, 1, 2)
	w.put(a.PEM(), short)
	w.has(1, 1, "out of date")
	if want := w.now.AddDate(0, 0, 6); !w.served.NextChange().Equal(want) {
		t.Errorf("the next change is at %s, want %s", w.served.NextChange(), want)
	}
	w.served.Advance(w.now.AddDate(0, 0, 7))
	w.has(1, 2, "")
}

// A list that is not valid yet waits for its time.
func TestListNotYetValid(t *testing.T) {
	t.Parallel()
	w := newAuthorityWorld(t)
	a := w.root("devices")
	w.put(a.PEM(), w.list(a, -1, 1))
	w.put(a.PEM(), w.list(a, 5, 2))
	w.has(1, 1, "not valid before 2026-03-01T17:00:00Z")
	if want := w.now.Add(5 * time.Hour); !w.served.NextChange().Equal(want) {
		t.Errorf("the next change is at %s, want %s", w.served.NextChange(), want)
	}
	w.served.Advance(w.now.Add(5 * time.Hour))
	w.has(1, 2, "")
}

// Where there is to be a list and none can be used, nobody is let in at the start: a revoked client
// would be.
func TestFirstListIsUnusable(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lists   func(*authorityWorld, *certstest.Authority) []byte
		revoked int
		said    string
	}{
		"empty":         {func(*authorityWorld, *certstest.Authority) []byte { return []byte{} }, none, "nobody is let in by it"},
		"broken":        {func(w *authorityWorld, a *certstest.Authority) []byte { return w.list(a, -1, 1)[:99] }, none, "nobody is let in by it"},
		"of a stranger": {func(w *authorityWorld, _ *certstest.Authority) []byte { return w.list(w.root("x"), -1, 1) }, none, "nobody is let in by it"},
		// Envoy lets nobody in by these.
		"out of date":   {func(w *authorityWorld, a *certstest.Authority) []byte { return w.list(a, -500, 1) }, 1, ""},
		"not valid yet": {func(w *authorityWorld, a *certstest.Authority) []byte { return w.list(a, 5, 1) }, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newAuthorityWorld(t)
			a := w.root("devices")
			w.put(a.PEM(), test.lists(w, a))
			w.has(1, test.revoked, test.said)
			w.put(a.PEM(), w.list(a, -1, 3))
			w.has(1, 3, "")
		})
	}
}

// Authorities come and go one by one, each with its list.
func TestAuthoritiesRotate(t *testing.T) {
	t.Parallel()
	w := newAuthorityWorld(t)
	old, next := w.root("old"), w.root("next")
	both, lists := certstest.Join(old.PEM(), next.PEM()), certstest.Join(w.list(old, -1, 1), w.list(next, -1, 2))
	w.put(old.PEM(), w.list(old, -1, 1))
	w.put(both, w.list(old, -1, 1))
	w.has(2, 1, "no certificate of CN=next is taken")
	w.put(both, lists)
	w.has(2, 3, "")
	w.put(certstest.Join(both, []byte("-----BEGIN CERTIFICATE-----\n")), lists)
	w.has(2, 3, "broken, or the text ends in the middle of it; the last good authorities stay in use")
	w.put(next.PEM(), lists)
	w.has(1, 2, "1 of 2 revocation lists are left out")
	w.put(next.PEM(), w.list(next, -1, 2))
	w.has(1, 2, "")
	w.put(old.PEM(), w.list(next, -1, 2))
	w.has(1, none, "nobody is let in by it")
}

// An authority that another one has revoked is none: Envoy may look for clients' certificates alone
// in lists.
func TestRevokedAuthority(t *testing.T) {
	t.Parallel()
	w := newAuthorityWorld(t)
	root := w.root("root")
	sub := root.Sub(t, "sub", w.now.AddDate(-1, 0, 0), w.now.AddDate(1, 0, 0))
	both := certstest.Join(root.PEM(), sub.PEM())
	w.put(both, w.list(sub, -1, 2))
	w.has(2, 2, "no certificate of CN=root is taken")
	if w.served.Current().WholeChain {
		t.Error("the list of the root is missed by nobody")
	}
	w.put(both, certstest.Join(w.list(root, -1, 0), w.list(sub, -1, 2)))
	w.has(2, 2, "")
	if !w.served.Current().WholeChain {
		t.Error("the list of the root is not of use")
	}
	w.put(both, certstest.Join(root.TestRevoke(t, certstest.ListOptions{ThisUpdate: w.now}, sub.Certificate().SerialNumber.Int64()), w.list(sub, -1, 2)))
	w.has(1, 1, `the authority "CN=sub" is revoked by "CN=root"`)
}

// What is no authority is refused, and replaces nothing.
func TestNoAuthority(t *testing.T) {
	t.Parallel()
	w := newAuthorityWorld(t)
	a := w.root("devices")
	leaf := a.TestIssue(t, []string{"a.test"}, certstest.Options{})
	w.put(leaf.Leaf, nil)
	w.has(0, none, "of no authority; nobody is let in by it")
	w.put(a.PEM(), nil)
	w.has(1, 0, "")
	before := w.served.Current()
	w.put(leaf.Leaf, nil)
	w.has(1, 0, "the last good authorities stay in use")
	w.put(a.PEM(), nil)
	if after := w.served.Current(); string(after.Certificates) != string(before.Certificates) {
		t.Error("another authority is served")
	}
}

// What has not changed is the same authority: who compares need not look into it.
func TestSameAuthority(t *testing.T) {
	t.Parallel()
	w := newAuthorityWorld(t)
	a := w.root("devices")
	list := w.list(a, -1, 1)
	w.put(a.PEM(), list)
	before := w.served.Current()
	for range 3 {
		w.put(a.PEM(), list)
		w.served.Advance(w.now.Add(time.Hour))
	}
	if w.served.Current() != before {
		t.Error("a read that brought nothing new made another authority")
	}
}
