package vault

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"

	"relay/credentials"
	"relay/internal/problem"
	"relay/internal/secret"
)

// credentialSink has the latest read.
type credentialSink struct {
	mu   sync.Mutex
	text string
}

func (s *credentialSink) SyncCredentials(_ string, all []*credentials.Credential, problems []problem.Problem) {
	var lines []string
	for _, c := range all {
		lines = append(lines, c.Path+"="+string(c.Value))
	}
	slices.Sort(lines)
	for _, p := range problems {
		lines = append(lines, "\n"+p.Subject+": "+p.Reason)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = strings.Join(lines, " ")
}

func (s *credentialSink) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// Credentials are read below a path, by a token that may read nothing else, and again when a hook was called.
func credentialsOfApps(r *real) {
	put := func(path string, data map[string]any) {
		r.Helper()
		_, err := r.server.Client().KVv2(r.mount.Path).Put(r.Context(), "relay/"+path, data)
		r.ok(err)
	}
	put("all", map[string]any{"value": "s3cret-1"})
	put("shop/oidc", map[string]any{"value": "s3cret-2"})
	put("shop/web/oidc", map[string]any{"value": " s3cret 3\n"})
	put("shop/number", map[string]any{"value": 7})
	put("shop/other", map[string]any{"password": "s3cret-4"})
	put("bank/db", map[string]any{"value": "s3cret-5"})
	put("Odd Name", map[string]any{"value": "s3cret-6"})
	_, err := r.server.Client().KVv2(r.mount.Path).Put(r.Context(), "elsewhere", map[string]any{"value": "s3cret-7"})
	r.ok(err)

	policy := "credentials-of-" + strings.ReplaceAll(r.mount.Path, "/", "-")
	r.ok(r.server.Client().Sys().PutPolicyWithContext(r.Context(), policy, fmt.Sprintf(`
path "%[1]s/metadata/relay"   { capabilities = ["list"] }
path "%[1]s/metadata/relay/*" { capabilities = ["list"] }
path "%[1]s/data/relay/*"     { capabilities = ["read"] }
path "%[1]s/metadata/relay/bank"  { capabilities = ["deny"] }
path "%[1]s/metadata/relay/bank/" { capabilities = ["deny"] }
`, r.mount.Path)))
	token, err := r.server.Client().Auth().Token().CreateWithContext(r.Context(), &api.TokenCreateRequest{Policies: []string{policy}})
	r.ok(err)

	sink := &credentialSink{}
	s, err := NewCredentials(Config{Addresses: []string{r.server.Addr}, Token: secret.String(token.Auth.ClientToken), PollInterval: time.Hour},
		r.mount.Path+"/relay/", sink, slog.New(slog.NewTextHandler(r.logs, nil)), prometheus.NewRegistry())
	r.ok(err)
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	r.Cleanup(func() { cancel(); <-done })

	want := func(want string) {
		r.Helper()
		r.ok(s.Reload(r.Context()))
		if got, _, _ := strings.Cut(sink.last(), "\n"); strings.TrimSpace(got) != want {
			r.Errorf("read %q, want %q", got, want)
		}
	}
	want("all=s3cret-1 bank/= shop/number= shop/oidc=s3cret-2 shop/other= shop/web/oidc= s3cret 3")
	for _, told := range []string{"shop/number: version 1 has no text", "shop/other: version 1 has no text", "bank: Vault does not let it be listed", "Odd Name: it is passed over"} {
		if !strings.Contains(sink.last(), told) {
			r.Errorf("not told: %s\n%s", told, sink.last())
		}
	}
	put("shop/oidc", map[string]any{"value": "s3cret-8"})
	put("shop/web/oidc", map[string]any{"value": ""})
	put("shop/number", map[string]any{"value": "s3cret-9"})
	r.ok(s.Reload(r.Context()))
	if got := sink.last(); !strings.Contains(got, "shop/oidc=s3cret-8") || !strings.Contains(got, "shop/number=s3cret-9") || !strings.Contains(got, "shop/web/oidc= s3cret 3\n") ||
		!strings.Contains(got, "is empty; what was read of it last stays in use") {
		r.Errorf("after changes it read %s", got)
	}
	r.ok(r.server.Client().KVv2(r.mount.Path).Delete(r.Context(), "relay/shop/oidc"))
	r.ok(s.Reload(r.Context()))
	if got := sink.last(); !strings.Contains(got, "shop/oidc=s3cret-8") {
		r.Errorf("one read without the entry dropped it: %s", got)
	}
	r.ok(s.Reload(r.Context()))
	if got := sink.last(); strings.Contains(got, "shop/oidc=") {
		r.Errorf("two reads without the entry did not drop it: %s", got)
	}
	r.ok(r.server.Client().Auth().Token().RevokeTreeWithContext(r.Context(), token.Auth.ClientToken))
	if err := s.Reload(r.Context()); err == nil || !strings.Contains(sink.last(), "all=s3cret-1") {
		r.Errorf("without a token: %v, %s", err, sink.last())
	}
	if strings.Contains(r.logs.String(), "s3cret") || strings.Contains(s.Status().LastError, "s3cret") {
		r.Error("a value is in the log, or in an error")
	}
}
