package e2e

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/certs"
	"relay/certs/certstest"
	"relay/certs/vault/vaulttest"
	"relay/collator"
	"relay/internal/relay"
)

// Secrets of TestNothingSecretIsTold; all are found by this prefix.
const (
	hush         = "hush-"
	hushToken    = hush + "token"
	hushIssued   = hush + "issued-token"
	hushSecretID = hush + "secret-id"
	hushJWT      = hush + "jwt"
	hushPassword = hush + "password"
	hushTickets  = hush + "tickets-secret"
)

// TestNothingSecretIsTold leads Relay through all that can go wrong with
// certificates, with a Vault that repeats what it was sent and a Marathon that
// cannot be reached, and looks for secrets in everything that people can see.
func TestNothingSecretIsTold(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "credential")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, login := range map[string]func(*relay.Config){
		"token":      func(c *relay.Config) { c.Certificates.Vault.Token = hushToken },
		"token file": func(c *relay.Config) { c.Certificates.Vault.TokenFile = file(hushToken) },
		"AppRole": func(c *relay.Config) {
			c.Certificates.Vault.AppRole.RoleID, c.Certificates.Vault.AppRole.SecretIDFile = "role", file(hushSecretID+"\n")
		},
		"Kubernetes": func(c *relay.Config) {
			c.Certificates.Vault.Kubernetes.Role, c.Certificates.Vault.Kubernetes.TokenFile = "role", file(hushJWT+"\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			v := newHostileVault(t, w.certs.ca)
			login(&w.relay.config)
			w.relay.config.Certificates.Vault.Addresses, w.relay.config.Certificates.Vault.Mount = []string{v.url, "http://127.0.0.1:1"}, "secret"
			w.relay.config.Apps.Marathon.URLs = []string{"http://relay:" + hushPassword + "@127.0.0.1:1"}
			badFiles(w, v)
			w.relay.config.SessionTicketKeyFile = file(hex.EncodeToString([]byte(ticketSecret)))
			w.relay.config.Certificates.OnRead = panicOnce()
			w.relay.start()
			badTicketSecrets(w, v)
			seen := ""
			for _, mode := range v.modes() {
				v.mode.Store(&mode)
				status, body := w.admin.post("usr1")
				if (status < 300) != mode.good && !mode.panics {
					t.Errorf("%s: the hook answered %d: %s", mode.name, status, body)
				}
				seen += body + w.admin.pages()
			}
			seen += w.relay.log.String() + fmt.Sprintf("%+v %+v", w.relay.running.Problems(), w.relay.running.Sources())
			if !strings.Contains(w.relay.log.String(), "a part panicked and is started again") {
				t.Error("the panic is not in the log")
			}
			if !strings.Contains(seen, "relay_certificate_expiry_timestamp_seconds") {
				t.Error("the pages have no metrics of certificates")
			}
			v.tellsNone(t, seen)
		})
	}
}

