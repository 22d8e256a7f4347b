package vault

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/certs/savedstate"
	"relay/internal/secret"
	"relay/internal/state"
)

func (r *real) waitForRevoked(name string, n int) certstest.Sync {
	r.Helper()
	return r.sink.WaitFor(r.T, fmt.Sprintf("the authority %s with %d revoked", name, n), func(s certstest.Sync) bool {
		a := s.Authority(name)
		return a != nil && a.RevokedCount == n || a == nil && n < 0
	})
}

// A list in Vault counts as soon as the hook was called, by a token with the documented rights.
func authoritiesOfClients(r *real) {
	devices, others := testRoot(r.T, "devices"), testRoot(r.T, "others")
	r.ok(r.mount.WriteAuthority(r.Context(), "devices", devices.PEM(), devices.TestRevoke(r.T, certstest.ListOptions{}, 1)))
	r.publish("a.test")
	s := r.start(r.config())
	got := r.waitForRevoked("devices", 1)
	if len(got.Certificates) != 1 || got.AuthorityProblem("") != "" || got.Authority("devices").Source != "vault" {
		r.Errorf("got %+v", got)
	}
	r.ok(r.mount.WriteAuthority(r.Context(), "devices", devices.PEM(), devices.TestRevoke(r.T, certstest.ListOptions{ThisUpdate: time.Now(), Number: 2}, 1, 2, 3)))
	r.ok(r.mount.WriteAuthority(r.Context(), "others", others.PEM(), nil))
	r.ok(s.Reload(r.Context()))
	r.waitForRevoked("devices", 3)
	r.waitForRevoked("others", 0)
	r.ok(r.mount.WriteAuthority(r.Context(), "devices", devices.PEM(), nil))
	r.ok(s.Reload(r.Context()))
	if got := r.waitForRevoked("devices", 3).AuthorityProblem("devices"); !strings.Contains(got, "is gone") {
		r.Errorf("of a list that is gone is said %q", got)
	}
	r.ok(r.mount.Delete(r.Context(), "authorities/devices", 1, 2, 3))
	r.ok(s.Reload(r.Context()))
	r.waitForRevoked("devices", 3)
	r.ok(s.Reload(r.Context()))
	r.waitForRevoked("devices", -1)
	r.ok(r.mount.WriteAuthority(r.Context(), "devices", devices.PEM(), nil))
	r.ok(s.Reload(r.Context()))
	r.waitForRevoked("devices", 0)
}

// They are beside "live", wherever that is.
func authoritiesBelowAMount(r *real) {
	devices := testRoot(r.T, "devices")
	r.ok(r.mount.WriteAuthority(r.Context(), "devices", devices.PEM(), nil))
	outer, err := r.server.Mount(r.Context(), "kv-of-teams")
	r.ok(err)
	_, err = r.server.Client().KVv2(outer.Path).Put(r.Context(), "team/authorities/trackers", map[string]any{"certificates": string(devices.PEM())})
	r.ok(err)
	r.start(Config{Addresses: []string{r.server.Addr}, Mount: outer.Path + "/team", Token: secret.String(r.server.Token), PollInterval: time.Hour})
	r.waitForRevoked("trackers", 0)
	if r.sink.Last().Authority("devices") != nil {
		r.Error("an authority of another mount is there")
	}
}

// saving starts a Relay's store with saved authorities, as a further run of it, and returns what
// people are told and a way to end it.
func (r *real) saving(path string, config Config) (s *Source, keeper *savedstate.Authorities, end func()) {
	r.Helper()
	r.sink = certstest.NewSink()
	logger := slog.New(slog.NewTextHandler(r.logs, nil))
	keeper = savedstate.NewAuthorities(state.Config{
		What: "authorities", Source: source, Grace: 50 * time.Millisecond, Interval: time.Millisecond,
		File: state.File{Path: path, Content: "authorities-vault"},
	}, r.sink, logger, prometheus.NewRegistry())
	s, err := New(config, keptStore{r.sink, keeper}, logger, prometheus.NewRegistry())
	r.ok(err)
	ctx, cancel := context.WithCancel(r.Context())
	var served sync.WaitGroup
	served.Go(func() { _ = keeper.Serve(ctx) })
	served.Go(func() { _ = s.Serve(ctx) })
	end = func() { cancel(); served.Wait() }
	r.Cleanup(end)
	return s, keeper, end
}

// keptStore is a store's sink with authorities that are saved.
type keptStore struct {
	certs.Sink
	certs.AuthorityKeeper
}

// Rights that are taken away lock nobody out whom an earlier run let in, however often Relay starts.
func savedAuthoritiesAreDenied(r *real) {
	devices, others := testRoot(r.T, "devices"), testRoot(r.T, "others")
	r.ok(r.mount.WriteAuthority(r.Context(), "devices", devices.PEM(), devices.TestRevoke(r.T, certstest.ListOptions{}, 1)))
	r.ok(r.mount.WriteAuthority(r.Context(), "others", others.PEM(), nil))
	r.publish("a.test")
	path, config := filepath.Join(r.TempDir(), "authorities.state"), r.config()
	policy, err := r.mount.Reader(r.Context())
	r.ok(err)
	grant := func(more string) {
		r.Helper()
		r.ok(r.server.Client().Sys().PutPolicyWithContext(r.Context(), policy, fmt.Sprintf(`
path "%[1]s/data/live"           { capabilities = ["read"] }
path "%[1]s/data/certificates/*" { capabilities = ["read"] }
`+more, r.mount.Path)))
	}
	_, _, end := r.saving(path, config)
	r.waitForRevoked("devices", 1)
	end()
	before, err := os.ReadFile(path)
	r.ok(err)

	grant("") // as policies were before there were authorities
	for range 2 {
		s, keeper, end := r.saving(path, config)
		r.fails(s, "give Relay's policy the right to list authorities", "403")
		r.waitForRevoked("devices", 1)
		r.waitForRevoked("others", 0)
		if told := keeper.Status(); told.StandsIn.IsZero() || !strings.Contains(strings.Join(told.Problems, ""), "the right to list authorities") {
			r.Errorf("people are told %+v", told)
		}
		end()
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
			r.Fatalf("the saved file was changed: %v", err)
		}
	}

	r.ok(r.mount.WriteAuthority(r.Context(), "others", others.PEM(), others.TestRevoke(r.T, certstest.ListOptions{}, 7, 8)))
	grant(`
path "%[1]s/metadata/authorities"    { capabilities = ["list"] }
path "%[1]s/data/authorities/others" { capabilities = ["read"] }
`)
	for range 2 {
		s, keeper, end := r.saving(path, config)
		r.ok(s.Reload(r.Context()))
		r.waitForRevoked("others", 2)
		if got := r.waitForRevoked("devices", 1).AuthorityProblem("devices"); !strings.Contains(got, "the right to read it; what was read of it last stays in use") {
			r.Errorf("of an entry that is denied is said %q", got)
		}
		if told := keeper.Status(); !told.StandsIn.IsZero() || len(told.Problems) > 0 {
			r.Errorf("people are told %+v", told)
		}
		end()
	}

	grant("")
	s, _, _ := r.saving(filepath.Join(r.TempDir(), "none.state"), config)
	r.ok(s.Reload(r.Context()))
	r.waitForRevoked("devices", -1)
}
