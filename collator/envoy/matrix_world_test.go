package envoy_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"

	"relay/certs"
	"relay/certs/certstest"
	"relay/collator/routing"
	"relay/credentials"
	"relay/scaling/queue"
	"relay/sources"
	"relay/xds/envoytest"
)

// matrix is one Envoy with many apps, whose instances note which request reached them.
type matrix struct {
	*realEnvoy
	server *http.Server
	names  sync.Map // the app, by the port of its instance
	seen   sync.Map // *sight, by what the request is called and the app
	asked  sync.Map // the number of requests for which an app was asked about its queue
	number atomic.Int64
	apps   []*sources.App
	values *strings.Replacer
	token  string
}

// sight is a request as an app saw it.
type sight struct {
	app, host, uri, instance string
	header                   http.Header
}

func startMatrix(t *testing.T, version string) *matrix {
	m := &matrix{server: &http.Server{Protocols: &http.Protocols{}, ReadHeaderTimeout: time.Minute}}
	m.server.Protocols.SetHTTP1(true)
	m.server.Protocols.SetUnencryptedHTTP2(true)
	m.server.Handler = m
	t.Cleanup(func() { _ = m.server.Close() })
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	keys := jwksOf(key)
	m.token = tokenOf(t, key)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(keys) }))
	t.Cleanup(outside.Close)
	m.values = strings.NewReplacer("{outside}", outside.URL)
	limits := m.rateLimits(t)
	m.realEnvoy = startEnvoyWith(t, envoytest.Options{Version: version}, behindProxy, func(f *routing.Fleet, _ *certstest.CA) {
		// Apps do not sleep while older Envoys are connected.
		f.Scaling = version == envoytest.Newest
		f.Faults, f.ExtendedConnect, f.RateLimitService = true, true, limits
		f.ExternalHosts = []string{outside.Listener.Addr().String()}
	})
	m.queued.others = func(app string) (queue.Port, bool) {
		n, _ := m.asked.LoadOrStore(app, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		if routed := m.c.Routed(app); routed != nil {
			return queue.Port{Queue: routed.Ports[0].Queue, Endpoints: []netip.AddrPort{routed.Ports[0].Endpoints[0].Address}}, true
		}
		return queue.Port{}, false
	}
	m.c.SyncCertificates("vault", []*certs.Certificate{m.certificate("all", "*.test")}, nil)
	m.c.SyncCredentials("dir", []*credentials.Credential{
		{Source: "dir", Path: "matrix/keys", Value: keys}, {Source: "dir", Path: "matrix/oidc", Value: []byte(clientSecret)},
	}, nil)
	m.add("/matrix/sso")
	m.add("/matrix/copy")
	return m
}

// add adds an app with instances of its own.
func (m *matrix) add(id string, domains ...string) *sources.App {
	return m.addRow(row{}, id, domains)
}

// addRow adds an app that asks for what rows ask for.
func (m *matrix) addRow(r row, id string, domains []string, settings ...string) *sources.App {
	m.t.Helper()
	for _, s := range r.settings {
		settings = append(settings, m.values.Replace(s))
	}
	app := set(m.t, webApp(id, domains...), settings...)
	var addresses []string
	for range max(1, r.instances) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			m.t.Fatal(err)
		}
		m.names.Store(l.Addr().String(), id)
		go func() { _ = m.serve1(l) }()
		addresses = append(addresses, l.Addr().String())
	}
	app = changed(app, func(p *sources.Port) {
		p.Endpoints = endpoints(addresses...)
		for _, change := range r.changes {
			change(p)
		}
	})
	app.Gated, app.Maintenance = r.gated, r.maintenance
	m.apps = append(m.apps, app)
	return app
}

func (m *matrix) serve1(l net.Listener) error { return m.server.Serve(l) }

// ready waits until Envoy has all apps.
func (m *matrix) ready(t *testing.T) {
	t.Helper()
	m.add("/matrix/zz-last", "zz-last.test")
	m.c.SyncApps(m.apps)
	m.eventually(t, request{host: "zz-last.test", path: "/"}, status(200))
	m.eventually(t, request{host: "zz-last.test", path: "/", tls: true, sni: "zz-last.test"}, status(200))
	m.settled(t)
}

// ServeHTTP implements http.Handler: it is every instance, and the app that is asked about requests.
func (m *matrix) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	name, _ := m.names.Load(address)
	app, _ := name.(string)
	if app == "/matrix/sso" {
		user, err := r.Cookie("user")
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-User", user.Value)
		return
	}
	m.seen.Store(r.Header.Get("X-Matrix")+" "+app, &sight{app: app, host: r.Host, uri: r.RequestURI, instance: address, header: r.Header.Clone()})
	m.seen.LoadOrStore(r.Header.Get("X-Matrix"), app)
	h := w.Header()
	h.Set("X-App", app)
	h.Set("X-Gone", "app")
	h.Set("Location", "/there")
	h.Set("Content-Type", "text/plain")
	switch {
	case r.Header.Get("Upgrade") == "websocket":
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err == nil {
			_, _, _ = ws.Read(r.Context())
			_ = ws.CloseNow()
		}
	case strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
		h.Set("Content-Type", "application/grpc")
		h.Set("Trailer", "Grpc-Status")
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = w.Write(make([]byte, 5))
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
		h.Set("Grpc-Status", "0")
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "app "+app+"\n"+strings.Repeat("text ", 400))
	}
}

// sightOf returns how an app saw a request; nil if it did not.
func (m *matrix) sightOf(id, app string) *sight {
	if s, ok := m.seen.Load(id + " " + app); ok {
		return s.(*sight)
	}
	return nil
}

// reached is one of the apps that a request reached; empty if it reached none.
func (m *matrix) reached(id string) string {
	app, _ := m.seen.Load(id)
	name, _ := app.(string)
	return name
}

// rateLimits is a service that counts requests: those to apps whose names end with "service" are too many.
type rateLimits struct {
	ratelimitv3.UnimplementedRateLimitServiceServer
}

// ShouldRateLimit implements Envoy's service.
func (rateLimits) ShouldRateLimit(_ context.Context, r *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	answer := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}
	for _, d := range r.Descriptors {
		for _, e := range d.Entries {
			if strings.Contains(e.Value, "rate-service") {
				answer.OverallCode = ratelimitv3.RateLimitResponse_OVER_LIMIT
			}
		}
	}
	return answer, nil
}

func (m *matrix) rateLimits(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	ratelimitv3.RegisterRateLimitServiceServer(g, rateLimits{})
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
	return l.Addr().String()
}

func encoded64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwksOf(key *rsa.PrivateKey) []byte {
	return fmt.Appendf(nil, `{"keys":[{"kty":"RSA","alg":"RS256","kid":"k","n":%q,"e":%q}]}`, encoded64(key.N.Bytes()), encoded64(big.NewInt(int64(key.E)).Bytes()))
}

// tokenOf is a good token.
func tokenOf(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	claims, _ := json.Marshal(map[string]any{"iss": "https://login.test", "aud": "shop", "sub": "joe", "exp": time.Now().Add(time.Hour).Unix()})
	signed := encoded64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + encoded64(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encoded64(signature)
}
