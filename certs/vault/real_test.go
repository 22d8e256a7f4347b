package vault

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/internal/logtest"
	"relay/internal/secret"
)

// TestRealVault runs against a real Vault core. The parts share it, each with
// a mount of its own, but for the last, which seals it.
func TestRealVault(t *testing.T) {
	server := vaulttest.Start(t)
	ca := certstest.TestCA(t)
	mounts := 0
	set := func(t *testing.T) *real {
		mounts++
		mount, err := server.Mount(t.Context(), fmt.Sprintf("kv/relay-%d", mounts))
		if err != nil {
			t.Fatal(err)
		}
		return &real{T: t, server: server, mount: mount, ca: ca, sink: certstest.NewSink(), logs: &logtest.Buffer{}}
	}
	t.Run("first read and renewals", func(t *testing.T) { firstReadAndRenewals(set(t)) })
	t.Run("live entry is not JSON", func(t *testing.T) { liveEntryIsNotJSON(set(t)) })
	t.Run("versions that are gone", func(t *testing.T) { versionsThatAreGone(set(t)) })
	t.Run("authorities", func(t *testing.T) { authoritiesOfClients(set(t)) })
	t.Run("saved authorities are denied", func(t *testing.T) { savedAuthoritiesAreDenied(set(t)) })
	t.Run("authorities below a mount", func(t *testing.T) { authoritiesBelowAMount(set(t)) })
	t.Run("credentials", func(t *testing.T) { credentialsOfApps(set(t)) })
	t.Run("live is deleted", func(t *testing.T) { liveIsDeleted(set(t)) })
	t.Run("token revoked, AppRole", func(t *testing.T) { tokenRevoked(set(t)) })
	t.Run("token renewed", func(t *testing.T) { tokenRenewed(set(t)) })
	t.Run("token without rights", func(t *testing.T) { tokenWithoutRights(set(t)) })
	t.Run("below a mount", func(t *testing.T) { belowAMount(set(t)) })
	t.Run("KV version 1", func(t *testing.T) { versionOne(set(t)) })
	t.Run("Kubernetes login", func(t *testing.T) { kubernetesLogin(set(t)) })
	t.Run("wrong role", func(t *testing.T) { wrongRole(set(t)) })
	t.Run("wrong mount", func(t *testing.T) { wrongMount(set(t)) })
	t.Run("wrong address", func(t *testing.T) { wrongAddress(set(t)) })
	t.Run("policy is mended", func(t *testing.T) { policyIsMended(set(t)) })
	t.Run("token expires", func(t *testing.T) { tokenExpires(set(t)) })
	t.Run("live and certificate out of step", func(t *testing.T) { liveAndCertificateOutOfStep(set(t)) })
	t.Run("version is pruned", func(t *testing.T) { versionIsPruned(set(t)) })
	t.Run("entry is deleted", func(t *testing.T) { entryIsDeleted(set(t)) })
	t.Run("token revoked, no other", func(t *testing.T) { tokenRevokedForGood(set(t)) })
	t.Run("requests on their way", func(t *testing.T) { requestsOnTheirWay(set(t)) })
	t.Run("down and back", func(t *testing.T) { downAndBack(set(t)) })
	t.Run("sealed and unsealed", func(t *testing.T) { sealedAndUnsealed(set(t)) })
}

// real is one part of TestRealVault.
type real struct {
	*testing.T
	server *vaulttest.Server
	mount  *vaulttest.Mount
	ca     *certstest.CA
	sink   *certstest.Sink
	logs   *logtest.Buffer
}

func (r *real) ok(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *real) publish(name string) *certstest.Issued {
	r.Helper()
	issued := r.ca.TestIssue(r.T, []string{name}, options{KeyForm: certstest.SEC1})
	_, err := r.mount.Publish(r.Context(), name, issued)
	r.ok(err)
	return issued
}

// config logs in with a token that has the minimal policy.
func (r *real) config() Config {
	r.Helper()
	token, err := r.mount.ReaderToken(r.Context(), time.Hour)
	r.ok(err)
	return Config{Addresses: []string{r.server.Addr}, Mount: r.mount.Path, Token: secret.String(token), PollInterval: time.Hour}
}

func (r *real) start(config Config) *Source {
	s := start(r.T, config, r.sink, r.logs)
	r.Cleanup(func() { r.tellsNoSecret(config) })
	return s
}

// tellsNoSecret looks for keys and tokens in everything that people may see.
func (r *real) tellsNoSecret(config Config) {
	last := r.sink.Last()
	text := r.logs.String() + fmt.Sprintf("%+v %#v", last, config)
	for _, secret := range []string{string(config.Token), string(config.AppRole.SecretID), "hvs."} {
		if secret != "" && strings.Contains(text, secret) {
			r.Errorf("a secret was told: %s", text)
		}
	}
	for _, c := range last.Certificates {
		for line := range strings.SplitSeq(string(c.Key), "\n") {
			if len(line) > 20 && line[0] != '-' && strings.Contains(text, line) {
				r.Error("key material was told")
			}
		}
	}
}

