package envoy_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/sources"
)

// handshake connects to the https listener as a client of this kind.
func (e *realEnvoy) handshake(change func(*tls.Config)) (tls.ConnectionState, error) {
	config := e.ca.ClientTLS()
	config.ServerName = "app.test"
	change(config)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", e.fleet.HTTPS.String(), config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState(), nil
}

// startTLS starts an Envoy with one app, which has certificates with both kinds
// of keys.
func startTLS(t *testing.T, options ...func(*routing.Fleet, *certstest.CA)) *realEnvoy {
	t.Helper()
	t.Parallel()
	e := startEnvoy(t, options...)
	e.c.SyncCertificates("vault", []*certs.Certificate{
		e.certificate("app.test", "app.test"), e.issue("rsa.test", certstest.Options{KeyType: certstest.RSA2048}, "rsa.test"),
	}, nil)
	e.c.SyncApps([]*sources.App{e.app("/app", "app.test", "rsa.test")})
	for _, host := range []string{"app.test", "rsa.test"} {
		e.eventually(t, request{host: host, path: "/", tls: true, sni: host}, fromApp("/app"))
	}
	return e
}

// tlsClient is a client that can do one thing only, and whether Envoy takes it by default,
// and if it takes TLS 1.3 only.
type tlsClient struct {
	name           string
	client         func(*tls.Config)
	default12, in3 bool
}

func tlsClients() []tlsClient {
	only := func(version uint16, suites ...uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion, c.CipherSuites = version, version, suites }
	}
	rsa := func(suite uint16) func(*tls.Config) {
		return func(c *tls.Config) {
			only(tls.VersionTLS12, suite)(c)
			c.ServerName = "rsa.test"
		}
	}
	return []tlsClient{
		{"TLS 1.0", only(tls.VersionTLS10), false, false},
		{"TLS 1.1", only(tls.VersionTLS11), false, false},
		{"TLS 1.2", only(tls.VersionTLS12), true, false},
		{"TLS 1.3", only(tls.VersionTLS13), true, true},
		{"ECDHE, ECDSA, AES-128-GCM", only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256), true, false},
		{"ECDHE, ECDSA, AES-256-GCM", only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384), true, false},
		{"ECDHE, ECDSA, ChaCha20", only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256), true, false},
		{"ECDHE, RSA, AES-128-GCM", rsa(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), true, false},
		{"ECDHE, RSA, AES-256-GCM", rsa(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384), true, false},
		{"ECDHE, RSA, ChaCha20", rsa(tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256), true, false},
		{"ECDHE, ECDSA, AES-128-CBC", only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA), false, false},
		{"ECDHE, ECDSA, AES-256-CBC", only(tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA), false, false},
		{"ECDHE, RSA, AES-128-CBC", rsa(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), false, false},
		{"ECDHE, RSA, AES-128-CBC-SHA256", rsa(tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256), false, false},
		{"RSA key exchange, AES-128-GCM", rsa(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), false, false},
		{"RSA key exchange, AES-256-GCM", rsa(tls.TLS_RSA_WITH_AES_256_GCM_SHA384), false, false},
		{"RSA key exchange, AES-128-CBC", rsa(tls.TLS_RSA_WITH_AES_128_CBC_SHA), false, false},
		{"3DES", rsa(tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA), false, false},
	}
}

// What an Envoy takes by default, and from TLS 1.3 on: nothing that is broken or
// without forward secrecy.
func TestTLSVersionsAndCiphers(t *testing.T) {
	clients := tlsClients()
	for _, least := range []routing.TLSVersion{"", routing.TLS13} {
		t.Run("from "+string(least), func(t *testing.T) {
			e := startTLS(t, func(f *routing.Fleet, _ *certstest.CA) { f.TLS.MinVersion = least })
			for _, c := range clients {
				want := c.default12
				if least == routing.TLS13 {
					want = c.in3
				}
				// It must be Envoy that refuses.
				switch _, err := e.handshake(c.client); {
				case want && err != nil:
					t.Errorf("%s: %v", c.name, err)
				case !want && (err == nil || !strings.Contains(err.Error(), "remote error: tls")):
					t.Errorf("%s: %v, want it to be refused by Envoy", c.name, err)
				}
			}
			for offer, want := range map[string]string{
				"h2,http/1.1": "h2", "http/1.1": "http/1.1", "http/1.1,h2": "h2", "": "",
				// A first message that is larger than those of browsers.
				strings.Repeat("some-protocol,", 900) + "h2": "h2",
			} {
				state, err := e.handshake(func(c *tls.Config) {
					if offer != "" {
						c.NextProtos = strings.Split(offer, ",")
					}
				})
				if err != nil || state.NegotiatedProtocol != want {
					t.Errorf("a client that offers %q got %q, %v; want %q", offer, state.NegotiatedProtocol, err, want)
				}
			}
			for version, client := range map[int]bool{1: false, 2: true} {
				e.eventually(t, request{host: "app.test", path: "/", tls: true, sni: "app.test", http2: client},
					func(a answer) bool { return fromApp("/app")(a) && a.protocol == version })
			}
		})
	}
}
