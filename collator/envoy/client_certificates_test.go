package envoy_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/collator/envoy"
	"relay/collator/routing"
	"relay/sources"
)

// identity is what a client shows.
func identity(t *testing.T, ca *certstest.CA, name string, options certstest.Options) []tls.Certificate {
	t.Helper()
	issued := ca.TestIssue(t, []string{name}, options)
	pair, err := tls.X509KeyPair(certstest.Join(issued.Leaf, issued.Chain), issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

// clients of every kind, and the authority of the good one.
type clients struct {
	ca                            *certstest.CA
	good, expired, early, foreign []tls.Certificate
}

func newClients(t *testing.T) clients {
	t.Helper()
	ca := certstest.TestCA(t)
	now := time.Now()
	return clients{
		ca:   ca,
		good: identity(t, ca, "device-1.test", certstest.Options{}),
		expired: identity(t, ca, "device-2.test", certstest.Options{
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)}),
		early: identity(t, ca, "device-3.test", certstest.Options{
			NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)}),
		foreign: identity(t, certstest.TestCA(t), "device-1.test", certstest.Options{}),
	}
}

// startEnvoy is one that asks clients for certificates.
func (cs clients) startEnvoy(t *testing.T, wanted routing.ClientCertificates) *realEnvoy {
	t.Helper()
	t.Parallel()
	e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.TLS.ClientCertificates = wanted })
	e.setClientCA(cs.ca)
	e.certificates("app.test", "other.test")
	e.c.SyncApps([]*sources.App{e.app("/app", "app.test", "*.zone.test", "x.zone.test"), e.app("/marathon-acme"),
		changed(e.app("/acme", "acme.test"), func(p *sources.Port) { p.ACMEDomains = []string{"acme.test"} })})
	e.eventually(t, request{host: "app.test", path: "/", tls: true, sni: "app.test", identity: cs.good}, fromApp("/app"))
	return e
}

func (e *realEnvoy) setClientCA(authorities ...*certstest.CA) {
	e.t.Helper()
	var text []byte
	for _, ca := range authorities {
		text = append(text, ca.RootPEM()...)
	}
	if err := e.c.SetClientCA("external", text); err != nil {
		e.t.Fatal(err)
	}
}

// refused reports whether Envoy breaks the connection off because of what the
// client shows. The client only listens: what it sends might cut the answer off.
func (e *realEnvoy) refused(shown []tls.Certificate) bool {
	e.t.Helper()
	config := e.ca.ClientTLS()
	config.ServerName, config.Certificates = "app.test", shown
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", e.fleet.HTTPS.String(), config)
	if err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
	}
	return err != nil && strings.Contains(err.Error(), "remote error: tls")
}

// accepted reports whether the app answers a client.
func (e *realEnvoy) accepted(shown []tls.Certificate) bool {
	a, err := e.send(e.t.Context(), request{host: "app.test", path: "/", tls: true, sni: "app.test", identity: shown})
	return err == nil && fromApp("/app")(a)
}

// A client without a good certificate gets nothing from an app.
func TestClientCertificatesRequired(t *testing.T) {
	cs := newClients(t)
	e := cs.startEnvoy(t, routing.ClientCertificatesRequired)
	for name, shown := range map[string][]tls.Certificate{
		"none": nil, "expired": cs.expired, "not valid yet": cs.early, "of another authority": cs.foreign,
	} {
		if !e.refused(shown) {
			t.Errorf("a client whose certificate is %s was not refused", name)
		}
	}
	if !e.accepted(cs.good) {
		t.Error("the good one was refused")
	}

	// Not by plain HTTP either, whatever it says.
	for _, r := range []request{
		{host: "app.test", path: "/"}, {host: "APP.test.", path: "/"}, {host: "a.zone.test", path: "/"}, {host: "x.zone.test", path: "/"},
		{host: "acme.test", path: "/"},
		{host: "app.test", path: "/", header: http.Header{"X-Forwarded-Proto": {"https"}}},
		{host: "app.test", path: envoy.ACMEPrefix + "token"},
	} {
		a := e.eventually(t, r, status(http.StatusMovedPermanently))
		if !strings.HasPrefix(a.location, "https://") {
			t.Errorf("%+v: redirected to %q", r, a.location)
		}
	}
	e.eventually(t, request{host: "acme.test", path: envoy.ACMEPrefix + "token"}, fromApp("/marathon-acme"))
}

func TestClientCertificatesOptional(t *testing.T) {
	cs := newClients(t)
	e := cs.startEnvoy(t, routing.ClientCertificatesOptional)
	for name, shown := range map[string][]tls.Certificate{"expired": cs.expired, "not valid yet": cs.early, "of another authority": cs.foreign} {
		if !e.refused(shown) {
			t.Errorf("a client whose certificate is %s was not refused", name)
		}
	}
	if !e.accepted(nil) {
		t.Error("a client without a certificate was refused")
	}
	e.eventually(t, request{host: "app.test", path: "/"}, fromApp("/app"))
}

