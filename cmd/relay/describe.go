package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"relay/internal/clidocs"
)

// describe writes what packages have beside the program, made of its command line: man
// pages, completion of shells, and relay.yaml with all settings. The files have the names
// that they are installed under. See process_describe.go.
func describe(dir string, date time.Time) error {
	parser, err := newParser(new(cli))
	if err != nil {
		return err
	}
	app := parser.Model
	settings, err := settingsFile(app)
	if err != nil {
		return err
	}
	files := map[string][]byte{"relay.yaml": settings}
	for name, page := range clidocs.ManPages(app, clidocs.Release{Version: version(), Date: date}) {
		files["man/"+name] = page
	}
	installed := map[string]string{"bash": "relay", "zsh": "_relay", "fish": "relay.fish"}
	for shell, text := range clidocs.Completions(app) {
		files["completion/"+shell+"/"+installed[shell]] = text
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// settingsHead is the text above all settings.
const settingsHead = `Settings of relay serve and relay check: see relay-serve(1).

All are commented out. A line with a setting shows its default, or an example where it says so: take the "#" away to set it. What is needed is a source of apps (marathon or source-file). Then:

relay check --config /etc/relay/relay.yaml says what is wrong, systemctl restart relay takes a change over, and systemctl enable --now relay starts Relay for the first time, and with the machine.

Secrets are better in files, which the group relay can read, and nobody else.`

// settingExamples are values of settings without a default, or whose default makes no
// sense beside the others.
var settingExamples = map[string]string{
	"marathon":                    "http://marathon-1.example.com:8080,http://marathon-2.example.com:8080",
	"marathon-trusted-hosts":      "marathon-3.example.com",
	"marathon-user":               "relay",
	"marathon-container-networks": "10.32.0.0/12",
	"source-file":                 "/etc/relay/apps.yaml",
	"https":                       "0.0.0.0:443",
	"https-public-port":           "443",
	"health":                      "0.0.0.0:9091",
	"trusted-proxies":             "10.0.7.0/24",
	"client-certificates":         "optional",
	"certs-dir":                   "/etc/relay/certs",
	"vault-addr":                  "https://vault.example.com:8200",
	"vault-token":                 "TOKEN",
	"vault-namespace":             "NAMESPACE",
	"vault-default":               "www.example.com",
	"credentials-dir":             "/etc/relay/credentials",
	"vault-credentials":           "secret/relay",
	"state-dir":                   "/var/lib/relay",
	"xds-clients":                 "*.edge.example.com",
	"signal-networks":             "10.0.7.0/24",
	"scaling":                     "true",
	"scaling-marathon-user":       "relay-scaling",
	"probes":                      "true",
	"probe-file":                  "/etc/relay/probes.yaml",
	"probe-place":                 "frankfurt",
	"peers":                       "http://relay-2.example.com:9090",
	"log-syslog":                  "tls://logs.example.com:6514",
	"graphite":                    "carbon.example.com:2003",
	"status-page":                 "0.0.0.0:8080",
	"status-page-file":            "/etc/relay/status-page.yaml",
	"status-page-dir":             "/var/www/status",
}

// settingsFile returns a configuration file that has every setting, all of them off.
func settingsFile(app *kong.Application) ([]byte, error) {
	i := slices.IndexFunc(app.Children, func(n *kong.Node) bool { return n.Name == "serve" })
	file := clidocs.SettingsFile{Head: settingsHead, Flags: app.Children[i].Flags, Examples: maps.Clone(settingExamples)}
	for _, f := range file.Flags {
		if f.PlaceHolder == "FILE" && file.Examples[f.Name] == "" {
			file.Examples[f.Name] = fileExample(f.Name)
		}
	}
	fleets := clidocs.SettingsList{
		Title: "Several fleets", Name: fleetsKey,
		Help: `In place of the settings above that have the same names, and of "fleet" and "xds-clients", which are "name" and "clients" here. ` +
			"server-names are those whose certificates the Envoys of the fleet get; none: all. Leave out what a fleet does not need.",
	}
	for _, key := range fleetKeys {
		value := `["*.example.com"]`
		if f := flagOfFleetKey(file.Flags, key); f != nil {
			var err error
			if value, err = file.Value(f); err != nil {
				return nil, fmt.Errorf("setting %s: %w", f.Name, err)
			}
		}
		fleets.Keys, fleets.Values = append(fleets.Keys, key), append(fleets.Values, value)
	}
	file.Lists = []clidocs.SettingsList{fleets}
	return file.YAML()
}

// fileExample is where a file could be: /etc/relay/vault-token for vault-token-file.
func fileExample(setting string) string {
	name := strings.TrimSuffix(setting, "-file")
	for _, kind := range []string{"-cert", "-ca", "-default"} {
		if strings.HasSuffix(name, kind) {
			name += ".pem"
		}
	}
	return "/etc/relay/" + name
}

// flagOfFleetKey returns the flag that has for the one fleet what a key has under fleets.
func flagOfFleetKey(flags []*kong.Flag, key string) *kong.Flag {
	for _, f := range flags {
		if keyInFleets(f.Name) == key {
			return f
		}
	}
	return nil
}
