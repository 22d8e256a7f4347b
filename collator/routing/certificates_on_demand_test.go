package routing_test

import (
	"testing"

	"relay/collator/routing"
)

func TestServerNamesAreResolved(t *testing.T) {
	t.Parallel()
	chains := []routing.TLSChain{
		{Name: "1", Secret: "vault/a", ServerNames: []string{"a.test", "b.test"}},
		{Name: "2", Secret: "vault/zone", ServerNames: []string{"*.zone.test"}},
		{Name: "3", Secret: "vault/deep", ServerNames: []string{"*.deep.zone.test", "x.zone.test"}},
	}
	byDefault := append(chains[:3:3], routing.TLSChain{Name: routing.DefaultChain, Secret: "dir/default"})
	for _, tt := range []struct {
		asked, secret, orDefault string
		lasting                  bool
	}{
		{asked: "a.test", secret: "vault/a", lasting: true},
		{asked: "b.test", secret: "vault/a", lasting: true},
		{asked: "A.Test", secret: "vault/a"},
		{asked: "a.test.", secret: "vault/a"},
		{asked: "y.zone.test", secret: "vault/zone"},
		{asked: "y.y.zone.test", secret: "vault/zone"},
		{asked: "*.zone.test", secret: "vault/zone", lasting: true}, // not a name that Envoy lets through
		{asked: "x.zone.test", secret: "vault/deep", lasting: true},
		{asked: "y.deep.zone.test", secret: "vault/deep"},
		{asked: "zone.test", orDefault: "dir/default"},
		{asked: "c.test", orDefault: "dir/default"},
		{asked: "vault/a", orDefault: "dir/default"},
		{asked: "", orDefault: "dir/default"},
	} {
		secret, lasting, ok := routing.NewResolver(chains).Resolve(tt.asked)
		if secret != tt.secret || lasting != tt.lasting || ok != (tt.secret != "") {
			t.Errorf("%q: got %q, %v, %v; want %q, %v", tt.asked, secret, lasting, ok, tt.secret, tt.lasting)
		}
		want := tt.secret + tt.orDefault
		if secret, lasting, ok := routing.NewResolver(byDefault).Resolve(tt.asked); secret != want || lasting != tt.lasting || !ok {
			t.Errorf("%q, with a default: got %q, %v, %v; want %q, %v", tt.asked, secret, lasting, ok, want, tt.lasting)
		}
	}
}
