package collatortest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"relay/certs"
	"relay/credentials"
	"relay/internal/problem"
	"relay/sources"
	"relay/sources/labels"
)

// Domains are those of random apps and certificates.
var Domains = []string{
	"a.test", "b.test", "x.a.test", "y.a.test", "x.b.a.test", "z.x.b.a.test", "b.a.test",
	"*.test", "*.a.test", "*.b.a.test", "*.other.test", "bad_one.test",
}

// Random makes random apps and certificates out of few names, so that they
// collide.
type Random struct{ *rand.Rand }

func (r Random) domains() []string {
	var domains []string
	for range r.IntN(4) {
		domains = append(domains, Domains[r.IntN(len(Domains))])
	}
	return domains
}

// App is a random app.
func (r Random) App() *sources.App {
	app := &sources.App{ID: []string{"/a", "/a_0", "/b", "/b/c", "/marathon-acme"}[r.IntN(5)]}
	for range r.IntN(4) {
		port := sources.Port{
			Groups:          [][]string{nil, {"external"}, {"external", "internal"}, {"internal"}}[r.IntN(4)],
			Domains:         r.domains(),
			RedirectToHTTPS: r.IntN(4) == 0,
		}
		if r.IntN(3) == 0 {
			port.ACMEDomains = r.domains()
		}
		port.Endpoints = r.Endpoints()
		if r.IntN(2) == 0 {
			r.settings(&port)
		}
		app.Ports = append(app.Ports, port)
	}
	app.Stopped, app.Gated = r.IntN(6) == 0, r.IntN(4) == 0
	if r.IntN(3) == 0 {
		app.Deployment = &sources.Deployment{
			Group:     []string{"g", "/b"}[r.IntN(2)],
			StartedAt: Time.Add(time.Duration(r.IntN(3)) * time.Hour), TargetInstances: r.IntN(3), Instances: r.IntN(3),
		}
	}
	return app
}

// Endpoints are up to two of five.
func (r Random) Endpoints() (es []sources.Endpoint) {
	for range r.IntN(3) {
		es = append(es, Endpoints(fmt.Sprintf("10.0.0.%d:1", r.IntN(5)))...)
	}
	return es
}

