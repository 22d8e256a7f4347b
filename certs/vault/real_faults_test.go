package vault

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/internal/logtest"
	"relay/internal/secret"
)

// fails asks for a read and wants it to fail with these words.
func (r *real) fails(s *Source, words ...string) {
	r.Helper()
	err := s.Reload(r.Context())
	if err == nil {
		r.Fatalf("the read succeeded, want an error with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.Errorf("got %v, want an error with %q", err, w)
		}
	}
}

func (r *real) file(name, content string) string {
	r.Helper()
	path := filepath.Join(r.TempDir(), name)
	r.ok(os.WriteFile(path, []byte(content), 0o600))
	return path
}

// serves fails the test unless this is the certificate in use now.
func (r *real) serves(name string, issued *certstest.Issued) {
	r.Helper()
	if r.sink.Last().Fingerprint(name) != issued.Fingerprint {
		r.Errorf("%s: another certificate, or none, is served", name)
	}
}

// kubernetesLogin logs in with a service account's JWT, which is another one
// by the time that the token is lost.
func kubernetesLogin(r *real) {
	cluster := vaulttest.StartKubernetes(r.T)
	role, err := r.mount.KubernetesRole(r.Context(), cluster, time.Hour)
	r.ok(err)
	first := r.publish("a.test")
	old := cluster.Issue()
	file := r.file("jwt", old+"\n")
	config := r.config()
	config.Token, config.Kubernetes = "", Kubernetes{Role: role, TokenFile: file, Mount: "/kubernetes/"}
	s := r.start(config)
	r.waitFor("a.test", first)

	replaced := cluster.Issue()
	r.ok(r.server.Client().Sys().RevokePrefixWithContext(r.Context(), "auth/kubernetes"))
	renewed := r.publish("a.test")
	r.fails(s, "log in by Kubernetes", "permission denied")
	r.serves("a.test", first)
	r.ok(os.WriteFile(file, nil, 0o600))
	r.fails(s, file, "empty")
	r.ok(os.WriteFile(file, []byte(replaced), 0o600))
	r.ok(s.Reload(r.Context()))
	r.waitFor("a.test", renewed)
	if n := strings.Count(r.logs.String(), "logged in to Vault by Kubernetes"); n != 2 {
		r.Errorf("%d logins, want 2: %s", n, r.logs)
	}
	for _, jwt := range []string{old, replaced} {
		if strings.Contains(r.logs.String(), jwt) {
			r.Error("a service account's token was logged")
		}
	}
}

func wrongRole(r *real) {
	r.publish("a.test")
	for name, edit := range map[string]func(*Config){
		"AppRole": func(c *Config) { c.AppRole = AppRole{RoleID: "nobody", SecretID: "hush-secret-id"} },
		"Kubernetes": func(c *Config) {
			c.Kubernetes = Kubernetes{Role: "nobody", TokenFile: r.file("jwt", "hush-secret-id")}
		},
	} {
		config := r.config()
		config.Token = ""
		edit(&config)
		r.fails(r.start(config), "log in by "+name, map[string]string{
			"AppRole": "check --vault-role-id and the secret id in --vault-secret-id-file", "Kubernetes": "check --vault-kubernetes-role nobody",
		}[name])
	}
	if strings.Contains(r.logs.String(), "hush-secret-id") {
		r.Error("a credential was logged")
	}
	if r.sink.Last().Count > 0 {
		r.Error("a failed read reached the sink")
	}
}

// policyIsMended starts with a policy that hides the certificates themselves,
// and later takes away all rights, and gives them back.
func policyIsMended(r *real) {
	issued := r.publish("a.test")
	config := r.config()
	policy, err := r.mount.Reader(r.Context())
	r.ok(err)
	r.ok(r.server.Client().Sys().PutPolicyWithContext(r.Context(), policy,
		fmt.Sprintf(`path "%s/data/live" { capabilities = ["read"] }`, r.mount.Path)))
	s := r.start(config)
	r.fails(s, "1 of 1 certificates could not be read", "403")
	_, err = r.mount.Reader(r.Context())
	r.ok(err)
	r.ok(s.Reload(r.Context()))
	r.waitFor("a.test", issued)

	r.ok(r.server.Client().Sys().PutPolicyWithContext(r.Context(), policy, `path "sys/health" { capabilities = ["read"] }`))
	renewed := r.publish("a.test")
	for range 2 * suspiciousReads {
		r.fails(s, "is valid but lacks the right", "403")
	}
	r.serves("a.test", issued)
	_, err = r.mount.Reader(r.Context())
	r.ok(err)
	r.ok(s.Reload(r.Context()))
	r.waitFor("a.test", renewed)
}

