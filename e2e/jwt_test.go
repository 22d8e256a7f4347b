package e2e

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"relay/certs/certstest"
)

// issuer signs tokens, and shows its public keys.
type issuer struct {
	*httptest.Server
	t    *testing.T
	mu   sync.Mutex
	keys map[string]*rsa.PrivateKey // that are shown
	down bool
	read int
}

// newIssuer starts one by HTTPS at localhost, with a certificate of an authority.
func newIssuer(t *testing.T, ca *certstest.CA) *issuer {
	i := &issuer{t: t, keys: map[string]*rsa.PrivateKey{"k1": rsaKey(t)}}
	issued := ca.TestIssue(t, []string{"localhost"}, certstest.Options{})
	certificate, err := tls.X509KeyPair(issued.Bundle(), issued.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	i.Server = httptest.NewUnstartedServer(i)
	i.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	i.StartTLS()
	t.Cleanup(i.Close)
	return i
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (i *issuer) jwks() []byte {
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	for id, key := range i.keys {
		set.Keys = append(set.Keys, map[string]string{"kty": "RSA", "alg": "RS256", "kid": id,
			"n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())})
	}
	text, _ := json.Marshal(set)
	return text
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.read++; i.down {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(i.jwks())
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token makes one; header and claims change what it says, and nil takes a claim away.
func (i *issuer) token(key *rsa.PrivateKey, header, claims map[string]any) string {
	h := map[string]any{"alg": "RS256", "kid": "k1"}
	c := map[string]any{"iss": "https://login.test", "aud": "shop", "sub": "joe", "exp": time.Now().Add(time.Hour).Unix(), "realm": map[string]any{"team": "blue"}}
	maps.Copy(h, header)
	maps.Copy(c, claims)
	for name, value := range c {
		if value == nil {
			delete(c, name)
		}
	}
	head, _ := json.Marshal(h)
	body, _ := json.Marshal(c)
	signed := encode(head) + "." + encode(body)
	sum := sha256.Sum256([]byte(signed))
	switch h["alg"] {
	case "none":
		return signed + "."
	case "HS256":
		mac := hmac.New(sha256.New, key.N.Bytes())
		mac.Write([]byte(signed))
		return signed + "." + encode(mac.Sum(nil))
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	return signed + "." + encode(signature)
}

func TestJWTLabels(t *testing.T) {
	w := newWorld(t)
	keys := newIssuer(t, w.certs.ca)
	w.relay.fleet.ExternalCA = w.certs.ca.RootPEM()
	host := strings.Replace(keys.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	w.start()
	jwt := func(url string, more ...string) []string {
		return append([]string{"RELAY_0_JWT_ISSUER", "https://login.test", "RELAY_0_JWT_JWKS", url, "RELAY_0_JWT_AUDIENCES", "shop admin"}, more...)
	}
	keys.mu.Lock()
	keys.down = true // when Envoy reads them first
	keys.mu.Unlock()
	w.marathon.deploy(
		app("/web", "a.test,*.zone.test", 1, jwt("https://"+host+"/keys", "RELAY_0_JWT_CLAIMS_TO_HEADERS", "sub: X-User, realm.team: X-Team, email: X-Email")...),
		app("/plain", "plain.test", 1, jwt("http://login.test/keys")...),
		app("/address", "address.test", 1, jwt("https://127.0.0.2/keys")...),
		app("/half", "half.test", 1, "RELAY_0_JWT_ISSUER", "https://login.test"),
		app("/admin", "part.test", 1, append(jwt("https://"+host+"/keys"), "HAPROXY_0_PATH", "/admin")...),
		app("/rest", "part.test", 1),
	)
	k1 := keys.keys["k1"]
	good := "Bearer " + keys.token(k1, nil, nil)
	w.clients.expect("http://a.test/", http.StatusUnauthorized, "")
	if a := w.clients.do("http://a.test/", "Authorization", good); a.status != http.StatusUnauthorized {
		t.Errorf("while there are no keys: status %d", a.status)
	}
	keys.mu.Lock()
	keys.down = false
	keys.mu.Unlock()
	w.eventually("a good token is let in", func() error { return ok(w.clients.do("http://a.test/", "Authorization", good)) })
	t.Run("tokens", func(t *testing.T) { w.tokensAreVerified(keys) })
	t.Run("headers", func(t *testing.T) { w.claimsAreTold(keys) })
	t.Run("two tokens", func(t *testing.T) { w.oneTokenReachesTheApp(keys) })
	for _, host := range []string{"plain.test", "address.test", "half.test"} {
		w.clients.expect("http://"+host+"/", http.StatusForbidden, "")
	}
	w.admin.problem("/plain", "is not asked by plain HTTP")
	w.admin.problem("/address", "has an IP address")
	w.admin.problem("/half", "needs JWT_JWKS and JWT_AUDIENCES")
	for _, path := range []string{"/admin", "//admin", "/%61dmin", "/;x/admin", "/./admin"} {
		if a := w.clients.do("http://part.test" + path); a.header.Get("X-App") != "" {
			t.Errorf("%s: goes to %s", path, a.header.Get("X-App"))
		}
	}
	// An issuer that is away keeps nobody out whose token is good.
	keys.Close()
	if a := w.clients.do("http://a.test/", "Authorization", good); a.status != http.StatusOK {
		t.Errorf("without the issuer: status %d", a.status)
	}
	w.envoy.accepted()
}

func (w *world) tokensAreVerified(keys *issuer) {
	k1, other := keys.keys["k1"], rsaKey(w.t)
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		token  string
		status int
	}{
		"good":          {keys.token(k1, nil, nil), 200},
		"no kid":        {keys.token(k1, map[string]any{"kid": ""}, nil), 200},
		"unknown kid":   {keys.token(k1, map[string]any{"kid": "k2"}, nil), 401},
		"other key":     {keys.token(other, nil, nil), 401},
		"none":          {keys.token(k1, map[string]any{"alg": "none"}, nil), 401},
		"HS256":         {keys.token(k1, map[string]any{"alg": "HS256"}, nil), 401},
		"expired":       {keys.token(k1, nil, map[string]any{"exp": time.Now().Add(-day).Unix()}), 401},
		"never expires": {keys.token(k1, nil, map[string]any{"exp": nil}), 401},
		"not yet":       {keys.token(k1, nil, map[string]any{"nbf": time.Now().Add(day).Unix()}), 401},
		"other issuer":  {keys.token(k1, nil, map[string]any{"iss": "https://evil.test"}), 401},
		"no issuer":     {keys.token(k1, nil, map[string]any{"iss": nil}), 401},
		"for another":   {keys.token(k1, nil, map[string]any{"aud": "other"}), 403},
		"for nobody":    {keys.token(k1, nil, map[string]any{"aud": nil}), 403},
		"for several":   {keys.token(k1, nil, map[string]any{"aud": []string{"other", "admin"}}), 200},
		"garbage":       {"a.b.c", 401},
		"empty":         {"", 401},
	} {
		for _, host := range hostsOf {
			a := w.clients.do("http://a.test/", "Host", host, "Authorization", "Bearer "+test.token)
			if a.status != test.status || (a.header.Get("X-App") != "") != (test.status == 200) {
				w.t.Errorf("%s, host %s: status %d by %q, want %d", name, host, a.status, a.header.Get("X-App"), test.status)
			}
		}
	}
	token := keys.token(k1, nil, nil)
	for _, header := range [][]string{{"Cookie", "access_token=" + token}, {"Authorization", "Basic " + token}, {"Authorization", token}} {
		if a := w.clients.do("http://a.test/?access_token="+token, header...); a.status != http.StatusUnauthorized {
			w.t.Errorf("%s: status %d", header[0], a.status)
		}
	}
	a := w.clients.do("http://a.test/", "Authorization", "Bearer "+keys.token(other, nil, nil))
	if why := a.header.Get("WWW-Authenticate"); !strings.Contains(why, `error="invalid_token"`) || a.header.Get("X-Relay-Error") != "unauthorized" {
		w.t.Errorf("refused with %v", a.header)
	}
}

func (w *world) claimsAreTold(keys *issuer) {
	good := "Bearer " + keys.token(keys.keys["k1"], nil, nil)
	got := w.clients.echoed(w.clients.do("http://a.test/", "Authorization", good, "X-User", "admin", "x_user", "admin", "X-Team", "red", "X-Email", "evil@a.test", "X_Email", "evil@a.test")).Headers
	if told := fmt.Sprint(got["X-User"], got["X-Team"]); told != "[joe] [blue]" {
		w.t.Errorf("the app is told %s", told)
	}
	for name := range got {
		if low := strings.ToLower(name); strings.Contains(low, "_") || low == "x-email" {
			w.t.Errorf("the app gets %s of its client", name)
		}
	}
	if got.Get("Authorization") != good {
		w.t.Errorf("the app does not get the token: %q", got.Get("Authorization"))
	}
}

// oneTokenReachesTheApp holds that the app gets no token that was not verified, beside one that was.
func (w *world) oneTokenReachesTheApp(keys *issuer) {
	good, forged := keys.token(keys.keys["k1"], nil, nil), keys.token(rsaKey(w.t), nil, map[string]any{"sub": "admin"})
	for _, lines := range [][]string{
		{"Bearer " + forged, "Bearer " + good}, {"Bearer " + good, "Bearer " + forged}, {"Bearer " + good + ", Bearer " + forged},
		{"bearer " + forged, "Bearer " + good}, {"BEARER " + forged + " Bearer " + good}, {"Bearer\t" + forged, "Bearer " + good},
		{"Bearer " + good, "bearer " + forged}, {"Bearer " + good + ";" + forged}, {"Bearer " + good + " " + forged},
		{"Basic am9lOnB3", "Bearer " + good}, {"Bearer " + good, "Basic am9lOnB3"}, {"Basic Bearer " + good}, {"bearer " + good}, {"Bearer  " + good + " "},
	} {
		var header []string
		for _, line := range lines {
			header = append(header, "Authorization", line)
		}
		if a := w.clients.do("http://a.test/", header...); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			w.t.Errorf("%q: status %d, and the app gets %q", lines, a.status, w.clients.echoed(a).Headers["Authorization"])
		}
	}
}
