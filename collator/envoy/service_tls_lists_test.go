package envoy_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/proxytlv"
	"relay/sources"
	"relay/xds/envoytest"
)

// What Envoy makes of lists of revoked certificates: those of an authority without one, or with one that is out of
// date, are kept out as soon as there is any list. Authorities between are looked up too, if all lists can be
// had.
func TestRevocationLists(t *testing.T) {
	t.Parallel()
	for _, version := range []string{envoytest.Newest, "1.37"} {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			server, later, earlier := e.deviceServer(), time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
			root, other := newDeviceCA(t, "root", nil), newDeviceCA(t, "other", nil)
			between := newDeviceCA(t, "between", root)
			devices := map[string]tls.Certificate{
				"root": root.device(t, nil, acme+"1"), "other": other.device(t, nil, acme+"2"), "between": between.device(t, nil, acme+"3"),
				"revoked": root.device(t, nil, acme+"4"), "revoked between": between.device(t, nil, acme+"5"),
			}
			roots := root.list(t, later, devices["revoked"].Leaf)
			betweens := between.list(t, later, devices["revoked between"].Leaf)
			join := func(lists ...[]byte) []byte { return slices.Concat(lists...) }
			tests := []struct {
				name  string
				of    *certs.Authority
				letIn string
			}{
				{"no list", authorityOf("a", nil, root, other), "between other revoked revoked between root"},
				{"a list", authorityOf("a", roots, root), "root"},
				{"out of date", authorityOf("a", root.list(t, earlier), root), ""},
				{"of one of two", authorityOf("a", roots, root, other), "root"},
				{"one of two is out of date", authorityOf("a", join(roots, other.list(t, earlier)), root, other), "root"},
				{"of all", authorityOf("a", join(roots, betweens, other.list(t, later)), root, other), "between other root"},
				{"of an authority between, not of the root", authorityOf("a", betweens, root), "between"},
				{"of an authority between, not of the root, both trusted", authorityOf("a", betweens, root, between), "between"},
				{"the authority between is revoked", authorityOf("a", join(root.list(t, later, between.certificate), betweens), root), "revoked root"},
				{"only the authority between is trusted", authorityOf("a", nil, between), "between revoked between"},
				{"only that, with its list", authorityOf("a", betweens, between), "between"},
				{"all are trusted", authorityOf("a", join(roots, betweens), root, between), "between root"},
			}
			var authorities []*certs.Authority
			var apps []*sources.App
			ports := make([]uint16, len(tests))
			for i, tt := range tests {
				ports[i] = envoytest.FreePort(t)
				tt.of.Name = string(rune('a' + i))
				authorities = append(authorities, tt.of)
				apps = append(apps, deviceApp("/"+tt.of.Name, ports[i], sources.ServiceTLS{ClientCA: tt.of.Name}, server, "dev.test"))
			}
			e.sync(authorities, apps...)
			_ = e.letsIn(t, ports[len(tests)-1], as(devices["root"]))
			for i, tt := range tests {
				var letIn []string
				for name, device := range devices {
					if conn, err := e.connect(ports[i], as(device)); err == nil {
						letIn = append(letIn, name)
						_ = conn.Close()
					}
				}
				slices.Sort(letIn)
				if got := strings.Join(letIn, " "); got != tt.letIn {
					t.Errorf("%s: lets in %q, want %q", tt.name, got, tt.letIn)
				}
			}
		})
	}
}

// A certificate that is optional lets clients in that show none. One that is shown must be good. Where a
// restriction cannot be kept, nobody is let in, with a certificate or without.
func TestOptionalCertificate(t *testing.T) {
	t.Parallel()
	for _, version := range []string{envoytest.Newest, "1.37"} {
		t.Run("Envoy "+version, func(t *testing.T) {
			t.Parallel()
			e := startVersion(t, version, withoutHTTPS)
			ca, server := newDeviceCA(t, "devices", nil), e.deviceServer()
			optional := sources.ServiceTLS{ClientCA: "devices", OptionalCertificate: true}
			missing, refused := optional, optional
			missing.ClientCA, refused.Refused = "missing", true
			ports := []uint16{envoytest.FreePort(t), envoytest.FreePort(t), envoytest.FreePort(t)}
			e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/optional", ports[0], optional, server, "dev.test"),
				deviceApp("/missing", ports[1], missing, server, "dev.test"), deviceApp("/refused", ports[2], refused, server, "dev.test"))
			shown := ca.device(t, nil, acme+"1")
			if conn := e.letsIn(t, ports[0], as(shown)); conn.told["e2"] != fingerprintOf(shown) {
				t.Errorf("told %q", conn.told)
			}
			if conn := e.letsIn(t, ports[0], client{}); conn.told["e0"]+conn.told["e1"]+conn.told["e2"] != "" {
				t.Errorf("told %q of who shows nothing", conn.told)
			}
			stranger := as(newDeviceCA(t, "devices", nil).device(t, nil, acme+"1"))
			for i, c := range []client{stranger, {}, as(shown), {}, as(shown)} {
				port := ports[(i+1)/2]
				if conn, err := e.connect(port, c); err == nil {
					t.Errorf("client %d is let in: %q", i, conn.told)
				}
			}
			if n := server.accepted.Load(); n != 2 {
				t.Errorf("the server saw %d connections", n)
			}
		})
	}
}