// requestsOnTheirWay looks at each one: all have the namespace, of which Vault's
// core knows nothing, and none writes but to get a token.
func requestsOnTheirWay(r *real) {
	issued := r.publish("a.test")
	roleID, secretID, err := r.mount.AppRole(r.Context(), 3*time.Second)
	r.ok(err)
	var mu sync.Mutex
	seen := make(map[string]int)
	front := r.front(func(request *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[request.URL.Path]++
		if got := request.Header.Get("X-Vault-Namespace"); got != "team/edge" {
			r.Errorf("%s: namespace %q", request.URL.Path, got)
		}
		if request.Method != http.MethodGet && !strings.HasPrefix(request.URL.Path, "/v1/auth/") {
			r.Errorf("%s %s", request.Method, request.URL.Path)
		}
	})
	count := func(path string) int {
		mu.Lock()
		defer mu.Unlock()
		return seen[path]
	}
	config := r.config()
	config.Addresses, config.Namespace, config.PollInterval = []string{front}, "team/edge", 100*time.Millisecond
	config.Token, config.AppRole = "", AppRole{RoleID: roleID, SecretID: secret.String(secretID)}
	r.start(config)
	r.waitFor("a.test", issued)
	r.sink.WaitFor(r.T, "a renewed token", func(certstest.Sync) bool { return count("/v1/auth/token/renew-self") > 0 })
	data := "/v1/" + r.mount.Path + "/data/"
	for _, path := range []string{"/v1/auth/approle/login", "/v1/sys/internal/ui/mounts/" + r.mount.Path, data + "live", data + "certificates/a.test"} {
		if count(path) == 0 {
			r.Errorf("there was no request of %s", path)
		}
	}
}

// front is a proxy to Vault, which hands each request to look first.
func (r *real) front(look func(*http.Request)) (address string) {
	r.Helper()
	target, err := url.Parse(r.server.Addr)
	r.ok(err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	transport := &http.Transport{}
	proxy.Transport = transport
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		look(request)
		proxy.ServeHTTP(w, request)
	}))
	r.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.URL
}

// tokenRevokedForGood has only the token that is revoked.
func tokenRevokedForGood(r *real) {
	kept := r.publish("a.test")
	config := r.config()
	s := r.start(config)
	r.waitFor("a.test", kept)
	r.ok(r.server.Client().Auth().Token().RevokeTreeWithContext(r.Context(), string(config.Token)))
	r.publish("a.test")
	count := r.sink.Last().Count
	for range 2 * suspiciousReads {
		r.fails(s, "expired or revoked")
	}
	r.serves("a.test", kept)
	if got := r.sink.Last().Count - count; got != 0 {
		r.Errorf("%d reads reached the sink", got)
	}
}

// tokenExpires uses a token that nobody renews or replaces until it is too late.
func tokenExpires(r *real) {
	first := r.publish("a.test")
	policy, err := r.mount.Reader(r.Context())
	r.ok(err)
	token := func(options *api.TokenCreateRequest) string {
		options.Policies = []string{policy}
		got, err := r.server.Client().Auth().Token().CreateWithContext(r.Context(), options)
		r.ok(err)
		return got.Auth.ClientToken
	}
	config := r.config()
	config.TokenFile, config.Token = r.file("token", token(&api.TokenCreateRequest{TTL: "1h", ExplicitMaxTTL: "10s"})), ""
	config.PollInterval = 100 * time.Millisecond
	s := r.start(config)
	r.waitFor("a.test", first)
	deadline := time.Now().Add(30 * time.Second)
	for s.Status().LastError == "" && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if got := s.Status().LastError; !strings.Contains(got, "expired or revoked") {
		r.Fatalf("last error %q", got)
	}
	r.serves("a.test", first)
	renewed := r.publish("a.test")
	r.ok(os.WriteFile(config.TokenFile, []byte(token(&api.TokenCreateRequest{TTL: "1h"})), 0o600))
	r.waitFor("a.test", renewed)
}

func liveAndCertificateOutOfStep(r *real) {
	first, second := r.publish("a.test"), r.ca.TestIssue(r.T, []string{"a.test"}, options{})
	s := r.start(r.config())
	r.waitFor("a.test", first)

	// live is ahead, as on a replica that has not everything yet.
	entry, err := vaulttest.LiveEntry(2, second)
	r.ok(err)
	r.ok(r.mount.SetLive(r.Context(), "a.test", entry))
	r.ok(s.Reload(r.Context()))
	r.serves("a.test", first)
	if got := r.sink.Last().Problem("a.test"); !strings.Contains(got, "version 2, which live names, is not there yet; version 1 is used") {
		r.Errorf("problem %q", got)
	}
	_, err = r.mount.WriteCertificate(r.Context(), "a.test", second)
	r.ok(err)
	r.waitFor("a.test", second) // by itself: it is looked for again soon
	if got := r.sink.Last().Problem("a.test"); got != "" {
		r.Errorf("problem %q", got)
	}

	// The certificate is ahead: its writer has not updated live, or never will.
	_, err = r.mount.WriteCertificate(r.Context(), "a.test", first)
	r.ok(err)
	r.ok(s.Reload(r.Context()))
	r.serves("a.test", second)

	// Nor does a Relay that starts now take what live does not name.
	r.sink = certstest.NewSink()
	r.ok(r.start(r.config()).Reload(r.Context()))
	r.serves("a.test", second)
	if got := r.sink.Last().Problem("a.test"); got != "" {
		r.Errorf("problem %q", got)
	}
}

