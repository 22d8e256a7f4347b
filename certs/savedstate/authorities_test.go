package savedstate

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/certs/internal/reading"
	"relay/internal/problem"
	"relay/internal/state"
)

func newAuthorities(path string, key *state.Key) (*Authorities, *certstest.Sink) {
	next := certstest.NewSink()
	return NewAuthorities(state.Config{
		What: "authorities", Source: "vault", Grace: 10 * time.Second, Interval: 5 * time.Second,
		File: state.File{Path: path, Content: "authorities-vault", Key: key},
	}, next, slog.New(slog.DiscardHandler), prometheus.NewRegistry()), next
}

func authority(t *testing.T, name string, lists bool) *certs.Authority {
	t.Helper()
	root := certstest.TestRoot(t, name, time.Now().AddDate(-1, 0, 0), time.Now().AddDate(1, 0, 0))
	revoked := ""
	if lists {
		revoked = string(root.TestRevoke(t, certstest.ListOptions{}, 1, 2))
	}
	a, err := reading.Saved("vault", name, string(root.PEM()), revoked)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A second life stands in with exactly what the first was given, with a key and without.
func TestAuthoritiesInTwoLives(t *testing.T) {
	for _, key := range []*state.Key{nil, testKey(t)} {
		path := filepath.Join(t.TempDir(), "f")
		all := []*certs.Authority{authority(t, "devices", true), authority(t, "others", false)}
		problems := []problem.Problem{{Subject: "x", Reason: "broken"}}
		synctest.Test(t, func(t *testing.T) {
			first, _ := newAuthorities(path, key)
			go func() { _ = first.Serve(t.Context()) }()
			first.SyncAuthorities("vault", all, problems)
			synctest.Wait()
			second, next := newAuthorities(path, key)
			go func() { _ = second.Serve(t.Context()) }()
			time.Sleep(time.Minute)
			synctest.Wait()
			got := next.Last()
			if len(got.Authorities) != 2 || !reflect.DeepEqual(got.AuthorityProblems, problems) {
				t.Fatalf("stood in with %+v", got)
			}
			for i, a := range got.Authorities {
				if !a.Equal(all[i]) || a.RevokedCount != all[i].RevokedCount || !a.RevokedUntil.Equal(all[i].RevokedUntil) {
					t.Errorf("stood in with %+v, want %+v", a, all[i])
				}
			}
			second.SyncAuthorities("vault", all[:1], nil)
			if got := next.Last(); len(got.Authorities) != 1 || len(got.AuthorityProblems) != 0 {
				t.Errorf("after the sync: %+v", got)
			}
		})
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("devices")) != (key == nil) {
			t.Error("it is encrypted without a key, or not with one")
		}
	}
}

// What is refused now, or was changed, costs only itself; what is of another store costs all.
func TestRefusedAuthority(t *testing.T) {
	t.Parallel()
	s, _ := newAuthorities("", nil)
	good, bad, other := authority(t, "good", true), *authority(t, "bad", true), *authority(t, "other", false)
	bad.Revoked = bad.Revoked[:100]
	body, err := encodeAuthorities(authoritiesRead{authorities: []*certs.Authority{&bad, good}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.decode(body)
	if err != nil || len(r.authorities) != 1 || !r.authorities[0].Equal(good) || len(r.problems) != 1 || !strings.Contains(r.problems[0].Reason, "broken") {
		t.Errorf("taken are %+v, %v", r, err)
	}
	other.Source = "dir"
	if body, err = encodeAuthorities(authoritiesRead{authorities: []*certs.Authority{&other}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.decode(body); err == nil {
		t.Error("an authority of another store was taken")
	}
	for _, body := range []string{"", "[]", `{"Authorities":[{}]}`} {
		if _, err := s.decode([]byte(body)); err == nil {
			t.Errorf("%q was taken", body)
		}
	}
}