// Profiles say which versions and cipher suites clients may use. Where certificates are asked for, no session is
// resumed: a device that is revoked meanwhile is not let in by one.
func TestProfiles(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	ca, server := newDeviceCA(t, "devices", nil), e.deviceServer()
	device := as(ca.device(t, nil, acme+"1"))
	profiles := []sources.TLSProfile{"", sources.TLSModern, sources.TLSOld}
	var apps []*sources.App
	ports := make(map[sources.TLSProfile]uint16)
	for _, profile := range profiles {
		ports[profile] = envoytest.FreePort(t)
		apps = append(apps, deviceApp("/p"+string(profile), ports[profile], sources.ServiceTLS{ClientCA: "devices", Profile: profile}, server, "dev.test"))
	}
	e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, apps...)
	for _, profile := range profiles {
		_ = e.letsIn(t, ports[profile], device)
	}
	for _, tt := range []struct {
		name string
		of   func(*tls.Config)
		by   []sources.TLSProfile
	}{
		{"TLS 1.3", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 }, profiles},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, []sources.TLSProfile{"", sources.TLSOld}},
		{"TLS 1.2, P-256", func(c *tls.Config) {
			c.MaxVersion, c.CurvePreferences = tls.VersionTLS12, []tls.CurveID{tls.CurveP256}
		}, []sources.TLSProfile{"", sources.TLSOld}},
		{"TLS 1.2, CBC", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, []sources.TLSProfile{sources.TLSOld}},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, nil},
	} {
		for _, profile := range profiles {
			_, err := e.connect(ports[profile], client{shown: device.shown, change: tt.of})
			if want := slices.Contains(tt.by, profile); want != (err == nil) {
				t.Errorf("%s, profile %q: %v, want it to be taken: %t", tt.name, profile, err, want)
			}
		}
	}
	for _, newest := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		resuming := client{shown: device.shown, serverName: "dev.test"}
		cache := tls.NewLRUClientSessionCache(4)
		resuming.change = func(c *tls.Config) { c.ClientSessionCache, c.MaxVersion = cache, newest }
		for range 3 {
			conn, err := e.connect(ports[""], resuming)
			if err != nil || conn.ConnectionState().DidResume {
				t.Errorf("TLS %x: %v, resumed", newest, err)
			} else if err := conn.alive(); err != nil { // tickets have come by now
				t.Error(err)
			}
		}
	}
}

// The example in Python says who a device is.
func TestPythonExample(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	port, at := envoytest.FreePort(t), envoytest.FreePort(t)
	cmd := exec.Command("python3", "-u", "../../proxytlv/example.py", itoa(at))
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if err := cmd.Start(); err != nil {
		t.Fatalf("python3: %v: install it", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ca := newDeviceCA(t, "devices", nil)
	e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, deviceApp("/devices", port, acmeOnly, &deviceServer{address: "127.0.0.1:" + itoa(at)}, "dev.test"))
	device := ca.device(t, nil, acme+"1")
	two := ca.device(t, func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0].JoinPath("x")) }, acme+"1")
	for _, tt := range []struct {
		shown tls.Certificate
		want  string
	}{{device, "you are " + acme + "1, certificate " + fingerprintOf(device) + ", from ('127.0.0.1', "}, {two, "you are None, certificate " + fingerprintOf(two)}} {
		var line string
		e.until(t, "the server answers", func() bool {
			var err error
			line, err = e.firstLine(port, as(tt.shown))
			return err == nil
		})
		if !strings.HasPrefix(line, tt.want) {
			t.Errorf("it says %q, want %q", line, tt.want)
		}
	}
	// Bytes that are no text stay what they are: else two names would be one.
	odd := "urn:\xff"
	header := []byte(proxyV2("203.0.113.7", 80) + string([]byte{byte(proxytlv.URIs), 0, byte(len(odd))}) + odd)
	header[15] += byte(3 + len(odd))
	if line, err := lineOf(dial(t, at), string(header)); !strings.HasPrefix(line, "you are "+odd+",") {
		t.Errorf("it says %q, %v, of bytes that are no text", line, err)
	}
}

// Whatever labels take for names of clients, Envoy takes too.
func TestOddClientNames(t *testing.T) {
	t.Parallel()
	e := startEnvoy(t, withoutHTTPS)
	ca, server := newDeviceCA(t, "devices", nil), e.deviceServer()
	var apps []*sources.App
	var last uint16
	odd := strings.Map(func(r rune) rune {
		if r == '*' || r == ',' {
			return -1
		}
		return r
	}, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
	for i, names := range []string{
		"uri:spiffe://" + odd + "*", "uri:(a+)+[b]\\E{*", "dns:dev* email:" + odd, "uri:" + strings.Repeat("x", 1024) + "*", "uri:" + odd, "dns:" + odd + "*",
		strings.TrimSpace(strings.Repeat("uri:spiffe://lab.test/"+strings.Repeat("x", 600)+"* ", 100)), "dns:" + strings.Repeat("a.", 38) + "test", "uri:" + acme + "*",
	} {
		last = envoytest.FreePort(t)
		app := set(t, serviceApp("/s"+itoa(uint16(i)), sources.TCP{}, "dev.test"), "TLS_TERMINATE=true", "PORT="+itoa(last), "BIND_ADDR=127.0.0.1", "CLIENT_CA=devices", "CLIENT_SAN="+names, "PROXY_PROTOCOL=v2")
		if app.Ports[0].TCP.ServiceTLS.Refused {
			t.Errorf("%.40q is not taken", names)
		}
		apps = append(apps, changed(app, func(p *sources.Port) { p.Endpoints = endpoints(server.address) }))
	}
	e.sync([]*certs.Authority{authorityOf("devices", nil, ca)}, apps...)
	_ = e.letsIn(t, last, as(ca.device(t, nil, acme+"1")))
	if rejected := e.store.Rejected(); len(rejected) > 0 {
		t.Errorf("rejected: %+v", rejected)
	}
}