func versionIsPruned(r *real) {
	r.publish("a.test")
	r.ok(r.server.Client().KVv2(r.mount.Path).PutMetadata(r.Context(), "certificates/a.test", api.KVMetadataPutInput{MaxVersions: 2}))
	var newest *certstest.Issued
	for range 3 {
		newest = r.ca.TestIssue(r.T, []string{"a.test"}, options{})
		_, err := r.mount.WriteCertificate(r.Context(), "a.test", newest)
		r.ok(err)
	}
	r.start(r.config())
	got := r.waitFor("a.test", newest)
	if !strings.Contains(got.Problem("a.test"), "version 1, which live names, is gone; version 4 is used") {
		r.Errorf("problems %v", got.Problems)
	}
}

func entryIsDeleted(r *real) {
	kept, other := r.publish("a.test"), r.publish("b.test")
	s := r.start(r.config())
	r.waitFor("a.test", kept)
	r.ok(r.mount.DeleteAll(r.Context(), "certificates/a.test"))
	entry, err := vaulttest.LiveEntry(7, kept)
	r.ok(err)
	r.ok(r.mount.SetLive(r.Context(), "a.test", entry))
	r.ok(s.Reload(r.Context()))
	r.serves("a.test", kept)
	if got := r.sink.Last().Problem("a.test"); !strings.Contains(got, "deleted or was never written; its last good certificate stays in use") {
		r.Errorf("problem %q", got)
	}
	// A Relay that starts now has nothing to keep.
	r.sink = certstest.NewSink()
	r.start(r.config())
	if got := r.waitFor("b.test", other); got.Fingerprint("a.test") != "" || !strings.Contains(got.Problem("a.test"), "nothing is served") {
		r.Errorf("cold start: %q, %v", got.Names(), got.Problems)
	}
}

// TestRealVaultComesBackEmpty stops a Vault and starts another one, which
// knows nothing, where the first one was.
func TestRealVaultComesBackEmpty(t *testing.T) {
	t.Parallel()
	server := vaulttest.Start(t)
	r := &real{T: t, server: server, ca: certstest.TestCA(t), sink: certstest.NewSink(), logs: &logtest.Buffer{}}
	secret := func(server *vaulttest.Server) string {
		var err error
		r.mount, err = server.Mount(t.Context(), "secret")
		r.ok(err)
		token, err := r.mount.ReaderToken(t.Context(), time.Hour)
		r.ok(err)
		return token
	}
	token := secret(server)
	r.publish("a.test")
	kept, other := r.publish("a.test"), r.publish("b.test")
	var tries atomic.Int64
	config := Config{
		Addresses: []string{server.Addr}, TokenFile: r.file("token", token), PollInterval: 100 * time.Millisecond,
		dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			tries.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	s := r.start(config)
	r.waitFor("b.test", other)
	count := func() int { return r.sink.Last().Count }

	server.Stop()
	r.fails(s, "connection refused")
	reads := count()
	// Away for many more polls than anything is confirmed by.
	for until := tries.Load() + 5*suspiciousReads; tries.Load() < until; {
		time.Sleep(10 * time.Millisecond)
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	empty, err := vaulttest.RunAt(ctx, strings.TrimPrefix(server.Addr, "http://"))
	r.ok(err)
	t.Cleanup(empty.Stop)
	r.fails(s, "expired or revoked") // the old token means nothing to it
	newToken := secret(empty)
	renewed := r.publish("a.test")
	r.ok(os.WriteFile(config.TokenFile, []byte(newToken), 0o600))
	r.fails(s, "live has version 1, but had 3 before")
	if count() != reads {
		t.Errorf("%d reads reached the sink while Vault was away or suspicious", count()-reads)
	}
	r.serves("a.test", kept)
	r.serves("b.test", other)
	r.waitFor("a.test", renewed) // after some polls what it says is believed
	if got := r.sink.Last().Names(); len(got) != 1 {
		t.Errorf("names %q, want the one that is left", got)
	}
}
