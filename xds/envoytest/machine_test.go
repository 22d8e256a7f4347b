package envoytest_test

import (
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	mapperv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/cert_mappers/sni/v3"
	selectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/cert_selectors/on_demand_secret/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"relay/xds/envoytest"
)

// rejected sends a response that Envoy must reject with these words.
func (e *testEnvoy) rejected(words, url string, resources ...named) {
	e.t.Helper()
	if rejection := e.send(url, resources); !strings.Contains(rejection, words) {
		e.t.Fatalf("Envoy says %q to %s %s, want %q", rejection, url, resources[0].name, words)
	}
}

// A listener whose port is taken is opened when the same bytes come after the port is free, and not
// before they come.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := newTestEnvoy(t, version)
		askForListeners(e)
		taken, err := net.Listen("tcp", e.at("n"))
		if err != nil {
			t.Fatal(err)
		}
		n := named{"n", "1", e.answering("n", good)}
		words := "n: cannot bind '" + e.at("n") + "': Address already in use\n"
		e.rejected(words, listeners.url, n)
		e.rejected(words, listeners.url, n)
		// The message has the reason for each, on a line of its own.
		far := e.answering("o", good)
		far.Address = socket("192.0.2.1", e.ports["o"])
		e.rejected(words+"o: cannot bind '192.0.2.1:", listeners.url, n, named{"o", "1", far})
		_ = taken.Close()
		e.reached(listeners)
		if got := servedListener(e, "n"); got != none {
			t.Fatalf("Envoy opened the listener by itself: %q", got)
		}
		e.accepted(listeners.url, n)
		e.served(listeners, "n", good)
	})
}

// occupy takes the port of a listener by a socket with SO_REUSEADDR, as most
// servers open theirs. It listens: connections wait unanswered.
func (e *testEnvoy) occupy(name string) (free func()) {
	e.t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	free = func() { _ = syscall.Close(fd) }
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		e.t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(e.ports[name]), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		e.t.Fatal(err)
	}
	if err := syscall.Listen(fd, 1); err != nil {
		e.t.Fatal(err)
	}
	return free
}

// logs waits until Envoy's log has words: it comes through a pipe.
func (e *testEnvoy) logs(words string) {
	e.t.Helper()
	for deadline := time.Now().Add(maxWait); !strings.Contains(e.envoy.Log(), words); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("Envoy does not log %q", words)
		}
	}
}

// A listener that waits for a certificate holds its port, but does not listen. If
// another program does meanwhile, the listener was acknowledged and is not open;
// only Envoy's log says so. The same bytes open it when the port is free.
func TestListenerAcknowledgedAndNotOpen(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := newTestEnvoy(t, version)
		askForListeners(e)
		waits := named{"tls", "1", e.tlsListener(chainWith(t, "n", &tlsv3.CommonTlsContext{
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: "n", SdsConfig: fromADS(noTimeout)}},
		}))}
		e.accepted(listeners.url, waits)
		e.awaitRequest(secrets.url, "n")
		free := e.occupy("")
		e.accepted(secrets.url, named{"n", "1", buildSecret(e, "n", good)})
		e.reached(listeners)
		e.logs("listener 'tls' failed: cannot listen() errno=98")
		free()
		if got := servedSecret(e, "n"); got != none {
			t.Errorf("the listener is open: %q", got)
		}
		if told := e.reconnect(listeners.url); told["tls"] != "1" {
			t.Errorf("Envoy tells %v on a new stream, want the listener that is not open too", told)
		}
		e.accepted(listeners.url, waits)
		e.served(secrets, "n", good)
	})
}

// Envoy keeps a secret that it rejected for what names it later: a listener that names it is
// rejected, until a good version comes. Meanwhile filter chains that exist serve the last good
// version.
func TestListenerOfARejectedSecret(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := newTestEnvoy(t, version)
		askForSecrets(e, "n")
		e.accepted(secrets.url, named{"n", "1", buildSecret(e, "n", good)})
		e.served(secrets, "n", good)
		e.rejected("Failed to load private key", secrets.url, named{"n", "2", buildSecret(e, "n", bad)})

		chain := func(name string) *listenerv3.FilterChain {
			return chainWith(t, name, &tlsv3.CommonTlsContext{TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secretOf(name)}})
		}
		e.accepted(listeners.url, named{"tls", "2", e.tlsListener(chain("n"), chain("o"))})
		e.awaitRequest(secrets.url, "o")
		e.accepted(secrets.url, named{"o", "1", buildSecret(e, "o", good)})
		e.served(secrets, "o", good)
		e.served(secrets, "n", good)

		changed := e.tlsListener(chain("n"), chain("o"))
		changed.PerConnectionBufferLimitBytes = wrapperspb.UInt32(1 << 16)
		e.rejected("Failed to load private key", listeners.url, named{"tls", "3", changed})
		e.rejected("Failed to load private key", listeners.url, named{"tls", "3", changed})
		e.served(secrets, "n", good)
		e.accepted(secrets.url, named{"n", "1", buildSecret(e, "n", good)})
		e.accepted(listeners.url, named{"tls", "3", changed})
		e.served(secrets, "n", good)
	})
}

