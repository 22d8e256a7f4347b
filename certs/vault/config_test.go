package vault

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs/certstest"
	"relay/internal/logtest"
)

func discard() *slog.Logger           { return slog.New(slog.DiscardHandler) }
func registry() prometheus.Registerer { return prometheus.NewPedanticRegistry() }

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"no login":            {Config{}, "no way to log in"},
		"half a role":         {Config{AppRole: AppRole{RoleID: "x"}}, "give --vault-secret-id-file"},
		"no URL":              {Config{Token: "t", Addresses: []string{"vault:8200"}}, "--vault-addr \"vault:8200\" is not an http or https URL: write https://vault:8200"},
		"an IP address":       {Config{Token: "t", Addresses: []string{"127.0.0.1:8200"}}, "write https://127.0.0.1:8200"},
		"another scheme":      {Config{Token: "t", Addresses: []string{"vault://vault:8200"}}, "write https://vault:8200"},
		"the API's path":      {Config{Token: "t", Addresses: []string{"https://vault:8200/v1/"}}, "--vault-addr https://vault:8200/v1: /v1 is not part of Vault's address: write https://vault:8200"},
		"a page":              {Config{Token: "t", Addresses: []string{"https://proxy/vault/ui/vault/secrets"}}, "write https://proxy/vault"},
		"a password":          {Config{Token: "t", Addresses: []string{"https://u:hush@vault"}}, "user name"},
		"no URL, a password":  {Config{Token: "t", Addresses: []string{"u:hush@x:hush@vault:8200"}}, `"vault:8200" is not`},
		"an odd password":     {Config{Token: "t", Addresses: []string{"https://u:hush%zz@vault"}}, "write https://vault"},
		"half a key pair":     {Config{Token: "t", ClientCert: "x"}, "client key must be provided"},
		"an absent authority": {Config{Token: "t", CACert: "/absent"}, "/absent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(test.config, certstest.NewSink(), discard(), registry())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestWithEnvironment(t *testing.T) {
	t.Parallel()
	environment := map[string]string{
		"VAULT_ADDR": "https://a:8200,https://b:8200", "VAULT_TOKEN": "hush", "VAULT_NAMESPACE": "team",
		"VAULT_CACERT": "ca.pem", "VAULT_CACERT_BYTES": "-----", "VAULT_CAPATH": "cas", "VAULT_CLIENT_CERT": "c.pem", "VAULT_CLIENT_KEY": "c.key",
		"VAULT_TLS_SERVER_NAME": "vault", "VAULT_SKIP_VERIFY": "true",
	}
	getenv := func(name string) string { return environment[name] }
	want := Config{
		Addresses: []string{"https://a:8200", "https://b:8200"}, Token: "hush", Namespace: "team",
		CACert: "ca.pem", CACertPEM: "-----", CAPath: "cas", ClientCert: "c.pem", ClientKey: "c.key", TLSServerName: "vault", SkipVerify: true,
	}
	got, err := Config{}.WithEnvironment(getenv)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || got.Token != want.Token {
		t.Errorf("got %+v (%v)", got, err)
	}
	set := Config{Addresses: []string{"https://c"}, Token: "mine", Namespace: "own"}
	got, err = set.WithEnvironment(getenv)
	if err != nil || got.Addresses[0] != "https://c" || got.Token != "mine" || got.Namespace != "own" || got.CACert != "ca.pem" {
		t.Errorf("what was set did not win: %+v (%v)", got, err)
	}
	environment["VAULT_SKIP_VERIFY"] = "perhaps"
	if _, err := (Config{}).WithEnvironment(getenv); err == nil {
		t.Error("no error for an odd VAULT_SKIP_VERIFY")
	}
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	c := Config{Token: "hush", AppRole: AppRole{SecretID: "hush"}}
	text := fmt.Sprintf("%v %+v %#v", c, c, c)
	encoded, err := json.Marshal(map[string]any{"token": c.Token, "role": c.AppRole})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text+string(encoded), "hush") {
		t.Errorf("%s %s", text, encoded)
	}
}

func TestTLSAndHeaders(t *testing.T) {
	t.Parallel()
	ca := certstest.TestCA(t)
	issued := ca.TestIssue(t, []string{"vault.test"}, options{})
	serverTLS, err := issued.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	headers := make(chan http.Header, 100)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers <- r.Header
		reply(w, 404, `{"errors":[]}`)
	}))
	server.TLS = serverTLS
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	root := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(root, ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	base := Config{Addresses: []string{server.URL}, Token: "hush-token", Namespace: "team"}
	for name, test := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"trusted":         {func(c *Config) { c.CACert, c.TLSServerName = root, "vault.test" }, ""},
		"by its text":     {func(c *Config) { c.CACertPEM, c.TLSServerName = string(ca.RootPEM()), "vault.test" }, ""},
		"by path":         {func(c *Config) { c.CAPath, c.TLSServerName = dir, "vault.test" }, ""},
		"not verified":    {func(c *Config) { c.SkipVerify = true }, ""},
		"unknown CA":      {func(c *Config) { c.TLSServerName = "vault.test" }, "unknown authority"},
		"another name":    {func(c *Config) { c.CACert = root }, "127.0.0.1"},
		"another name, 2": {func(c *Config) { c.CACert, c.TLSServerName = root, "other.test" }, "other.test"},
	} {
		t.Run(name, func(t *testing.T) {
			config := base
			test.edit(&config)
			s := start(t, config, certstest.NewSink(), &logtest.Buffer{})
			err := s.Reload(t.Context())
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if err != nil {
				return
			}
			got := <-headers
			for name, want := range map[string]string{"X-Vault-Token": "hush-token", "X-Vault-Namespace": "team", "X-Vault-Request": "true"} {
				if got.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, got.Get(name), want)
				}
			}
		})
	}
}
