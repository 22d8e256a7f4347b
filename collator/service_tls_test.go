package collator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/problem"
	"relay/sources"
	"relay/xds"
)

// tlsService is a service whose TLS Envoy ends.
func tlsService(id string, port uint16, ca string, names ...string) *sources.App {
	return serviceApp(id, sources.TCP{Port: port, ServiceTLS: &sources.ServiceTLS{ClientCA: ca}}, names...)
}

func devicesCA(name, text string) *certs.Authority {
	return &certs.Authority{Source: "vault", Name: name, Certificates: []byte(text), NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(1, 0, 0)}
}

// touched are the resources that a round set or removed.
func touched(r *recorder, round func()) string {
	r.Touched()
	round()
	return strings.Join(r.Touched(), ", ")
}

// What changes concerns the secrets of the services that use it, and no listener.
func TestServiceTLSChangesSecretsAlone(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CertificateSources: []string{"vault"}})
	certificates := func(content string) []*certs.Certificate {
		return []*certs.Certificate{certificate("a", content, "a.test"), certificate("b", "b", "b.test")}
	}
	authorities := func(text string) []*certs.Authority {
		return []*certs.Authority{devicesCA("a", text), devicesCA("b", "b")}
	}
	c.SyncCertificates("vault", certificates("a"), nil)
	c.SyncAuthorities("vault", authorities("a"), nil)
	var apps []*sources.App
	for i := range 50 {
		apps = append(apps, tlsService(fmt.Sprintf("/s%d", i), uint16(8000+i), "b", "b.test"))
	}
	a := tlsService("/a", 9000, "a", "a.test")
	syncApps(c, append(apps, a)...)
	for _, tt := range []struct {
		name string
		do   func()
		want string
	}{
		{"an authority", func() { c.SyncAuthorities("vault", authorities("a2"), nil) }, `set secrets "service-clients//a_0"`},
		{"the same again", func() { c.SyncAuthorities("vault", authorities("a2"), nil) }, ""},
		{"names of clients", func() {
			c.UpdateApps([]*sources.App{changed(a, func(p *sources.Port) {
				tcp, of := *p.TCP, *p.TCP.ServiceTLS
				of.ClientNames = []sources.ClientName{{Type: sources.NameURI, Value: "spiffe://lab.test/", Prefix: true}}
				tcp.ServiceTLS = &of
				p.TCP = &tcp
			})}, nil)
		}, `set secrets "service-clients//a_0"`},
		{"it goes", func() { c.SyncAuthorities("vault", authorities("a2")[1:], nil) }, `set secrets "service-clients//a_0"`},
	} {
		if got := touched(r, func() { tt.do(); c.round() }); got != tt.want {
			t.Errorf("%s: touches %q, want %q", tt.name, got, tt.want)
		}
	}
	got := touched(r, func() { c.SyncCertificates("vault", certificates("a2"), nil); c.round() })
	for _, want := range []string{`"vault/a"`, `"service-cert//a_0/a.test"`, `"service-cert//a_0/a.test rsa"`, `"service-cert//a_0/*"`, `"service-cert//a_0/* rsa"`} {
		if !strings.Contains(got, want) {
			t.Errorf("a renewal touches %s, want %s", got, want)
		}
	}
	if strings.Contains(got, "listeners") || strings.Contains(got, "/s") && !strings.Contains(got, "service") || strings.Contains(got, "//s") {
		t.Errorf("a renewal touches %s", got)
	}
}

// Until certificates and authorities have been read, nothing is said of what is not known.
func TestServiceTLSIsWithheld(t *testing.T) {
	t.Parallel()
	c, r := newTest(t, Config{CertificateSources: []string{"vault", "dir"}})
	syncApps(c, tlsService("/a", 9000, "a", "a.test"), tlsService("/open", 9001, "", "a.test"))
	published := func(want ...string) {
		t.Helper()
		c.round()
		var got []string
		for _, name := range slices.Concat(r.Names(xds.Listener), r.Names(xds.Secret)) {
			if strings.HasPrefix(name, "tcp/") || strings.HasPrefix(name, "service-clients/") {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("published %q, want %q", got, want)
		}
	}
	published()
	c.SyncCertificates("vault", nil, nil)
	c.SyncCertificates("dir", nil, nil)
	published("tcp/9001")
	c.SyncAuthorities("dir", []*certs.Authority{devicesCA("a", "a")}, nil)
	published("tcp/9001")
	c.SyncAuthorities("vault", nil, nil)
	published("tcp/9000", "tcp/9001", "service-clients//a_0")
}

// People are told what clients of a service do not get.
func TestServiceTLSProblems(t *testing.T) {
	t.Parallel()
	c, _ := newTest(t, Config{CertificateSources: []string{"vault"}})
	now := testTime
	c.now = func() time.Time { return now }
	c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "a", "a.test")}, nil)
	c.SyncAuthorities("vault", nil, nil)
	syncApps(c, tlsService("/a", 9000, "devices", "a.test", "b.test"))
	told := func(want ...string) {
		t.Helper()
		var got []string
		for _, p := range c.Problems() {
			if p.Kind == problem.TCP {
				got = append(got, fmt.Sprintf("%s %s %s: %s", p.Severity, p.App, p.Subject, p.Reason))
			}
		}
		ok := len(got) == len(want)
		for i := range min(len(got), len(want)) {
			ok = ok && strings.Contains(got[i], want[i])
		}
		if !ok {
			t.Errorf("problems %q, want %q", got, want)
		}
	}
	noB := "failing /a TLS for b.test: no certificate covers it on TCP port 9000: clients are shown vault/a"
	told(noB, "failing /a authority devices: no certificate store has it: nobody is let in")
	devices := devicesCA("devices", "a")
	devices.Revoked, devices.RevokedAt, devices.RevokedUntil = []byte("list"), now.Add(-time.Hour), now.Add(time.Hour)
	c.SyncAuthorities("vault", []*certs.Authority{devices}, nil)
	c.round()
	told(noB)
	now = now.Add(time.Hour)
	c.round()
	told(noB, "failing /a authority devices: a revocation list of it is out of date")
	c.UpdateApps(nil, []string{"/a"})
	c.round()
	told()
}

// The certificate of a service is one that is used.
func TestServiceCertificatesAreUsed(t *testing.T) {
	t.Parallel()
	for _, https := range []bool{true, false} {
		fleet := testFleet()
		if !https {
			fleet.HTTPS = netip.AddrPort{}
		}
		c, _ := newTest(t, Config{Fleets: []routing.Fleet{fleet}, CertificateSources: []string{"vault"}})
		c.SyncCertificates("vault", []*certs.Certificate{certificate("a", "a", "a.test")}, nil)
		c.SyncAuthorities("vault", nil, nil)
		syncApps(c, tlsService("/a", 9000, "", "a.test"))
		if v := c.Certificates(); len(v) != 1 || v[0].Unused {
			t.Errorf("https %t: %+v", https, v)
		}
		c.UpdateApps(nil, []string{"/a"})
		c.round()
		if v := c.Certificates(); len(v) != 1 || https && !v[0].Unused {
			t.Errorf("https %t, without the app: %+v", https, v)
		}
	}
}