// Envoy looks at the secrets of a filter chain when it has all of them. So it may acknowledge a bad
// one, and reject another one for it.
func TestOneSecretIsBlamedForAnother(t *testing.T) {
	t.Parallel()
	envoytest.ForEachVersion(t, func(t *testing.T, version string) {
		e := newTestEnvoy(t, version)
		askForListeners(e)
		e.accepted(listeners.url, named{"tls", "1", e.tlsListener(chainWith(t, "n", &tlsv3.CommonTlsContext{
			TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secretOf("n")},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
				ValidationContextSdsSecretConfig: secretOf("authorities"),
			},
		}))})
		e.awaitRequest(secrets.url, "n", "authorities")
		authorities := named{"authorities", "1", &tlsv3.Secret{Name: "authorities", Type: &tlsv3.Secret_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inline(string(e.ca.RootPEM()))},
		}}}
		e.accepted(secrets.url, named{"n", "1", buildSecret(e, "n", bad)})
		e.rejected("Failed to load private key", secrets.url, authorities)
		e.accepted(secrets.url, authorities) // seen before
		e.accepted(secrets.url, named{"n", "2", buildSecret(e, "n", good)})
		e.served(secrets, "n", good)
	})
}

// Certificates on demand are skipped like others. The oldest Envoy has none.
func TestRejectedSecretOnDemand(t *testing.T) {
	t.Parallel()
	e := newTestEnvoy(t, envoytest.Newest)
	askForListeners(e)
	selector := chainWith(t, "n", nil)
	// Not the filter that answers at once: it closes the connection while the
	// certificate is awaited.
	selector.Filters = []*listenerv3.Filter{filter(t, &hcmv3.HttpConnectionManager{
		StatPrefix: "http", HttpFilters: []*hcmv3.HttpFilter{router(t)},
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routesThatSay("hello")},
	})}
	selector.TransportSocket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: packed(t, &tlsv3.DownstreamTlsContext{
		CommonTlsContext: &tlsv3.CommonTlsContext{CustomTlsCertificateSelector: &corev3.TypedExtensionConfig{
			Name: "envoy.tls.certificate_selectors.on_demand_secret",
			TypedConfig: packed(t, &selectorv3.Config{ConfigSource: fromADS(noTimeout), CertificateMapper: &corev3.TypedExtensionConfig{
				Name: "envoy.tls.certificate_mappers.sni", TypedConfig: packed(t, &mapperv3.SNI{DefaultValue: "none"}),
			}}),
		}},
		DisableStatefulSessionResumption: true,
		SessionTicketKeysType:            &tlsv3.DownstreamTlsContext_DisableStatelessSessionResumption{DisableStatelessSessionResumption: true},
	})}
	e.accepted(listeners.url, named{"tls", "1", e.tlsListener(selector)})
	e.reached(listeners)
	secret := func(content string) named {
		s := buildSecret(e, "n", content).(*tlsv3.Secret)
		s.Name = "n.test"
		return named{s.Name, content, s}
	}
	asked := make(chan string)
	go func() { asked <- servedSecret(e, "n") }()
	e.awaitRequest(secrets.url, "n.test")
	e.accepted(secrets.url, secret(good))
	if got := <-asked; got != good {
		t.Fatalf("the client that asked first got %q", got)
	}
	e.rejected("Failed to load private key", secrets.url, secret(bad))
	e.accepted(secrets.url, secret(bad))
	if told := e.reconnect(secrets.url); told["n.test"] != bad {
		t.Errorf("Envoy tells %v on a new stream, want the one it skipped", told)
	}
	e.accepted(secrets.url, secret(bad))
	e.served(secrets, "n", good)
	e.accepted(secrets.url, secret(other))
	e.served(secrets, "n", other)
	e.rejected("Failed to load private key", secrets.url, secret(bad))
}
