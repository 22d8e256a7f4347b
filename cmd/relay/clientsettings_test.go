package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/admin/client"
)

// A flag goes before a variable, that before the file of --config, and that before the user's.
func TestWhichRelayIsAsked(t *testing.T) {
	config := writeFile(t, "relay.yaml", "admin: http://127.0.0.1:3\n")
	writeClientFile(t, "admin: http://127.0.0.1:4\n")
	variable := func(value string) { t.Setenv("RELAY_ADMIN", value) }
	for _, tt := range []struct {
		variable, want string
		args           []string
	}{
		{"http://127.0.0.1:2", "127.0.0.1:1", []string{"status", "--admin", "http://127.0.0.1:1", "--config", config}},
		{"http://127.0.0.1:2", "127.0.0.1:2", []string{"status", "--config", config}},
		{"", "127.0.0.1:3", []string{"status", "--config", config}},
		{"", "127.0.0.1:4", []string{"status"}},
		{"", "127.0.0.1:4", []string{"explain", "a.test"}},
	} {
		if tt.variable == "" {
			_ = os.Unsetenv("RELAY_ADMIN")
		} else {
			variable(tt.variable)
		}
		if status, out, errs := command(t, tt.args...); status != statusUnreachable || !strings.Contains(errs, tt.want+" (--admin)") || out != "" {
			t.Errorf("%q: status %d: %s%s, want %s", tt.args, status, out, errs, tt.want)
		}
	}
}

// The user's file says what no flag does. Its credentials are for its own Relay alone.
func TestClientFile(t *testing.T) {
	file := clientFile{Admin: "https://a", TokenFile: "t", CA: "ca", Cert: "c", Key: "k", Timeout: time.Minute}
	all := client.Settings{Address: "https://a", TokenFile: "t", CA: "ca", Cert: "c", Key: "k", Timeout: time.Minute}
	for _, tt := range []struct {
		flags ClientFlags
		file  clientFile
		want  client.Settings
	}{
		{ClientFlags{}, file, all},
		{ClientFlags{Admin: "https://a", Timeout: time.Second}, file, client.Settings{Address: "https://a", TokenFile: "t", CA: "ca", Cert: "c", Key: "k", Timeout: time.Second}},
		{ClientFlags{Admin: "https://b"}, file, client.Settings{Address: "https://b", Timeout: time.Minute}},
		{ClientFlags{Admin: "https://b"}, clientFile{TokenFile: "t"}, client.Settings{Address: "https://b"}},
		{ClientFlags{TokenFile: "own", Cert: "c2", Key: "k2"}, file, client.Settings{Address: "https://a", TokenFile: "own", CA: "ca", Cert: "c2", Key: "k2", Timeout: time.Minute}},
		{ClientFlags{}, clientFile{TokenFile: "t"}, client.Settings{TokenFile: "t"}},
	} {
		if got := tt.flags.settings(tt.file); got != tt.want {
			t.Errorf("%+v with %+v: %+v, want %+v", tt.flags, tt.file, got, tt.want)
		}
	}
}

// What is wrong with the file is said with its line; serve does not look at it.
func TestMistakesInTheClientFile(t *testing.T) {
	apps := writeFile(t, "apps.yaml", "apps: []\n")
	for text, want := range map[string]string{
		"admn: http://a":                   `client.yaml:1: there is no setting "admn", did you mean admin: this file may have admin, admin-token-file`,
		"admin: x\ntoken: s3cret":          `client.yaml:2: there is no setting "token"`,
		"- a":                              "client.yaml:1: want settings such as",
		"admin:\n\t- a":                    "line 2 begins with a tab",
		"admin-timeout: [1]":               "client.yaml",
		"admin: ftp://a":                   "is not a URL such as",
		"admin-token-file: none":           "--admin-token-file: open ",
		"admin-client-cert: only":          "go together",
		"admin: http://a\nadmin: http://b": "client.yaml",
	} {
		path := writeClientFile(t, text)
		status, out, errs := command(t, "status")
		if status != statusUsage || out != "" || !strings.Contains(errs, want) || strings.Contains(errs, "s3cret") {
			t.Errorf("%q: status %d: %s%s, want %q", text, status, out, errs, want)
		}
		if strings.HasPrefix(text, "admin-token") && !strings.Contains(errs, filepath.Dir(path)) {
			t.Errorf("a relative path is not beside the file: %s", errs)
		}
		if status, out, errs := command(t, "check", "--source-file", apps); status != 0 {
			t.Errorf("%q: relay check looks at it: %d %s%s", text, status, out, errs)
		}
	}
	if got := clientFilePath(func(name string) string { return map[string]string{"XDG_CONFIG_HOME": "relative", "HOME": "/h"}[name] }); got != "/h/.config/relay/client.yaml" {
		t.Errorf("without XDG_CONFIG_HOME the file is %q", got)
	}
	if got := clientFilePath(func(string) string { return "" }); got != "" {
		t.Errorf("without a home the file is %q", got)
	}
}

// A token that others can read is told, and used.
func TestExposedToken(t *testing.T) {
	f := newFakeRelay(t)
	var shown string
	f.answers["apps"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"apps":[]}`))
	})
	path := writeClientFile(t, "admin: "+f.URL+"\nadmin-token-file: token\n")
	token := filepath.Join(filepath.Dir(path), "token")
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := command(t, "apps"); status != 0 || errs != "" || out != "no such app\n" || shown != "Bearer s3cret" {
		t.Errorf("status %d, %s%s, %q is shown", status, out, errs, shown)
	}
	for _, exposed := range []string{token, path} {
		if err := os.Chmod(exposed, 0o644); err != nil {
			t.Fatal(err)
		}
		if status, out, errs := command(t, "apps"); status != 0 || !strings.Contains(errs, exposed+" can be read by everyone") || strings.Contains(out+errs, "s3cret") {
			t.Errorf("status %d, %s%s", status, out, errs)
		}
	}
	other := newFakeRelay(t)
	other.answers["apps"] = f.answers["apps"]
	if command(t, "apps"); shown != "" {
		t.Errorf("the token of one Relay is shown to another: %q", shown)
	}
}