func (r *real) waitFor(name string, issued *certstest.Issued) certstest.Sync {
	r.Helper()
	return r.sink.WaitFor(r.T, "the certificate of "+name, func(s certstest.Sync) bool { return s.Fingerprint(name) == issued.Fingerprint })
}

func firstReadAndRenewals(r *real) {
	first := r.publish("a.test")
	s := r.start(r.config())
	got := r.waitFor("a.test", first)
	if got.Source != "vault" || got.Certificates[0].Source != "vault" || got.Certificates[0].Name != "a.test" || len(got.Problems) != 0 {
		r.Errorf("got %+v", got)
	}
	renewed := r.publish("a.test")
	r.ok(s.Reload(r.Context()))
	r.waitFor("a.test", renewed)

	polling := r.config()
	polling.PollInterval = 50 * time.Millisecond
	r.sink = certstest.NewSink()
	r.start(polling)
	r.waitFor("a.test", renewed)
	r.waitFor("a.test", r.publish("a.test"))
	r.waitFor("b.test", r.publish("b.test"))
}

func liveEntryIsNotJSON(r *real) {
	good := r.publish("a.test")
	r.ok(r.mount.SetLive(r.Context(), "bad.test", "not JSON"))
	object := r.ca.TestIssue(r.T, []string{"object.test"}, options{})
	version, err := r.mount.WriteCertificate(r.Context(), "object.test", object)
	r.ok(err)
	r.ok(r.mount.SetLive(r.Context(), "object.test", map[string]any{"version": version}))
	r.start(r.config())
	got := r.waitFor("a.test", good)
	if !strings.Contains(got.Problem("bad.test"), "JSON") || got.Fingerprint("object.test") != object.Fingerprint {
		r.Errorf("got %v", got)
	}
}

func versionsThatAreGone(r *real) {
	r.publish("deleted.test")
	r.ok(r.mount.Delete(r.Context(), "certificates/deleted.test", 1))
	r.publish("destroyed.test")
	newest := r.ca.TestIssue(r.T, []string{"destroyed.test"}, options{})
	_, err := r.mount.WriteCertificate(r.Context(), "destroyed.test", newest)
	r.ok(err)
	r.ok(r.mount.Destroy(r.Context(), "certificates/destroyed.test", 1))
	good := r.publish("a.test")

	s := r.start(r.config())
	got := r.waitFor("a.test", good)
	if got.Fingerprint("destroyed.test") != newest.Fingerprint || !strings.Contains(got.Problem("destroyed.test"), "version 2 is used") {
		r.Errorf("destroyed: %v", got.Problems)
	}
	if got.Fingerprint("deleted.test") != "" || !strings.Contains(got.Problem("deleted.test"), "nothing is served") {
		r.Errorf("deleted: %v", got.Problems)
	}

	r.publish("a.test")
	r.ok(r.mount.Delete(r.Context(), "certificates/a.test", 1, 2))
	r.ok(s.Reload(r.Context()))
	if got := r.sink.Last(); got.Fingerprint("a.test") != good.Fingerprint || !strings.Contains(got.Problem("a.test"), "stays in use") {
		r.Errorf("deleted later: %v", got.Problems)
	}
	r.ok(r.mount.SetLive(r.Context(), "a.test", nil))
	r.ok(s.Reload(r.Context()))
	r.ok(s.Reload(r.Context()))
	if got := r.sink.Last().Fingerprint("a.test"); got != "" {
		r.Error("a name that left live is still served")
	}
}

func liveIsDeleted(r *real) {
	s := r.start(r.config())
	r.sink.WaitFor(r.T, "an empty sync", func(s certstest.Sync) bool { return len(s.Certificates) == 0 })
	good := r.publish("a.test")
	r.ok(s.Reload(r.Context()))
	r.ok(r.mount.Delete(r.Context(), "live", 1))
	if err := s.Reload(r.Context()); err == nil || !strings.Contains(err.Error(), "live is empty or deleted") {
		r.Errorf("got %v", err)
	}
	r.waitFor("a.test", good)
}

func tokenRevoked(r *real) {
	first := r.publish("a.test")
	roleID, secretID, err := r.mount.AppRole(r.Context(), time.Hour)
	r.ok(err)
	config := r.config()
	config.Token, config.AppRole = "", AppRole{RoleID: roleID, SecretID: secret.String(secretID)}
	s := r.start(config)
	r.waitFor("a.test", first)

	r.ok(r.server.Client().Sys().RevokePrefixWithContext(r.Context(), "auth/approle"))
	renewed := r.publish("a.test")
	r.ok(s.Reload(r.Context()))
	r.waitFor("a.test", renewed)
	if n := strings.Count(r.logs.String(), "logged in to Vault by AppRole"); n != 2 {
		r.Errorf("%d logins, want 2: %s", n, r.logs)
	}
}

