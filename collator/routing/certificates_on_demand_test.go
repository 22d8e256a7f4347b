package routing_test

import (
	"testing"

	"relay/collator/routing"
	"relay/sources"
)

func TestServerNamesAreResolved(t *testing.T) {
	t.Parallel()
	chains := []routing.TLSChain{
		{Name: "1", Pair: routing.Pair{Secret: "vault/a"}, ServerNames: []string{"a.test", "b.test"}},
		{Name: "2", Pair: routing.Pair{Secret: "vault/zone"}, ServerNames: []string{"*.zone.test"}},
		{Name: "3", Pair: routing.Pair{Secret: "vault/deep"}, ServerNames: []string{"*.deep.zone.test", "x.zone.test"}},
	}
	byDefault := append(chains[:3:3], routing.TLSChain{Name: routing.DefaultChain, Pair: routing.Pair{Secret: "dir/default"}})
	for _, tt := range []struct {
		asked, secret, orDefault string
		permanent                bool
	}{
		{asked: "a.test", secret: "vault/a", permanent: true},
		{asked: "b.test", secret: "vault/a", permanent: true},
		{asked: "A.Test", secret: "vault/a"},
		{asked: "a.test.", secret: "vault/a"},
		{asked: "y.zone.test", secret: "vault/zone"},
		{asked: "y.y.zone.test", secret: "vault/zone"},
		{asked: "*.zone.test", secret: "vault/zone", permanent: true}, // not a name that Envoy lets through
		{asked: "x.zone.test", secret: "vault/deep", permanent: true},
		{asked: "y.deep.zone.test", secret: "vault/deep"},
		{asked: "zone.test", orDefault: "dir/default"},
		{asked: "c.test", orDefault: "dir/default"},
		{asked: "vault/a", orDefault: "dir/default"},
		{asked: "", orDefault: "dir/default"},
	} {
		secret, permanent, ok := routing.NewResolver(chains).Resolve(tt.asked)
		if secret != tt.secret || permanent != tt.permanent || ok != (tt.secret != "") {
			t.Errorf("%q: got %q, %v, %v; want %q, %v", tt.asked, secret, permanent, ok, tt.secret, tt.permanent)
		}
		want := tt.secret + tt.orDefault
		if secret, permanent, ok := routing.NewResolver(byDefault).Resolve(tt.asked); secret != want || permanent != tt.permanent || !ok {
			t.Errorf("%q, with a default: got %q, %v, %v; want %q, %v", tt.asked, secret, permanent, ok, want, tt.permanent)
		}
	}
}

// A secret of a service that is not there yet is no server name: the default certificate is not it.
func TestSecretsOfServicesAreNotResolved(t *testing.T) {
	t.Parallel()
	chains := []routing.TLSChain{{Name: routing.DefaultChain, Pair: routing.Pair{Secret: "dir/default"}}}
	service := routing.Service{AppPort: routing.AppPort{App: "/a/b"}, Listen: 8883, TLS: &sources.ServiceTLS{ClientCA: "devices"}, ServerNames: []string{"*.a.test", "a.test"}}
	secrets := service.ServiceSecrets()
	if len(secrets) != 7 {
		t.Errorf("secrets %q", secrets)
	}
	for _, name := range secrets {
		if secret, _, ok := routing.NewResolver(chains).Resolve(name); ok {
			t.Errorf("%s is taken for %s", name, secret)
		}
		if cluster, _, ok := routing.SecretOfService(name); !ok || cluster != service.Cluster() {
			t.Errorf("%s is of %q, %t", name, cluster, ok)
		}
	}
}