// Settings are values of each setting; those of a kind that shares domains
// come more often.
var Settings = [][2]string{
	{"PATH", "/a"}, {"PATH", "/a /b"}, {"PATH", "-i /A"}, {"PATH", "/"}, {"PATH", "none"}, {"BACKEND_WEIGHT", "1"}, {"BACKEND_WEIGHT", "-2"},
	{"CLUSTER_WEIGHT", "0"}, {"CLUSTER_WEIGHT", "3"}, {"CLUSTER_WEIGHT", "7"},
	{"AUTH", "r:u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}, {"AUTH", "r:u:$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"}, {"AUTH", "r:u:x"}, {"BACKEND_NETWORK_ALLOWED_ACL", "10.0.0.0/8 ::1"},
	{"BALANCE", "source"}, {"BALANCE", "uri"}, {"BALANCE", "hdr(a)"}, {"BALANCE", "url_param a"}, {"BALANCE", "random"}, {"HASH_POLICY", "cookie a"},
	{"HASH_POLICY", "path_segment 2"}, {"HASH_POLICY", "subdomain"},
	{"STICKY", "true"}, {"USE_HSTS", "true"}, {"HTTP_BACKEND_PROXYPASS_PATH", "/a.b"}, {"HTTP_BACKEND_REVPROXY_PATH", "/a"}, {"HTTP_BACKEND_REDIR", "/a"},
	{"TIMEOUT", "1s"}, {"IDLE_TIMEOUT", "0s"}, {"CONNECT_TIMEOUT", "1s"}, {"NUM_RETRIES", "0"}, {"RETRY_ON", "5xx"}, {"MAX_REQUESTS", "9"}, {"MAX_STREAM_DURATION", "1s"},
	{"MAX_CONNECTIONS", "9"}, {"MAX_PENDING_REQUESTS", "9"}, {"TLS", "true"}, {"TLS_VERIFY", "false"}, {"TLS_SNI", "a.test"}, {"HTTP2", "true"}, {"PROXY_PROTOCOL", "v2"},
	{"MODE", "tcp"}, {"MODE", "tcp"}, {"PORT", "80"}, {"PORT", "5432"}, {"PORT", "5433"}, {"BIND_ADDR", "::1"}, {"BIND_OPTIONS", "accept-proxy"},
	{"TLS_PASSTHROUGH", "true"}, {"TLS_PASSTHROUGH", "true"},
	{"AUTH_APP", "/a"}, {"AUTH_APP", "/b /auth"}, {"AUTH_APP_RESPONSE_HEADERS", "X-User"}, {"AUTH_APP_REQUEST_HEADERS", "X-Key"}, {"AUTH_APP_TIMEOUT", "1s"},
	{"JWT_ISSUER", "https://login.test"}, {"JWT_ISSUER", "https://login.test"}, {"JWT_JWKS", "https://login.test/keys"}, {"JWT_JWKS", "https://login.test/keys"},
	{"JWT_AUDIENCES", "shop"}, {"JWT_AUDIENCES", "*"}, {"JWT_CLAIMS_TO_HEADERS", "sub: X-User"},
	{"OIDC_CLIENT_ID", "web"}, {"OIDC_CLIENT_SECRET", "oidc"}, {"OIDC_AUTHORIZATION_ENDPOINT", "https://id.test/a"}, {"OIDC_TOKEN_ENDPOINT", "http://id.test/t"},
	{"OIDC_END_SESSION_ENDPOINT", "https://id.test/b"}, {"OIDC_SCOPES", "email"}, {"OIDC_CALLBACK_PATH", "/a/back"}, {"OIDC_SIGN_OUT_PATH", "/a/out"}, {"OIDC_CLIENT_AUTH", "post"}, {"OIDC_FORWARD_TOKEN", "true"},
	{"USED_BY", "*"}, {"USED_BY", "/b"}, {"PROBE", "/health 200"}, {"PROBE", "tcp"}, {"PROBE", "off"}, {"ACCEPT_RATE", "50/s"}, {"ADDRESS_RATE", "20/s"},
	{"HOLD", "30s"}, {"HOLD", "5m"}, {"TLS_ALPN", "postgresql"}, {"MAX_CONNECTION_AGE", "24h"}, {"REBALANCE", "10%/min"},
	{"PROTOCOL", "redis"}, {"PROTOCOL", "redis"}, {"REDIS_PASSWORD", "here"}, {"REDIS_PASSWORD", "gone"}, {"REDIS_SERVER_PASSWORD", "here"}, {"REDIS_PREFIXES", "a: /a"}, {"REDIS_PREFIXES", "a: /b/c, b: /a"},
	{"TLS_TERMINATE", "true"}, {"TLS_TERMINATE", "true"}, {"CLIENT_CA", "devices"}, {"CLIENT_CA", "others"}, {"CLIENT_SAN", "uri:spiffe://lab.test/*"},
	{"CLIENT_CERTIFICATES", "optional"}, {"TLS_PROFILE", "old"},
	{"REDIRECT", "a.test -> https://b.test\n/a/* -> /b/*"}, {"PATH_REWRITE", `/(.*) -> /x/\1`}, {"HOST_REWRITE", "x.test"},
	{"CORS_ORIGINS", "https://a.test https://*.b.test"}, {"CORS_ORIGINS", "*"}, {"CORS_METHODS", "PUT"}, {"CORS_HEADERS", "a"}, {"CORS_EXPOSE_HEADERS", "b"}, {"CORS_CREDENTIALS", "true"}, {"CORS_MAX_AGE", "1h"},
	{"COMPRESS", "true"}, {"COMPRESS", "gzip"}, {"STICKY_HEADER", "x-s"}, {"PRIORITY", "/a /c"}, {"OUTLIER_DETECTION", "5 30s"}, {"MIRROR", "/b 1%"}, {"MIRROR", "/a 5%, /b/c 1%"}, {"FAULT", "delay 1s 1%"}, {"FAULT", "abort 503 1%"},
	{"RATE_LIMIT", "100/s burst 200"}, {"RATE_LIMIT_PER_CLIENT", "10/m by header a"}, {"MAX_REQUEST_BODY", "10MB"}, {"MAX_REQUEST_HEADERS", "16kB"},
	{"CONCURRENCY", "1"}, {"QUEUE", "5"}, {"QUEUE_TIMEOUT", "1s"},
	{"REQUEST_HEADERS_TO_ADD", "a: %b"}, {"REQUEST_HEADERS_TO_REMOVE", "c"}, {"RESPONSE_HEADERS_TO_ADD", "a: b"}, {"RESPONSE_HEADERS_TO_REMOVE", "c"},
}

// oidcSettings have an effect together alone.
var oidcSettings = [][2]string{{"OIDC_CLIENT_ID", "web"}, {"OIDC_CLIENT_SECRET", "oidc"}, {"OIDC_AUTHORIZATION_ENDPOINT", "https://id.test/a"}, {"OIDC_TOKEN_ENDPOINT", "http://id.test/t"}}

func (r Random) settings(port *sources.Port) {
	p := labels.NewSettings()
	for range r.IntN(5) {
		s := Settings[r.IntN(len(Settings))]
		p.Set(s[0], s[1])
	}
	if r.IntN(5) == 0 {
		for _, s := range oidcSettings {
			p.Set(s[0], s[1])
		}
	}
	port.TCP = p.TCP(uint16(r.IntN(3)), len(port.Domains) > 0)
	port.Queue, port.UsedBy = p.Queue(), p.UsedBy()
	port.HTTP, port.Upstream, _ = p.Finish()
	if r.IntN(6) == 0 {
		port.HTTP = r.matching(port.HTTP)
	}
	if r.IntN(8) == 0 && (port.TCP == nil || port.TCP.Port == 0) {
		// What no setting lets through is left out of what it is a part of. The listener of a service is a
		// part of nothing: it stays as it was published before, which a fresh start cannot know.
		var odd sources.HTTP
		if port.HTTP != nil {
			odd = *port.HTTP
		}
		never := -time.Second
		odd.IdleTimeout = &never
		port.HTTP = &odd
	}
}

// Certificates are up to three: valid, expired, or not valid yet.
func (r Random) Certificates() []*certs.Certificate {
	var all []*certs.Certificate
	for i := range r.IntN(4) {
		c := Certificate(fmt.Sprint("c", i), fmt.Sprint(r.IntN(3), i), Domains[r.IntN(10)], Domains[r.IntN(10)])
		slices.Sort(c.ServerNames)
		c.ServerNames = slices.Compact(c.ServerNames)
		c.Default = r.IntN(5) == 0
		c.Kind = []certs.Kind{certs.RSA, certs.ECDSA, certs.ECDSA}[r.IntN(3)]
		switch r.IntN(4) {
		case 0:
			c.NotAfter = Time.Add(-time.Minute)
		case 1:
			c.NotBefore = Time.Add(time.Minute)
		}
		all = append(all, c)
	}
	return all
}

// Authorities are up to two, with lists or without.
func (r Random) Authorities() []*certs.Authority {
	var all []*certs.Authority
	for _, name := range []string{"devices", "others"} {
		if r.IntN(3) > 0 {
			a := &certs.Authority{Source: "vault", Name: name, Certificates: fmt.Appendf(nil, "authority %d", r.IntN(2)), NotAfter: Time.AddDate(1, 0, 0)}
			if r.IntN(2) == 0 {
				a.Revoked, a.RevokedUntil = fmt.Appendf(nil, "list %d", r.IntN(3)), Time.Add(time.Duration(r.IntN(3)-1)*time.Hour)
			}
			all = append(all, a)
		}
	}
	return all
}

// Sink is a Collator.
type Sink interface {
	sources.Sink
	certs.Sink
	certs.AuthoritySink
	credentials.Sink
}

// Credentials are some of those that random apps look for.
func (r Random) Credentials() (all []*credentials.Credential) {
	for _, path := range []string{"oidc", "a/oidc", "b/oidc", "b/c/oidc", "b/"} {
		if r.IntN(2) == 0 {
			value := fmt.Appendf(nil, "secret of a client %d", r.IntN(2))
			if path == "b/" {
				value = nil
			}
			all = append(all, &credentials.Credential{Source: "dir", Path: path, Value: value})
		}
	}
	return all
}

// Say lets some sources say something.
func (r Random) Say(c Sink) {
	for range 1 + r.IntN(3) {
		switch r.IntN(10) {
		case 4:
			c.SyncCredentials("dir", r.Credentials(), []problem.Problem{{Subject: "a/oidc", Reason: "is empty"}}[:r.IntN(2)])
		case 0:
			// A complete read has each app once.
			apps := make(map[string]*sources.App)
			for range r.IntN(6) {
				app := r.App()
				apps[app.ID] = app
			}
			c.SyncApps(slices.Collect(maps.Values(apps)))
		case 1:
			c.UpdateApps(nil, []string{r.App().ID})
		case 3:
			c.SyncAuthorities("vault", r.Authorities(), []problem.Problem{{Subject: "authority bad", Reason: "no PEM"}}[:r.IntN(2)])
		case 2:
			c.SyncCertificates("vault", r.Certificates(), []problem.Problem{{Subject: "bad", Reason: "no PEM"}}[:r.IntN(2)])
		default:
			c.UpdateApps([]*sources.App{r.App()}, nil)
		}
	}
}

// NewRandom returns a Random whose choices depend on its arguments alone.
func NewRandom(seed, sequence uint64) Random { return Random{rand.New(rand.NewPCG(seed, sequence))} }
