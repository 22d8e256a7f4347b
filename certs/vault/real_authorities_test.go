package vault

import (
	"fmt"
	"strings"
	"time"

	"relay/certs/certstest"
	"relay/internal/secret"
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