// The app hears who the client is from Envoy alone.
func TestClientIsTold(t *testing.T) {
	cs := newClients(t)
	forged := http.Header{}
	for _, name := range []string{"X-Forwarded-Client-Cert", "x_forwarded_client_cert", "X_Forwarded-Client-Cert", "x-forwarded_client-Cert", "X-Forwarded-Client_Cert"} {
		forged[name] = []string{"Subject=forged"}
	}
	for _, wanted := range []routing.ClientCertificates{routing.ClientCertificatesOff, routing.ClientCertificatesOptional, routing.ClientCertificatesRequired} {
		t.Run(string(wanted), func(t *testing.T) {
			e := cs.startEnvoy(t, wanted)
			for _, shown := range [][]tls.Certificate{nil, cs.good} {
				for _, r := range []request{
					{tls: true, sni: "app.test", http2: true, identity: shown}, {tls: true, sni: "app.test", identity: shown}, {},
				} {
					if wanted == routing.ClientCertificatesRequired && shown == nil || wanted != routing.ClientCertificatesOff && !r.tls && shown != nil {
						continue
					}
					r.host, r.path, r.header = "app.test", "/", forged
					told := strings.ToLower(e.eventually(t, r, fromApp("/app")).body)
					if strings.Contains(told, "forged") {
						t.Errorf("%+v: the app was told what the client says of itself: %s", r, told)
					}
					is := strings.Contains(told, envoy.ClientCertHeader+": ") && strings.Contains(told, `subject="cn=device-1.test"`) && strings.Contains(told, "dns=device-1.test")
					if want := wanted != routing.ClientCertificatesOff && shown != nil; is != want || !want && strings.Contains(told, "client-cert") {
						t.Errorf("%s, a certificate shown: %t; the app was told: %s", wanted, shown != nil, told)
					}
				}
			}
		})
	}
}

// Other authorities count for new connections, and drain none.
func TestClientCARotation(t *testing.T) {
	cs := newClients(t)
	e := cs.startEnvoy(t, routing.ClientCertificatesRequired)
	ws := e.dial(t, request{host: "app.test", tls: true, sni: "app.test", identity: cs.good})
	listeners := e.listenersTaken(t)
	next := certstest.TestCA(t)
	newer := identity(t, next, "device-9.test", certstest.Options{})
	asNewer := request{host: "app.test", path: "/", tls: true, sni: "app.test", identity: newer}

	e.setClientCA(cs.ca, next)
	e.eventually(t, asNewer, fromApp("/app"))
	if !e.accepted(cs.good) {
		t.Error("with both authorities the older one was refused")
	}
	e.setClientCA(next)
	e.until(t, "the older authority is refused", func() bool { return !e.accepted(cs.good) && e.refused(cs.good) })
	if !e.accepted(newer) {
		t.Error("the newer authority was refused")
	}
	for _, bad := range [][]byte{nil, []byte("hello"), next.RootPEM()[:200]} {
		if err := e.c.SetClientCA("external", bad); err == nil {
			t.Errorf("%q was taken for authorities", bad)
		}
	}
	if !e.accepted(newer) || !e.refused(nil) {
		t.Error("unusable authorities replaced good ones")
	}
	if n := e.listenersTaken(t); n != listeners {
		t.Errorf("Envoy took in listeners %d times, want %d", n, listeners)
	}
	// Longer than drained connections live.
	for deadline := time.Now().Add(2500 * time.Millisecond); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		ping(t, "app.test", ws)
	}
}

// A fleet that was given no authorities takes nobody.
func TestNoClientCA(t *testing.T) {
	t.Parallel()
	cs := newClients(t)
	e := startEnvoy(t, func(f *routing.Fleet, _ *certstest.CA) { f.TLS.ClientCertificates = routing.ClientCertificatesRequired })
	e.certificates("app.test")
	e.c.SyncApps([]*sources.App{e.app("/app", "app.test")})
	e.eventually(t, request{host: "app.test", path: "/"}, status(http.StatusMovedPermanently))
	for range 20 {
		if a, err := e.send(t.Context(), request{host: "app.test", path: "/", tls: true, sni: "app.test", identity: cs.good}); err == nil {
			t.Fatalf("answered %+v", a)
		}
	}
	e.setClientCA(cs.ca)
	e.eventually(t, request{host: "app.test", path: "/", tls: true, sni: "app.test", identity: cs.good}, fromApp("/app"))
}
