package xds

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"relay/xds/xdstest"
)

// resolveTo answers names of a domain by one secret. Names in lower case are permanent.
func resolveTo(secret, domain string) Resolver {
	return func(name string) (string, bool, bool) {
		return secret, name == strings.ToLower(name), strings.HasSuffix(strings.ToLower(name), domain)
	}
}

func (f *fixture) secret(name, key string) Resource {
	f.t.Helper()
	r, err := NewResource(Secret, name, &tlsv3.Secret{
		Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{PrivateKey: inline(key)}},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// key returns the name and the key in the one secret of a response.
func key(t *testing.T, r *discoveryv3.DeltaDiscoveryResponse) string {
	t.Helper()
	var secret tlsv3.Secret
	if err := r.GetResources()[0].GetResource().UnmarshalTo(&secret); err != nil {
		t.Fatal(err)
	}
	return secret.GetName() + " " + secret.GetTlsCertificate().GetPrivateKey().GetInlineString()
}

// A name that no secret has is answered by the secret to which it is resolved, under the name
// that was asked for, and stays current.
func TestAlias(t *testing.T) {
	f := serve(t)
	f.store.Apply(Change{Set: []Resource{f.secret("vault/a", "1"), f.secret("vault/b", "2")}, Resolve: resolveTo("vault/a", "a.test")})
	c := f.connect()
	c.Subscribe(secrets, "a.test")
	first := c.Expect(secrets, []string{"a.test"})
	if got := key(t, first); got != "a.test 1" {
		t.Errorf("got %q", got)
	}
	c.Ack(first)

	f.store.Apply(Change{Set: []Resource{f.secret("vault/a", "renewed")}})
	r := c.Expect(secrets, []string{"a.test"})
	if got := key(t, r); got != "a.test renewed" {
		t.Errorf("after a renewal: %q", got)
	}
	c.Ack(r)
	f.store.Apply(Change{Set: []Resource{f.secret("vault/b", "3")}})
	f.store.Apply(Change{Resolve: resolveTo("vault/b", "a.test")})
	if r = c.Expect(secrets, []string{"a.test"}); key(t, r) != "a.test 3" {
		t.Errorf("answered by another secret: %q", key(t, r))
	}
	c.Ack(r)
	// The secret goes, and the name with it; it comes back when it is asked for.
	f.remove(Secret, "vault/b")
	c.Ack(c.Expect(secrets, nil, "a.test"))
	c.Unsubscribe(secrets, "a.test")
	f.store.Apply(Change{Set: []Resource{f.secret("vault/b", "4")}})
	c.Subscribe(secrets, "a.test")
	if r = c.Expect(secrets, []string{"a.test"}); key(t, r) != "a.test 4" {
		t.Errorf("back again: %q", key(t, r))
	}
	c.Ack(r)
	c.Close()

	// An Envoy that comes back with it is sent nothing.
	again := f.connect()
	again.Resume(secrets, xdstest.Versions(r), "a.test")
	again.ExpectNothing()
}

func TestAliasUnknown(t *testing.T) {
	f := serve(t)
	f.store.Apply(Change{Set: []Resource{f.secret("vault/a", "1")}, Resolve: resolveTo("vault/a", "a.test")})
	c := f.connect()
	c.Subscribe(secrets, "b.test")
	c.Ack(c.Expect(secrets, nil, "b.test"))
	c.Unsubscribe(secrets, "b.test")
	f.store.Apply(Change{Resolve: resolveTo("vault/gone", ".test")})
	c.Subscribe(secrets, "b.test")
	c.Ack(c.Expect(secrets, nil, "b.test"))
	c.Unsubscribe(secrets, "b.test")
	f.store.Apply(Change{Resolve: resolveTo("vault/a", ".test")})
	c.Subscribe(secrets, "b.test")
	c.Ack(c.Expect(secrets, []string{"b.test"}))
}

// Names that clients make up are not kept, be they answered or not.
func TestMadeUpNamesDoNotGrow(t *testing.T) {
	f := limited(t, func(l *Limits) { l.Burst = 1 << 20 })
	f.store.Apply(Change{Set: []Resource{f.secret("vault/a", "1")}, Resolve: resolveTo("vault/a", "a.test")})
	c := f.connect()
	c.Subscribe(secrets, "a.test")
	c.Ack(c.Expect(secrets, []string{"a.test"}))
	ask := func(name string) {
		t.Helper()
		c.Subscribe(secrets, name)
		for answered := false; !answered; {
			r := c.Next()
			for _, gone := range r.GetRemovedResources() {
				answered = answered || gone == name
				c.Unsubscribe(secrets, gone)
			}
			for _, got := range xdstest.Names(r) {
				answered = answered || got == name
			}
			c.Ack(r)
		}
	}
	for i := range 3000 {
		ask(fmt.Sprintf("x%d.unknown.test", i))
		ask(fmt.Sprintf("X%d.a.test", i))
	}
	f.store.mu.RLock()
	defer f.store.mu.RUnlock()
	table := &f.store.tables[Secret]
	if n := len(table.entries); n > 2*minReclaim+maxTemporary {
		t.Errorf("the store has %d ids for secrets", n)
	}
	if n := len(table.aliases.of); n > maxTemporary+1 || n < maxTemporary/2 {
		t.Errorf("there are %d aliases, want %d at most", n, maxTemporary)
	}
	if id := table.ids["a.test"]; table.entries[id].presence != present {
		t.Error("the name of a certificate had to go for made up ones")
	}
}

// The names of a request are looked up again if their ids were given to other names meanwhile.
func TestResolvedIDsMayBecomeStale(t *testing.T) {
	t.Parallel()
	s := NewStore()
	s.Open()
	session := newSession(s, new(envoyNode))
	defer session.close()
	req := &request{subscribe: []string{"asked"}}
	change := session.resolveNames(Secret, req)
	for i := range minReclaim {
		s.intern(Secret, []string{fmt.Sprint("other", i)})
	}
	s.reclaimIfDue(Secret)
	s.intern(Secret, []string{"takes the id"})
	if _, done := session.tryRequest(Secret, req, change, time.Now()); done {
		t.Error("ids that stand for other names were used")
	}
	session.handleRequest(Secret, req, time.Now())
	out, _ := session.plan(time.Now())
	if len(out) != 1 || out[0].removed != 1 || decode(t, out[0]).GetRemovedResources()[0] != "asked" {
		t.Errorf("answered by %+v", out)
	}
}

func BenchmarkRealias(b *testing.B) {
	s := NewStore()
	change := Change{Resolve: func(name string) (string, bool, bool) { return "vault/" + name, true, true }}
	var names []string
	for i := range 5000 {
		name := fmt.Sprintf("www.shop-%d.test", i)
		names = append(names, name)
		change.Set = append(change.Set, testResource(b, Secret, "vault/"+name, strings.Repeat("x", 5000)))
	}
	s.Apply(change)
	s.makeAliases(Secret, s.intern(Secret, names))
	for i := 0; b.Loop(); i++ {
		s.Apply(Change{Set: []Resource{testResource(b, Secret, "vault/"+names[i%len(names)], fmt.Sprint(i))}})
	}
}

func inline(s string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}
}
