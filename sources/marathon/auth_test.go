package marathon

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"relay/certs/certstest"
	"relay/internal/logtest"
	"relay/internal/secret"
	"relay/sources/marathon/marathontest"
)

// write puts a file into a directory of the test's own and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// replace gives a file another content at once, as tools that rotate secrets do.
func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// shows fails if anything that people see holds one of the secrets.
func shows(t *testing.T, w *Watcher, logged *logtest.Buffer, secrets ...string) {
	t.Helper()
	all := fmt.Sprintf("%s\n%+v\n%#v\n%+v\n%#v\n%+v\n%#v", logged, w.Status(), w.Status(), w.currentState(), w.currentState(), w.client.servers, w.client.servers)
	for _, secret := range secrets {
		if strings.Contains(all, secret) {
			t.Errorf("%q is shown in\n%s", secret, all)
		}
	}
}

func TestPasswordFileIsReadAgain(t *testing.T) {
	t.Parallel()
	m := marathontest.Start(t, marathontest.Options{Credentials: "relay:hunter2"})
	load(t, m, "/a")
	file := write(t, "password", "hunter2\n")
	cfg := fastConfig(m.URL())
	cfg.User, cfg.PasswordFile = "relay", file
	w, sink, logged := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	replace(t, file, "hunter3")
	m.SetCredentials("relay:hunter3")
	load(t, m, "/b")
	m.CutStreams()
	sink.await(t, "the new password", contains("/b "))
	shows(t, w, logged, "hunter2", "hunter3")
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	var valid atomic.Pointer[string]
	set := func(s string) { valid.Store(&s) }
	set("token=first.secret.token")
	m := marathontest.Start(t, marathontest.Options{Authorized: func(a string) bool { return a == *valid.Load() }})
	load(t, m, "/a")
	file := write(t, "token", "first.secret.token")
	cfg := fastConfig(m.URL())
	cfg.TokenFile = file
	w, sink, logged := watch(t, cfg)
	sink.await(t, "synced", contains("/a "))
	set("token=second.secret.token")
	replace(t, file, "second.secret.token\n")
	load(t, m, "/b")
	status(m, "/b")
	sink.await(t, "a single read with the new token", contains("/b "))
	set("neither")
	status(m, "/b")
	poll(t, "refused", func() bool { return strings.Contains(w.currentState().lastError, "401") })
	shows(t, w, logged, "secret")
}

// dcos is the login of DC/OS: it checks proofs and issues tokens.
type dcos struct {
	t      *testing.T
	key    *rsa.PrivateKey
	life   time.Duration
	body   bool // the token comes in the body, not as a cookie
	logins atomic.Int32
	refuse atomic.Bool

	mu    sync.Mutex
	valid map[string]bool
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newDCOS(t *testing.T) *dcos {
	return &dcos{t: t, key: testKey(), life: time.Hour, valid: map[string]bool{}}
}

func (d *dcos) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := d.logins.Add(1)
	var in struct {
		UID, Token string
		Exp        int64
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Method != http.MethodPost {
		d.t.Errorf("login: %s, %v", r.Method, err)
	}
	proof, err := jwt.ParseSigned(in.Token, []jose.SignatureAlgorithm{jose.RS256})
	var claims struct {
		UID string `json:"uid"`
		Exp int64  `json:"exp"`
	}
	if err == nil {
		err = proof.Claims(&d.key.PublicKey, &claims)
	}
	now := time.Now().Unix()
	if err != nil || in.UID != "relay" || claims.UID != "relay" || claims.Exp <= now || claims.Exp > now+600 || in.Exp <= now {
		d.t.Errorf("login: %v, uid %q and %q, exp %d and %d at %d", err, in.UID, claims.UID, in.Exp, claims.Exp, now)
	}
	if d.refuse.Load() {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	token := d.issue(fmt.Sprintf("secret%d", n))
	if d.body {
		_, _ = fmt.Fprintf(w, `{"token":%q}`, token)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: loginCookie, Value: token})
}

func (d *dcos) issue(name string) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: d.key}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(map[string]any{"uid": name, "exp": time.Now().Add(d.life).Unix()}).Serialize()
	if err != nil {
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.valid["token="+token] = true
	return token
}

func (d *dcos) authorized(authorization string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.valid[authorization]
}

func (d *dcos) revoke() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.valid)
}

// account returns the secret's file.
func (d *dcos) account(t *testing.T, endpoint string) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(d.key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{
		"uid": "relay", "scheme": "RS256", "login_endpoint": endpoint,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "account.json", string(data))
}

func TestServiceAccount(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]bool{"cookie": false, "body": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDCOS(t)
			d.body = body
			endpoint := httptest.NewServer(d)
			defer endpoint.Close()
			m := marathontest.Start(t, marathontest.Options{Authorized: d.authorized})
			load(t, m, "/a")
			cfg := fastConfig(m.URL())
			cfg.ServiceAccountFile = d.account(t, endpoint.URL+"/acs/api/v1/auth/login")
			w, sink, logged := watch(t, cfg)
			sink.await(t, "synced", contains("/a "))
			m.CutStreams()
			reload(t, w)
			if n := d.logins.Load(); n != 1 {
				t.Errorf("%d logins, want 1: a token is used until it ends", n)
			}
			d.revoke()
			load(t, m, "/b")
			m.CutStreams()
			sink.await(t, "logged in again", contains("/b "))
			if n := d.logins.Load(); n != 2 {
				t.Errorf("%d logins, want 2", n)
			}
			d.refuse.Store(true)
			d.revoke()
			m.CutStreams()
			poll(t, "refused", func() bool { return strings.Contains(w.currentState().lastError, "service account relay") })
			shows(t, w, logged, "secret", "token=", "PRIVATE", "eyJ")
		})
	}
}

