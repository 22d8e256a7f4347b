package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/sources/marathon/marathontest"
)

// mistakeFixtures are the files and servers that mistakes are made with.
type mistakeFixtures struct {
	t                                           *testing.T
	dir, apps                                   string
	cert, key, otherKey                         string
	marathon, guarded, html, redirects, secured string
	vault                                       func(status int, body string) string
	files                                       int
}

func newMistakeFixtures(t *testing.T) *mistakeFixtures {
	f := &mistakeFixtures{t: t, dir: t.TempDir()}
	f.apps = f.file("apps.yaml", "apps:\n- id: /a\n  ports:\n  - domains: [a.test]\n    endpoints: [{address: 127.0.0.1:1}]\n")
	ca := certstest.TestCA(t)
	f.cert, f.key = ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, t.TempDir())
	_, f.otherKey = ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, t.TempDir())
	m := marathontest.Start(t, marathontest.Options{})
	if err := m.Apply(oneApp); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitIdle(t.Context()); err != nil { // a task that still starts is worth a warning
		t.Fatal(err)
	}
	f.marathon, f.guarded = m.URL(), marathontest.Start(t, marathontest.Options{Credentials: "relay:" + hushPassword}).URL()
	f.html = f.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>Log in</title>")
	})
	f.redirects = f.serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) })
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	var err error
	if secured.TLS, err = ca.TestIssue(t, []string{"localhost"}, certstest.Options{}).ServerTLS(); err != nil {
		t.Fatal(err)
	}
	secured.Config.ErrorLog = log.New(io.Discard, "", 0)
	secured.StartTLS()
	t.Cleanup(secured.Close)
	_, port, _ := net.SplitHostPort(secured.Listener.Addr().String())
	f.secured = "localhost:" + port
	f.vault = func(status int, body string) string {
		return f.serve(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
	}
	return f
}

func (f *mistakeFixtures) serve(h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	f.t.Cleanup(s.Close)
	return s.URL
}

