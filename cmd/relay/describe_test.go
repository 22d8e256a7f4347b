package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// described are the files of describe, in a folder.
func described(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := describe(dir, time.Unix(1700000000, 0)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// settingLine is a setting of the file, commented out.
var settingLine = regexp.MustCompile(`(?m)^#([a-z][a-z0-9-]*):.*(?:\n#(?:- |  ).*)*`)

// settingPartners are the settings that another one needs.
var settingPartners = map[string][]string{
	"marathon-user": {"marathon-password-file"}, "marathon-password-file": {"marathon-user"},
	"marathon-client-cert-file": {"marathon-client-key-file"}, "marathon-client-key-file": {"marathon-client-cert-file"},
	"https": {"certs-dir"}, "https-public-port": {"https", "certs-dir"}, "session-ticket-key-file": {"https", "certs-dir"},
	"client-ca": {"client-certificates", "https", "certs-dir"}, "client-certificates": {"client-ca", "https", "certs-dir"},
	"fleets":     {"certs-dir", "xds-cert", "xds-key", "xds-client-ca"},
	"vault-addr": {"vault-token-file"}, "vault-credentials": {"vault-addr", "vault-token-file"}, "vault-role-id": {"vault-secret-id-file"}, "vault-secret-id-file": {"vault-role-id"},
	"state-key-file": {"state-dir"}, "peers": {"scaling"}, "idle-ignore": {"scaling"}, "peers-token-file": {"scaling", "peers"}, "peers-ca-file": {"scaling", "peers"},
	"scaling-marathon-user": {"scaling", "scaling-marathon-password-file"}, "scaling-marathon-password-file": {"scaling", "scaling-marathon-user"},
	"scaling-marathon-token-file": {"scaling"}, "scaling-marathon-service-account-file": {"scaling"},
	"log-syslog-ca": {"log-syslog"}, "log-syslog-cert": {"log-syslog", "log-syslog-key"}, "log-syslog-key": {"log-syslog", "log-syslog-cert"},
	"probe-file": {"probes"}, "probe-place": {"probes"},
	"xds-cert": {"xds-key"}, "xds-key": {"xds-cert"}, "xds-client-ca": {"xds-cert", "xds-key"}, "xds-clients": {"xds-cert", "xds-key", "xds-client-ca"},
	"status-page": {"status-page-file"}, "status-page-dir": {"status-page-file"}, "status-page-cert": {"status-page", "status-page-file", "status-page-key"}, "status-page-key": {"status-page", "status-page-file", "status-page-cert"},
	"admin-cert": {"admin-key"}, "admin-key": {"admin-cert"}, "admin-client-ca": {"admin-cert", "admin-key"}, "admin-token-file": {"admin-cert", "admin-key"},
}

// settingsOfFile returns the settings of the described relay.yaml without their "#", by
// name. Their files are in a folder of the test, and are there.
func settingsOfFile(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(described(t), "relay.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range regexp.MustCompile(`/etc/relay/([a-z-]+(?:\.pem)?)`).FindAllStringSubmatch(string(text), -1) {
		if err := os.WriteFile(filepath.Join(dir, name[1]), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	settings := make(map[string]string)
	for _, m := range settingLine.FindAllStringSubmatch(strings.ReplaceAll(string(text), "/etc/relay/", dir+"/"), -1) {
		settings[m[1]] = regexp.MustCompile(`(?m)^#`).ReplaceAllString(m[0], "") + "\n"
	}
	return settings
}

// The file has all settings, and nothing is in force before a "#" is taken away. Then each
// is valid as it stands.
func TestSettingsFile(t *testing.T) {
	settings := settingsOfFile(t)
	for name, line := range settings {
		text := line
		for _, partner := range settingPartners[name] {
			if settings[partner] == "" {
				t.Fatalf("%s needs %s, which is no setting", name, partner)
			}
			text += settings[partner]
		}
		if name != "marathon" && name != "source-file" {
			text += "marathon: http://m\n"
		}
		if _, err := parse(t, text); err != nil {
			t.Errorf("%s: %v (is another setting needed? settingPartners says which)\n%s", name, err, text)
		}
	}
	var c cli
	parser, err := newParser(&c)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{fleetsKey}
	for _, f := range serveFlags(t, parser.Model) {
		want = append(want, f.Name)
		if value := settings[f.Name]; f.HasDefault && !strings.Contains(value, " "+strings.Split(f.Default, ",")[0]) && !strings.Contains(value, "["+strings.Split(f.Default, ",")[0]) {
			t.Errorf("%s has the default %s, and the file %s", f.Name, f.Default, value)
		}
	}
	for _, name := range want {
		if _, ok := settings[name]; !ok {
			t.Errorf("the file lacks %s", name)
		}
	}
	if len(settings) != len(want) {
		t.Errorf("the file has %d settings, want %d", len(settings), len(want))
	}
	for _, key := range fleetKeys {
		if !strings.Contains(settings[fleetsKey], " "+key+": ") {
			t.Errorf("fleets in the file lack %s:\n%s", key, settings[fleetsKey])
		}
	}
}

func serveFlags(t *testing.T, app *kong.Application) []*kong.Flag {
	t.Helper()
	for _, n := range app.Children {
		if n.Name == "serve" {
			return n.Flags
		}
	}
	t.Fatal("no command serve")
	return nil
}

// Nothing of the machine gets into what is described, and nothing of its environment.
func TestDescriptionsAreOfNoMachine(t *testing.T) {
	read := func() string {
		var all strings.Builder
		dir := described(t)
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			all.WriteString(strings.TrimPrefix(path, dir) + "\n" + string(text))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all.String()
	}
	before := read()
	t.Setenv("RELAY_HTTP", "127.0.0.99:80")
	t.Setenv("VAULT_TOKEN", "s.secret")
	t.Setenv("TZ", "Pacific/Kiritimati")
	if after := read(); after != before {
		t.Error("the environment changes what is described")
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{home + "/", `"` + host + `"`, "/tmp/"} {
		if strings.Contains(before, word) {
			t.Errorf("%s is in what is described", word)
		}
	}
}

// The page of each command has all of its flags, as man shows them.
func TestManPages(t *testing.T) {
	dir := described(t)
	parser, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	program := manText(t, filepath.Join(dir, "man", "relay.1"))
	for _, n := range parser.Model.Children {
		if n.Hidden {
			continue
		}
		if !strings.Contains(program, "relay\\-"+strings.ReplaceAll(n.Name, "-", `\-`)) {
			t.Errorf("relay(1) does not name relay %s", n.Name)
		}
		page := manText(t, filepath.Join(dir, "man", "relay-"+n.Name+".1"))
		for _, f := range n.Flags {
			head := `\-\-` + strings.ReplaceAll(f.Name, "-", `\-`)
			if f.Short != 0 {
				head = `\-` + string(f.Short) + ", " + head
			}
			if !strings.Contains(page, `"`+head) {
				t.Errorf("relay-%s(1) lacks --%s", n.Name, f.Name)
			}
			for _, name := range f.Envs {
				if !strings.Contains(page, name) {
					t.Errorf("relay-%s(1) lacks the variable %s", n.Name, name)
				}
			}
		}
	}
}

// manText reads a page, and has groff look at it where there is one.
func manText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		if out, err := exec.Command(groff, "-man", "-Tascii", "-ww", "-z", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("groff: %v\n%s", err, out)
		}
	}
	return string(text)
}

// What the shells offer for a command line. zsh and fish are asked where they are.
func TestCompletion(t *testing.T) {
	dir := described(t)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("shop apps.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var commands []string
	parser, err := newParser(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range parser.Model.Children {
		if !n.Hidden {
			commands = append(commands, n.Name)
		}
	}
	tests := []struct {
		words []string
		want  []string
	}{
		{[]string{""}, append(slices.Clone(commands), "--config", "--help")},
		{[]string{"se"}, []string{"serve"}},
		{[]string{"serve", "--marathon-p"}, []string{"--marathon-password-file", "--marathon-prefer-ipv6", "--marathon-pods"}},
		{[]string{"explain", "--js"}, []string{"--json"}},
		{[]string{"serve", "--clusters", ""}, []string{"all", "on-demand"}},
		{[]string{"--config", "shop apps.yaml", "serve", "--clusters", "=", "on"}, []string{"on-demand"}},
		{[]string{"serve", "--source-file", "sh"}, []string{"shop apps.yaml"}},
		{[]string{"serve", "--fleet", ""}, nil},
	}
	for _, tt := range tests {
		script := `source "$1"; shift; COMP_WORDS=(relay "$@"); COMP_CWORD=$#; compopt() { :; }; _relay; printf '%s\n' "${COMPREPLY[@]}"`
		out, err := exec.Command("bash", append([]string{"-c", script, "bash", filepath.Join(dir, "completion/bash/relay")}, tt.words...)...).CombinedOutput()
		got := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
		slices.Sort(got)
		slices.Sort(tt.want)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("relay %q: bash offers %q (%v), want %q", tt.words, got, err, tt.want)
		}
	}
	for shell, script := range map[string]string{
		"fish": `source ` + dir + `/completion/fish/relay.fish; complete -C "relay serve --clusters " | string replace -r "\t.*" ""`,
		// Only the syntax: zsh completes for a terminal alone.
		"zsh": `zsh -n ` + dir + `/completion/zsh/_relay && echo all on-demand`,
	} {
		if path, err := exec.LookPath(shell); err == nil {
			out, err := exec.Command(path, "-c", script).CombinedOutput()
			if err != nil || !slices.Equal(strings.Fields(string(out)), []string{"all", "on-demand"}) {
				t.Errorf("%s: %v\n%s", shell, err, out)
			}
		}
	}
}
