package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/sources/marathon/marathontest"
)

// Secrets of these tests; all are found by this prefix.
const (
	hush         = "hush-"
	hushToken    = hush + "token"
	hushIssued   = hush + "issued-token"
	hushPassword = hush + "password"
)

// TestMarathonLogins reads a Marathon that wants to know who asks, by each
// way to log in, and by flag, environment and file.
func TestMarathonLogins(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	url, authority := guardedMarathon(t)
	caFile := write("ca.pem", string(authority))
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "dcos-acs-auth-cookie", Value: hushIssued})
	}))
	defer login.Close()
	password, token := write("password", hushPassword+"\n"), write("token", hushToken)
	wrong := write("wrong", hush+"wrong")
	account := write("account.json", serviceAccount(t, login.URL))
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want string // of what is wrong; empty when nothing is
	}{
		{name: "user", args: []string{"--marathon-user", "relay", "--marathon-password-file", password}},
		{name: "token", env: map[string]string{"RELAY_MARATHON_TOKEN_FILE": token}},
		{name: "service account", args: []string{"--config", write("relay.yaml", "marathon-service-account-file: "+account+"\n")}},
		{name: "userinfo", args: []string{"--marathon", strings.Replace(url, "https://", "https://relay:"+hushPassword+"@", 1)}},
		{name: "nobody", want: "401"},
		{name: "wrong password", args: []string{"--marathon-user", "relay", "--marathon-password-file", wrong}, want: "401"},
		{name: "wrong token", args: []string{"--marathon-token-file", wrong}, want: "401"},
		{name: "two ways", args: []string{"--marathon-token-file", token, "--marathon-service-account-file", account}, want: "more than one way to log in"},
		{name: "no file", args: []string{"--marathon-token-file", token + "x"}, want: "no such file"},
		{name: "no key", args: []string{"--marathon-service-account-file", token}, want: "is not JSON"},
		{name: "no authority", args: []string{"--marathon-token-file", token, "--marathon-ca-file", token}, want: "no certificate in it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			args := append([]string{"check"}, tt.args...)
			for name, value := range map[string]string{"--marathon": url, "--marathon-ca-file": caFile} {
				if !slices.Contains(args, name) {
					args = append(args, name, value)
				}
			}
			status, out, errs := command(t, args...)
			if (status == 0) != (tt.want == "") || !strings.Contains(out+errs, tt.want) || (status == 0 && !strings.Contains(out, "ok     marathon")) {
				t.Errorf("status %d, want %q:\n%s%s", status, tt.want, out, errs)
			}
			if strings.Contains(out+errs, hush) {
				t.Errorf("a secret is told:\n%s%s", out, errs)
			}
		})
	}
	if status, out, errs := command(t, "check", "--marathon", url, "--marathon-insecure-skip-tls-verify", "--marathon-token-file", token); status != 0 {
		t.Errorf("without verification: %d\n%s%s", status, out, errs)
	}
}

// guardedMarathon has one app, and lets in who has the secrets of these tests.
func guardedMarathon(t *testing.T) (url string, authority []byte) {
	t.Helper()
	ca := certstest.TestCA(t)
	serverTLS, err := ca.TestIssue(t, []string{"localhost"}, certstest.Options{}).ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("relay:"+hushPassword))
	m := marathontest.Start(t, marathontest.Options{TLS: serverTLS, Authorized: func(a string) bool {
		return a == basic || a == "token="+hushToken || a == "token="+hushIssued
	}})
	if err := m.Apply(oneApp); err != nil {
		t.Fatal(err)
	}
	// A task that starts is something to look at.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.WaitIdle(ctx); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(m.URL(), "127.0.0.1", "localhost", 1), ca.RootPEM()
}

// TestMarathonThatRepeats has a Marathon that gives back what it was sent.
func TestMarathonThatRepeats(t *testing.T) {
	m := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, password, _ := r.BasicAuth()
		_, _ = fmt.Fprintf(w, `{"message":%q}`, "not you: "+r.Header.Get("Authorization")+" "+password)
	}))
	defer m.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(hushToken), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--marathon", m.URL, "--marathon-token-file", token},
		{"--marathon", strings.Replace(m.URL, "http://", "http://relay:"+hushPassword+"@", 1)},
	} {
		status, out, errs := command(t, append([]string{"check"}, args...)...)
		if status == 0 || !strings.Contains(out, "403") || strings.Contains(out+errs, hush) {
			t.Errorf("status %d:\n%s%s", status, out, errs)
		}
	}
}

func serviceAccount(t *testing.T, endpoint string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"uid": "relay", "login_endpoint": endpoint, "scheme": "RS256",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