// loginOf answers logins without network.
type loginOf struct{ d *dcos }

func (l loginOf) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	l.d.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		d := newDCOS(t)
		d.life = 10 * time.Minute
		account, err := readServiceAccount(d.account(t, "https://dcos.test/login"))
		if err != nil {
			t.Fatal(err)
		}
		account.http = &http.Client{Transport: loginOf{d}}
		last := ""
		for _, step := range []struct {
			after  time.Duration
			refuse bool
			logins int32
		}{{0, false, 1}, {7 * time.Minute, false, 1}, {90 * time.Second, false, 2}, {0, true, 3}, {time.Hour, false, 4}} {
			time.Sleep(step.after)
			refused := ""
			if step.refuse {
				refused = last
			}
			if last, err = account.authorization(t.Context(), refused); err != nil {
				t.Fatal(err)
			}
			if n := d.logins.Load(); n != step.logins {
				t.Errorf("%d logins after %+v", n, step)
			}
		}
		// One login serves all who wait for it.
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := account.authorization(t.Context(), last); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := d.logins.Load(); n != 5 {
			t.Errorf("%d logins, want 5", n)
		}
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := certstest.TestCA(t), certstest.TestCA(t)
	issued := ca.TestIssue(t, []string{"localhost"}, certstest.Options{})
	serverTLS, err := issued.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	mutual := serverTLS.Clone()
	mutual.ClientAuth = tls.RequireAnyClientCert
	caFile, otherFile := write(t, "ca.pem", string(ca.RootPEM())), write(t, "ca.pem", string(other.RootPEM()))
	certFile, keyFile := write(t, "cert.pem", string(issued.Leaf)), write(t, "key.pem", string(issued.Key))
	tests := []struct {
		name   string
		server *tls.Config
		set    func(*Config)
		fails  string
	}{
		{"authority", serverTLS, func(c *Config) { c.CAFile = caFile }, ""},
		{"another authority", serverTLS, func(c *Config) { c.CAFile = otherFile }, "unknown authority"},
		{"the system's authorities", serverTLS, func(*Config) {}, "unknown authority"},
		{"no verification", serverTLS, func(c *Config) { c.InsecureSkipTLSVerify = true }, ""},
		{"client certificate", mutual, func(c *Config) { c.CAFile, c.ClientCertFile, c.ClientKeyFile = caFile, certFile, keyFile }, ""},
		{"no client certificate", mutual, func(c *Config) { c.CAFile = caFile }, "certificate required"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := marathontest.Start(t, marathontest.Options{TLS: tt.server})
			load(t, m, "/a")
			cfg := fastConfig(strings.Replace(m.URL(), "127.0.0.1", "localhost", 1))
			tt.set(&cfg)
			w, sink, _ := watch(t, cfg)
			if tt.fails != "" {
				poll(t, "refused", func() bool { return strings.Contains(w.currentState().lastError, tt.fails) })
				return
			}
			sink.await(t, "synced", contains("/a "))
		})
	}
}

func TestNewRefusesWrongCredentials(t *testing.T) {
	t.Parallel()
	d := newDCOS(t)
	account := d.account(t, "https://dcos.test/login")
	good := write(t, "password", "hunter2")
	tests := []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"user alone", func(c *Config) { c.User = "u" }, "needs a password file"},
		{"password alone", func(c *Config) { c.PasswordFile = good }, "needs a password file"},
		{"colon", func(c *Config) { c.User, c.PasswordFile = "u:x", good }, "colon"},
		{"no file", func(c *Config) { c.User, c.PasswordFile = "u", good+"x" }, "no such file"},
		{"empty file", func(c *Config) { c.TokenFile = write(t, "t", " \n") }, "is empty"},
		{"two lines", func(c *Config) { c.TokenFile = write(t, "t", "hunter2\nhunter2") }, "more than one line"},
		{"two ways", func(c *Config) { c.TokenFile, c.ServiceAccountFile = good, account }, "more than one way"},
		{"no JSON", func(c *Config) { c.ServiceAccountFile = good }, "is not JSON"},
		{"no key", func(c *Config) {
			c.ServiceAccountFile = write(t, "a", `{"uid":"r","login_endpoint":"https://x/","private_key":"hunter2"}`)
		}, "not PEM"},
		{"no endpoint", func(c *Config) {
			c.ServiceAccountFile = write(t, "a", `{"uid":"r","login_endpoint":"https://u:hunter2@x/"}`)
		}, "login_endpoint"},
		{"scheme", func(c *Config) { c.ServiceAccountFile = write(t, "a", `{"scheme":"HS256"}`) }, "HS256"},
		{"no authority", func(c *Config) { c.CAFile = good }, "no certificate in it"},
		{"certificate alone", func(c *Config) { c.ClientCertFile = good }, "needs its key"},
		{"no certificate", func(c *Config) { c.ClientCertFile, c.ClientKeyFile = good, good }, "client certificate"},
	}
	for _, tt := range tests {
		cfg := Config{URLs: []string{"http://m"}}
		tt.set(&cfg)
		_, err := New(cfg, newRecorder(), slog.New(slog.DiscardHandler), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func FuzzTokenEnd(f *testing.F) {
	f.Add("a.eyJleHAiOjE3MDAwMDAwMDB9.b")
	f.Add("a.eyJleHAiOiIxIn0.b")
	f.Fuzz(func(t *testing.T, token string) {
		if end, ok := tokenEnd(secret.String(token)); ok && end.Unix() < 1 {
			t.Errorf("%q ends at %s", token, end)
		}
	})
}