// relay check and a wrong address tell none either.
func TestNoSecretOnTheCommandLine(t *testing.T) {
	t.Parallel()
	v := newHostileVault(t, certstest.TestCA(t))
	apps := filepath.Join(t.TempDir(), "apps.yaml")
	if err := os.WriteFile(apps, []byte("apps: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := []string{"VAULT_TOKEN=" + hushToken}
	for _, address := range []string{"http://user:" + hushPassword + "@127.0.0.1:1", "http://user:" + hushPassword + "@\x7f", "user:" + hushPassword + "@127.0.0.1:1"} {
		for _, name := range []string{"check", "serve"} {
			status, out, errs := commandIn(t, token, name, "--source-file", apps, "--vault-addr", address)
			if status == 0 || !strings.Contains(out+errs, "--vault-addr") {
				t.Errorf("%s: status %d: %s%s", name, status, out, errs)
			}
			v.tellsNone(t, out+errs)
		}
	}
	for _, mode := range v.modes() {
		v.mode.Store(&mode)
		status, out, errs := commandIn(t, token, "check", "--source-file", apps, "--vault-addr", v.url)
		if status == 0 || !strings.Contains(out, "wrong  ") { // even the best mode has bad certificates
			t.Errorf("%s: status %d: %s%s", mode.name, status, out, errs)
		}
		v.tellsNone(t, out+errs)
	}
}

// badFiles puts private keys where they do harm into the directory.
func badFiles(w *world, v *hostileVault) {
	w.t.Helper()
	w.certs.write("good.test.pem", v.good.Bundle())
	w.certs.write("mismatch.pem", certstest.Join(v.bad.Key, v.good.Leaf))
	w.certs.write("half.pem", v.bad.Key[:150])
	w.certs.write("label.pem", []byte(strings.ReplaceAll(string(v.bad.Bundle()), "PRIVATE KEY", "CERTIFICATE")))
	w.certs.write("type.pem", []byte(strings.ReplaceAll(string(v.bad.Bundle()), "PRIVATE KEY", "SECRET THING")))
	if err := os.Chmod(filepath.Join(w.certs.dir, "good.test.pem"), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// badTicketSecrets puts secrets of tickets that cannot be used, and then another
// one, in place of the first.
func badTicketSecrets(w *world, v *hostileVault) {
	w.t.Helper()
	for _, content := range []string{hushTickets, hex.EncodeToString([]byte(ticketSecret))[1:], ticketSecret + ticketSecret, string(v.bad.Key)} {
		replace(w.t, w.relay.config.SessionTicketKeyFile, []byte(content))
		w.admin.problem("session-ticket-key-file", "want 32 random bytes")
	}
	replace(w.t, w.relay.config.SessionTicketKeyFile, []byte(otherSecret))
	w.eventually("the other secret is read", func() error {
		if !strings.Contains(w.relay.log.String(), "read again") {
			return errors.New("it is not in the log")
		}
		return nil
	})
}

// ticketFinds are the forms in which secrets of tickets and the keys made of them
// might be told.
func ticketFinds(t *testing.T) (finds []string) {
	t.Helper()
	for _, secret := range []string{ticketSecret, otherSecret} {
		all := [][]byte{[]byte(secret)}
		period := collator.TicketPeriod(time.Now())
		for _, p := range []int64{period - 1, period} {
			keys, err := collator.TicketKeys([]byte(secret), "external", p)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				all = append(all, key)
			}
		}
		for _, bytes := range all {
			// Any part that is long enough to be of use.
			for piece := range slices.Chunk(bytes, 15) {
				if len(piece) < 8 {
					continue
				}
				finds = append(finds, string(piece), hex.EncodeToString(piece), base64.RawStdEncoding.EncodeToString(piece), strings.Trim(fmt.Sprint(piece), "[]"))
			}
		}
	}
	return finds
}

// hostileVault is a Vault that says back whatever it was told.
type hostileVault struct {
	url       string
	good, bad *certstest.Issued
	mode      atomic.Pointer[hostility]
}

// hostility is one way to answer; without answer it is a good Vault's.
type hostility struct {
	name   string
	good   bool
	answer func(w http.ResponseWriter, told string)
	// panics is set where a read panics; it may not be the one that the hook
	// waits for.
	panics bool
}

func newHostileVault(t *testing.T, ca *certstest.CA) *hostileVault {
	v := &hostileVault{
		good: ca.TestIssue(t, []string{"good.test"}, certstest.Options{}),
		bad:  ca.TestIssue(t, []string{"bad.test"}, certstest.Options{}),
	}
	v.mode.Store(&hostility{answer: func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusTeapot) }})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told := fmt.Sprintf("%s %s", r.Header.Get("X-Vault-Token"), body)
		if mode := v.mode.Load(); mode.answer != nil {
			mode.answer(w, told)
			return
		}
		v.serve(w, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(server.Close)
	v.url = server.URL
	return v
}

// modes end with a Vault that works, whose first read panics.
func (v *hostileVault) modes() []hostility {
	status := func(code int) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, told string) {
			body, _ := json.Marshal(map[string]any{"errors": []string{"not " + told, "nor " + told + strings.Repeat(" "+told, 100)}})
			w.WriteHeader(code)
			_, _ = w.Write(body)
		}
	}
	raw := func(format string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, told string) { _, _ = fmt.Fprintf(w, format, told) }
	}
	modes := []hostility{
		{name: "garbage", answer: raw("<html>%s</html>")},
		{name: "half of JSON", answer: raw(`{"data":{"data":{"%s`)},
		{name: "JSON of another kind", answer: raw(`{"data":"%s","auth":"%[1]s","errors":"%[1]s"}`)},
		{name: "redirect", answer: func(w http.ResponseWriter, told string) {
			w.Header().Set("Location", "http://"+hush+"user:"+hush+"pw@127.0.0.1:1/?t="+strings.Fields(told + " x")[0])
			w.WriteHeader(http.StatusTemporaryRedirect)
		}},
		{name: "broken connection", answer: func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }},
		{name: "broken answer", answer: func(w http.ResponseWriter, told string) {
			w.Header().Set("Content-Length", "9999")
			_, _ = io.WriteString(w, told)
			panic(http.ErrAbortHandler)
		}},
	}
	for _, code := range []int{400, 401, 403, 404, 412, 418, 429, 500, 503} {
		modes = append(modes, hostility{name: fmt.Sprint(code), answer: status(code)})
	}
	return append(modes, hostility{name: "works, the first read panics", panics: true}, hostility{name: "works", good: true})
}

