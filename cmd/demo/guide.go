package main

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed guide.txt
var guideText string

// guide prints what is there and what to try.
func (d *demo) guide() error {
	t, err := template.New("guide").Parse(guideText)
	if err != nil {
		return err
	}
	vaultAddr, vaultToken := "", ""
	if d.vault != nil {
		vaultAddr, vaultToken = d.vault.server.Addr, d.vault.tokenFile
	}
	return t.Execute(d.out, map[string]any{
		"Seconds": d.took.Seconds(), "Dir": d.dir, "CA": d.caFile(), "Bootstrap": d.bed.BootstrapFile(),
		"HTTP": d.HTTP, "HTTPS": d.HTTPS, "Marathon": d.marathon.URL(), "Admin": "http://" + local(d.Admin),
		"EnvoyAdmin": "http://" + local(d.EnvoyAdmin), "Renew": "http://" + local(d.Renew), "XDS": local(d.XDS),
		"Vault": vaultAddr, "VaultToken": vaultToken, "Certs": filepath.Join(d.dir, "certs"),
		"Relay": d.relayProgram(), "RelayCommand": commandLine(d.bed.RelayArgs(d.relayFlags()...)),
		"Visits": visitsPerSecond, "NewsEvery": newsEvery,
		"Task": d.marathon.Tasks("/tenants")[0].ID,
	})
}

// relayProgram is Relay's program as people would type it here.
func (d *demo) relayProgram() string {
	if here, err := os.Getwd(); err == nil {
		if short, err := filepath.Rel(here, d.Relay); err == nil && filepath.IsLocal(short) {
			return short
		}
	}
	return d.Relay
}

// commandLine shows a command with three flags on a line.
func commandLine(args []string) string {
	var b strings.Builder
	b.WriteString("relay " + args[0])
	for i := 1; i < len(args); i++ {
		if i%6 == 1 {
			b.WriteString(" \\\n   ")
		}
		b.WriteString(" " + args[i])
	}
	return b.String()
}