func (f *mistakeFixtures) file(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// config returns the arguments for a configuration file.
func (f *mistakeFixtures) config(text string) []string {
	f.files++
	return []string{"--config", f.file(fmt.Sprintf("%d/relay.yaml", f.files), text)}
}

// withApps returns arguments besides those for apps that are right.
func (f *mistakeFixtures) withApps(args ...string) []string {
	return append([]string{"--source-file", f.apps}, args...)
}

// settingsMistake is one thing that people get wrong in the settings. Each part is in what relay
// check says; a mistake that is only a note has the status 0.
type settingsMistake struct {
	name   string
	args   []string
	status int
	want   string
}

func (f *mistakeFixtures) inTheFile() []settingsMistake {
	m := "marathon: " + f.marathon + "\n"
	return []settingsMistake{
		{"a mistyped key", f.config("marthon: http://m\n"), 2, `relay.yaml:1: there is no setting "marthon", did you mean marathon`},
		{"an underscore", f.config("marathon: http://m\nvault_addr: http://v\n"), 2, `relay.yaml:2: there is no setting "vault_addr", did you mean vault-addr`},
		{"a variable", f.config("RELAY_MARATHON: http://mm\n"), 2, "did you mean marathon"},
		{"a flag", f.config("--marathon: http://mmm\n"), 2, "did you mean marathon"},
		{"fleets mistyped", f.config(m + "fleet:\n- {name: a}\n"), 2, "fleet: want"},
		{"a tab", f.config("marathon: http://m\nfleets:\n\t- name: abc\n"), 2, "(line 3 begins with a tab: indent with spaces)"},
		{"no YAML", f.config("marathon=http://m\n"), 2, `want settings such as "marathon: [http://localhost:8080]"`},
		{"a mistyped key of a fleet", f.config(m + "fleets:\n- name: a\n  htp: 1.1.1.1:80\n"), 2, `relay.yaml:4: a fleet has no "htp", did you mean http`},
		{"fleets without a list", f.config(m + "fleets:\n  name: aaa\n"), 2, "want a list of fleets"},
		{"a fleet twice", f.config(m + "fleets:\n- {name: a, http: '1.1.1.1:80'}\n- {name: a, http: '1.1.1.1:81'}\n"), 1, `fleet "a" is configured twice: give each a name of its own`},
		{"a fleet without http", f.config(m + "fleets:\n- {name: aa}\n"), 1, "has no address for http: give one, such as http: 0.0.0.0:80"},
		{"a fleet without a name", f.config(m + "fleets:\n- {http: '1.1.1.1:80'}\n"), 1, "has no name: give it the name that apps have in HAPROXY_GROUP"},
		{"a time without a unit", f.config(m + "marathon-sync-interval: 5\n"), 2, `--marathon-sync-interval: "5" has no unit: write 5s for seconds, or 5m for minutes`},
		{"no time", f.config(m + "marathon-sync-interval: often\n"), 2, `"often" is no time: write one such as 500ms, 5s, 5m or 1h`},
		{"no choice", f.config(m + "clusters: ondemand\n"), 2, `--clusters must be one of "all","on-demand"`},
		{"a directory", []string{"--config", f.dir}, 2, "--config: " + f.dir + " is a directory: give a YAML file"},
		{"no file", []string{"--config", f.dir + "/none.yaml"}, 2, "--config: open " + f.dir + "/none.yaml: no such file"},
		{"a file of apps", []string{"--config", f.apps}, 2, "a file of apps is given by --source-file"},
	}
}

func (f *mistakeFixtures) inFiles() []settingsMistake {
	pem := func(issued *certstest.Issued) string { return string(issued.Bundle()) }
	ca := certstest.TestCA(f.t)
	old := f.file("old/a.pem", pem(ca.TestIssue(f.t, []string{"a.test"}, certstest.Options{NotBefore: time.Now().AddDate(0, 0, -90), NotAfter: time.Now().AddDate(0, 0, -1)})))
	empty := filepath.Join(f.dir, "empty")
	if err := os.MkdirAll(empty, 0o755); err != nil {
		f.t.Fatal(err)
	}
	open := f.file("open.key", "")
	text, err := os.ReadFile(f.key)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(open, text, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		f.t.Fatal(err)
	}
	mixed := f.file("mixed/a.pem", f.read(f.cert)+f.read(f.otherKey))
	https := []string{"--https", "127.0.0.1:2", "--certs-dir"}
	return []settingsMistake{
		{"no source", nil, 2, "no source of apps: give --marathon URL,... or --source-file PATH"},
		{"two sources", f.withApps("--marathon", f.marathon), 2, "give --marathon or --source-file, not both"},
		{"a folder without apps", []string{"--source-file", empty}, 1, "no *.yaml or *.yml file in " + empty},
		{"no file of apps", []string{"--source-file", f.dir + "/none"}, 1, "none: no such file or directory|apps have not been read yet"},
		{"the key of another certificate", f.withApps("--xds-cert", f.cert, "--xds-key", f.otherKey), 1, "wrong  xds-cert: |give the key that belongs to the certificate"},
		{"key and certificate exchanged", f.withApps("--xds-cert", f.key, "--xds-key", f.cert), 1, "give the certificate as the one, the key as the other"},
		{"a directory for a certificate", f.withApps("--xds-cert", f.dir, "--xds-key", f.key), 1, "is a directory: give a PEM file"},
		{"no PEM", f.withApps("--admin-cert", f.apps, "--admin-key", f.key), 1, "wrong  admin-cert: |give PEM files, which begin with -----BEGIN"},
		{"a key that all can read", f.withApps("--xds-cert", f.cert, "--xds-key", open), 1, "wrong  xds-key: " + open + " can be read by everyone on the machine (mode 0644): chmod 0640"},
		{"an empty folder of certificates", f.withApps(append(https, empty)...), 1, "there is no certificate: the fleet does not listen on 127.0.0.1:2"},
		{"no folder of certificates", f.withApps(append(https, f.dir+"/none")...), 1, "wrong  dir " + f.dir + "/none: |no such file or directory|certificates have not been read yet"},
		{"an expired certificate", f.withApps(append(https, old)...), 1, "expired on |-> have it issued again"},
		{"a certificate with another key", f.withApps(append(https, mixed)...), 1, "the private key belongs to none of the certificates"},
		{"https without certificates", f.withApps("--https", "127.0.0.1:2"), 2, "listens for HTTPS without certificates: give --certs-dir or --vault-addr"},
		{"one port for http and https", f.withApps(append([]string{"--http", "127.0.0.1:2"}, append(https, old)...)...), 2, "has 127.0.0.1:2 for both http and https"},
		{"xDS for everybody", f.withApps("--xds", "0.0.0.0:18000"), 2, "--xds 0.0.0.0:18000 is reachable beyond this machine|give --xds-cert, --xds-key and --xds-client-ca"},
		{"the address of another machine", f.withApps("--xds", "192.0.2.1:18000", "--xds-insecure-plaintext-beyond-loopback"), 1, "wrong  xds: |this machine does not have the address"},
		{"no authorities of probes", f.withApps("--probes", "--probe-file", f.file("probes.yaml", "ca-file: "+f.dir+"/none")), 1, "wrong  probes: --probe-file: ca-file: |/none: no such file or directory"},
		{"no token of a place", f.withApps("--status-page-file", f.file("places.yaml", "services: [{name: A, apps: [/a]}]\nplaces: [{name: far, url: \"http://127.0.0.1:1\", token-file: none}]")), 1, `wrong  status-page-file: places[0] ("far"): token-file: |/none: no such file or directory`},
		{"no folder for the public page", f.withApps("--status-page-file", f.file("page.yaml", "services: [{name: A, apps: [/a]}]"), "--status-page-dir", f.dir+"/none"), 1, "wrong  status-page-dir: |/none: no such file or directory"},
		{"a file for saved state", f.withApps("--state-dir", f.apps), 1, "give a directory that the user of Relay may write to"},
		{"an app id without a slash", f.withApps("--acme-app", "marathon-acme"), 2, "--acme-app marathon-acme is not the id of an app: write /marathon-acme"},
		{"another fleet", f.withApps("--fleet", "extern"), 1, "no app names it in HAPROXY_GROUP|did you mean extern?|1 app is in no fleet"},
		{"a mistyped flag", f.withApps("--certs-dri", empty), 2, `unknown flag --certs-dri, did you mean "--certs-dir"?`},
	}
}

func (f *mistakeFixtures) read(path string) string {
	f.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

func (f *mistakeFixtures) atServers() []settingsMistake {
	host := func(url string) string { return strings.TrimPrefix(url, "http://") }
	m := func(url string, more ...string) []string { return append([]string{"--marathon", url}, more...) }
	s := func(more ...string) []string { return m(f.marathon, append([]string{"--scaling"}, more...)...) }
	v := func(url string) []string { return f.withApps("--vault-addr", url, "--vault-token", hushToken) }
	mount := f.vault(200, `{"data":{"path":"secret/","type":"kv","options":{"version":"1"}}}`)
	return []settingsMistake{
		{"Marathon wants a login", m(f.guarded), 1, "401 Unauthorized|no credentials were sent: give --marathon-user and --marathon-password-file"},
		{"a wrong password", m("http://relay:" + hush + "wrong@" + host(f.guarded)), 1, "401 Unauthorized|(check the credentials for Marathon)"},
		{"a login page", m(f.html), 1, "another server or a login page answers there, see whether --marathon is the address of Marathon itself"},
		{"a redirect to a login page", m(f.redirects), 1, "redirects to another path, /login on |a login page may be in between"},
		{"the path of a proxy", m(f.marathon + "/marathon"), 1, "there is no Marathon below /marathon: write the address without it"},
		{"the path of the API", m(f.marathon + "/v2/apps"), 1, "has a path of Marathon's API or pages, /v2: write --marathon " + f.marathon},
		{"the path of the pages", m(f.marathon + "/ui/#/apps"), 1, "fragment: give the base URL alone"},
		{"a slash at the end", m(f.marathon + "/"), 0, "ok     marathon"},
		{"https to plain HTTP", m("https://" + host(f.marathon)), 1, "this port speaks no TLS: write http://" + host(f.marathon)},
		{"http to TLS", m("http://" + f.secured), 1, "this port takes TLS: write https://" + f.secured},
		{"an unknown authority", m("https://" + f.secured), 1, "by --marathon-ca-file"},
		{"a space between URLs", m("http://a http://b"), 1, "write a comma between URLs"},
		{"nobody there", m("http://127.0.0.1:1"), 1, "connection refused: see whether --marathon has the right host and port"},
		{"ZooKeeper", m("zk://1.2.3.4:2181/marathon"), 1, "is that of ZooKeeper: write Marathon's own address"},
		{"no scheme", m("marathon.test:8080"), 1, "write --marathon http://marathon.test:8080"},

		{"writing without a password", s("--scaling-marathon-user", "writer"), 1, "wrong  scaling: |a user needs a password file"},
		{"writing with no token file", s("--scaling-marathon-token-file", f.dir+"/none"), 1, "wrong  scaling: |/none: no such file"},
		{"writing without --scaling", m(f.marathon, "--scaling-marathon-user", "writer"), 2, "--scaling-marathon-user, and the other settings of how Relay logs in to write, have an effect with --scaling only"},
		{"a peer that is no Relay", s("--peers", f.html), 1, "wrong  peers: the Relay at " + f.html},
		{"a peer that is away", s("--peers", "http://127.0.0.1:1"), 0, "ok     scaling|note   peers: the Relay at http://127.0.0.1:1 cannot be asked: |connection refused"},
		{"a peer's token that is not there", s("--peers", f.html, "--peers-token-file", f.dir+"/none"), 1, "wrong  peers: --peers-token-file: open "},
		{"a peer's authority that is none", s("--peers", f.html, "--peers-ca-file", f.apps), 1, "wrong  peers: --peers-ca-file "},

		{"Vault: https to plain HTTP", v("https://" + host(f.html)), 1, "it takes no TLS: write http:// in --vault-addr"},
		{"Vault: http to TLS", v("http://" + f.secured), 1, "it takes TLS: write https:// in --vault-addr"},
		{"Vault: an unknown authority", v("https://" + f.secured), 1, "give the authority of Vault's certificate in --vault-ca-file"},
		{"Vault: a space between addresses", v("http://a http://b"), 1, "--vault-addr has a space in an address: write a comma between addresses"},
		{"Vault: a login page", v(f.html), 1, "is this Vault's address (--vault-addr)?"},
		{"Vault: sealed", v(f.vault(503, `{"errors":["Vault is sealed"]}`)), 1, "Vault is sealed"},
		{"Vault: KV version 1", v(mount), 1, `is not KV version 2 (type "kv", version "1"): |vault kv enable-versioning`},
		{"Vault: no login", f.withApps("--vault-addr", f.html), 2, "no way to log in to Vault: give --vault-token-file"},
		{"Vault: no token file", f.withApps("--vault-addr", f.html, "--vault-token-file", f.dir+"/none"), 1, "read the token (--vault-token-file): open "},
		{"Vault: nobody there", v("http://127.0.0.1:1"), 1, "see whether --vault-addr has the right host and port, and Vault runs"},
	}
}

// Each mistake in the settings is told by relay check with its cause and its cure.
func TestMistakes(t *testing.T) {
	f := newMistakeFixtures(t)
	for group, mistakes := range map[string][]settingsMistake{"file": f.inTheFile(), "files": f.inFiles(), "servers": f.atServers()} {
		for _, tt := range mistakes {
			t.Run(group+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				status, out, errs := command(t, append([]string{"check", "--admin", "127.0.0.1:0"}, tt.args...)...)
				if status != tt.status {
					t.Errorf("status %d, want %d", status, tt.status)
				}
				for part := range strings.SplitSeq(tt.want, "|") {
					if !strings.Contains(out+errs, part) {
						t.Errorf("no %q in:\n%s%s", part, out, errs)
					}
				}
				if strings.Contains(out+errs, hush) {
					t.Errorf("a secret is told:\n%s%s", out, errs)
				}
			})
		}
	}
}

// Whoever asks a Relay that does not answer reads why, and what to do.
func TestMistakesOfExplain(t *testing.T) {
	t.Parallel()
	f := newMistakeFixtures(t)
	_, admin := serveInBackground(t, "--source-file", f.apps)
	denied := f.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	for _, tt := range []struct {
		name, admin, want string
		status            int
	}{
		{"nobody there", "127.0.0.1:1", "is relay serve running, with this --admin?", statusUnreachable},
		{"https to plain HTTP", strings.Replace(admin, "http://", "https://", 1), "this port speaks no TLS: write --admin http://", statusUnreachable},
		{"http to TLS", "http://" + f.secured, "write https:// in --admin", statusUnreachable},
		{"an unknown authority", "https://" + f.secured, "by --admin-ca", statusUnreachable},
		{"another server", f.html, "is it Relay's admin endpoint (--admin)", statusUnreachable},
		{"a space", "http://a http://b", "is not a URL such as", statusUsage},
		{"no port", "localhost", "is neither a URL nor HOST:PORT", statusUsage},
		{"a login", denied, "give --admin-token-file, or --admin-client-cert", statusWrong},
	} {
		if status, out, errs := command(t, "explain", "--admin", tt.admin, "a.test"); status != tt.status || !strings.Contains(out+errs, tt.want) {
			t.Errorf("%s: status %d, no %q in:\n%s%s", tt.name, status, tt.want, out, errs)
		}
	}
	if status, out, errs := command(t, "explain", "--admin", admin, "https://a.test:443/x"); status != 0 {
		t.Errorf("a URL in place of a domain: %d\n%s%s", status, out, errs)
	}
}