func tokenRenewed(r *real) {
	good := r.publish("a.test")
	config := r.config()
	const life = 12 * time.Second // it is renewed after two thirds: a third is left to a busy machine
	token, err := r.mount.ReaderToken(r.Context(), life)
	r.ok(err)
	config.Token, config.PollInterval = secret.String(token), 100*time.Millisecond
	s := r.start(config)
	began := time.Now()
	r.sink.WaitFor(r.T, "a read after the token's first life", func(certstest.Sync) bool { return time.Since(began) > life+time.Second })
	r.waitFor("a.test", good)
	if got := s.Status().LastError; got != "" {
		r.Error(got)
	}
}

func tokenWithoutRights(r *real) {
	good := r.publish("a.test")
	config := r.config()
	config.Mount = "secret" // the policy is for another mount
	s := r.start(config)
	err := s.Reload(r.Context())
	if err == nil || !strings.Contains(err.Error(), "lacks the right") || r.sink.Last().Count > 0 {
		r.Errorf("got %v", err)
	}
	_ = good
}

func belowAMount(r *real) {
	issued := r.ca.TestIssue(r.T, []string{"a.test"}, options{})
	kv := r.server.Client().KVv2(r.mount.Path)
	_, err := kv.Put(r.Context(), "team/certificates/a.test", map[string]any{"privkey": string(issued.Key), "cert": string(issued.Leaf), "chain": string(issued.Chain)})
	r.ok(err)
	entry, err := vaulttest.LiveEntry(1, issued)
	r.ok(err)
	_, err = kv.Put(r.Context(), "team/live", map[string]any{"a.test": entry})
	r.ok(err)
	config := r.config()
	config.Token, config.Mount = secret.String(r.server.Token), r.mount.Path+"/team"
	r.start(config)
	r.waitFor("a.test", issued)
}

func versionOne(r *real) {
	_, err := r.server.Client().Logical().WriteWithContext(r.Context(), "sys/mounts/old-kv", map[string]any{"type": "kv"})
	r.ok(err)
	config := r.config()
	config.Token, config.Mount = secret.String(r.server.Token), "old-kv"
	s := r.start(config)
	if err := s.Reload(r.Context()); err == nil || !strings.Contains(err.Error(), "not KV version 2") {
		r.Errorf("got %v", err)
	}
}

func downAndBack(r *real) {
	var down atomic.Bool
	down.Store(true)
	good := r.publish("a.test")
	config := r.config()
	config.Addresses = []string{r.front(func(*http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler) // the connection breaks
		}
	})}
	s := r.start(config)
	if err := s.Reload(r.Context()); err == nil {
		r.Error("no error while Vault is down")
	}
	down.Store(false)
	r.waitFor("a.test", good) // without being asked
	down.Store(true)
	if err := s.Reload(r.Context()); err == nil {
		r.Error("no error while Vault is down again")
	}
	if r.sink.Last().Fingerprint("a.test") != good.Fingerprint || s.Status().Certificates != 1 {
		r.Error("an outage lost a certificate")
	}
	down.Store(false)
	renewed := r.publish("a.test")
	r.ok(s.Reload(r.Context()))
	r.waitFor("a.test", renewed)
}

// sealedAndUnsealed has two sources: one that has read before, and one that
// starts while Vault is sealed.
func sealedAndUnsealed(r *real) {
	good := r.publish("a.test")
	config := r.config()
	config.PollInterval = 100 * time.Millisecond
	s := r.start(config)
	r.waitFor("a.test", good)
	r.ok(r.server.Seal(r.Context()))
	r.fails(s, "503", "sealed")
	count := r.sink.Last().Count
	for range 2 * suspiciousReads {
		r.fails(s, "503", "sealed")
	}
	if got := r.sink.Last().Count; got != count {
		r.Errorf("%d reads reached the sink while Vault was sealed", got-count)
	}
	r.serves("a.test", good)
	warm := r.sink
	r.sink = certstest.NewSink()
	r.fails(r.start(config), "503", "sealed")
	if r.sink.Last().Count != 0 {
		r.Error("a first read of a sealed Vault reached the sink")
	}
	r.ok(r.server.Unseal(r.Context()))
	r.waitFor("a.test", good) // without being asked
	r.sink = warm
	r.sink.WaitFor(r.T, "a read after unsealing", func(s certstest.Sync) bool { return s.Count > count })
	r.serves("a.test", good)
}
