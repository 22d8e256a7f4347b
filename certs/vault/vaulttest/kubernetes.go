package vaulttest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	"relay/certs/certstest"
)

// Kubernetes is as much of a Kubernetes API server as Vault asks: it says
// whether a service account's token is valid
// (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/).
type Kubernetes struct {
	url, authority string

	mu    sync.Mutex
	valid string
	count int
}

// StartKubernetes serves until the test ends.
func StartKubernetes(t testing.TB) *Kubernetes {
	// Vault wants an authority even for an API server without TLS.
	k := &Kubernetes{authority: string(certstest.TestCA(t).RootPEM())}
	server := httptest.NewServer(http.HandlerFunc(k.review))
	t.Cleanup(server.Close)
	k.url = server.URL
	return k
}

// Issue returns a new JWT of the service account relay; those before it become
// invalid.
func (k *Kubernetes) Issue() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	encode := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	k.valid = encode(`{"alg":"RS256"}`) + "." +
		encode(fmt.Sprintf(`{"jti":"%d","iss":"https://kubernetes.default.svc","sub":"system:serviceaccount:edge:relay",`+
			`"kubernetes.io":{"namespace":"edge","serviceaccount":{"name":"relay","uid":"7d3a"}}}`, k.count)) + "." +
		encode("a signature that the API server would check")
	return k.valid
}

func (k *Kubernetes) review(w http.ResponseWriter, r *http.Request) {
	var review struct{ Spec struct{ Token string } }
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	k.mu.Lock()
	valid := review.Spec.Token == k.valid
	k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"authenticated":%v,`+
		`"user":{"username":"system:serviceaccount:edge:relay","uid":"7d3a"}}}`, valid)
}

// KubernetesRole lets the service account relay of k log in, for tokens that
// may read this mount and live for ttl unless they are renewed.
func (m *Mount) KubernetesRole(ctx context.Context, k *Kubernetes, ttl time.Duration) (role string, err error) {
	policy, err := m.Reader(ctx)
	if err != nil {
		return "", err
	}
	methods, err := m.client.Sys().ListAuthWithContext(ctx)
	if err != nil {
		return "", fmt.Errorf("list authentication methods: %w", err)
	}
	if methods["kubernetes/"] == nil {
		if err := m.client.Sys().EnableAuthWithOptionsWithContext(ctx, "kubernetes", &api.EnableAuthOptions{Type: "kubernetes"}); err != nil {
			return "", fmt.Errorf("enable the Kubernetes login: %w", err)
		}
	}
	if _, err := m.client.Logical().WriteWithContext(ctx, "auth/kubernetes/config", map[string]any{
		"kubernetes_host": k.url, "kubernetes_ca_cert": k.authority, "disable_local_ca_jwt": true,
	}); err != nil {
		return "", fmt.Errorf("set up the Kubernetes login: %w", err)
	}
	if _, err := m.client.Logical().WriteWithContext(ctx, "auth/kubernetes/role/"+policy, map[string]any{
		"bound_service_account_names": "relay", "bound_service_account_namespaces": "edge",
		"token_policies": policy, "token_ttl": ttl.String(),
	}); err != nil {
		return "", fmt.Errorf("make the role: %w", err)
	}
	return policy, nil
}