// serve is a Vault with good and bad certificates.
func (v *hostileVault) serve(w http.ResponseWriter, r *http.Request) {
	reply := func(data any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"data": data, "metadata": map[string]any{"version": 1}}})
	}
	entry := func(key, leaf *certstest.Issued) map[string]any {
		return map[string]any{"privkey": string(key.Key), "cert": string(leaf.Leaf), "chain": string(leaf.Chain)}
	}
	switch r.URL.Path {
	case "/v1/auth/approle/login", "/v1/auth/kubernetes/login":
		_, _ = fmt.Fprintf(w, `{"auth":{"client_token":%q,"lease_duration":3600,"renewable":true}}`, hushIssued)
	case "/v1/secret/data/live":
		good, _ := vaulttest.LiveEntry(1, v.good)
		reply(map[string]any{"good.test": good, "mismatch.test": good, "swapped.test": good, "bad.test": string(v.bad.Key), "object.test": entry(v.bad, v.bad)})
	case "/v1/secret/data/certificates/good.test":
		reply(entry(v.good, v.good))
	case "/v1/secret/data/certificates/mismatch.test":
		reply(entry(v.bad, v.good))
	case "/v1/secret/data/certificates/swapped.test":
		reply(map[string]any{"privkey": string(v.bad.Leaf), "cert": string(v.bad.Key), "chain": strings.ReplaceAll(string(v.bad.Key), "PRIVATE KEY", "CERTIFICATE")})
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[]}`)
	}
}

// tellsNone looks for secrets in what people can see.
func (v *hostileVault) tellsNone(t *testing.T, seen string) {
	t.Helper()
	find := append(ticketFinds(t), hush, base64.StdEncoding.EncodeToString([]byte("relay:"+hushPassword)))
	for _, issued := range []*certstest.Issued{v.good, v.bad} {
		for line := range strings.SplitSeq(string(issued.Key), "\n") {
			if len(line) > 20 && line[0] != '-' {
				// Any part that is long enough to be of use.
				find = append(find, slices.Collect(pieces(line, 20))...)
			}
		}
	}
	for _, secret := range find {
		if at := strings.Index(seen, secret); at >= 0 {
			t.Errorf("a secret was told: %q", seen[max(0, at-100):min(len(seen), at+100)])
		}
	}
}

// pieces yields the whole pieces of a text.
func pieces(text string, length int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for ; len(text) >= length; text = text[length:] {
			if !yield(text[:length]) {
				return
			}
		}
	}
}

// panicOnce panics at the first certificate of Vault, once, and prints it.
func panicOnce() func(source string, all []*certs.Certificate) {
	var once sync.Once
	return func(source string, all []*certs.Certificate) {
		if source == "vault" && len(all) > 0 {
			once.Do(func() { panic(fmt.Sprintf("cannot take %+v %#v", *all[0], *all[0])) })
		}
	}
}
