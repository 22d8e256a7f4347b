package main

import (
	"crypto/x509"
	"encoding/pem"
	"os"

	"github.com/alecthomas/kong"
)

// ExternalFlags say which hosts outside Envoys may ask for apps, such as those with the keys of tokens.
type ExternalFlags struct {
	ExternalCA    kong.FileContentFlag `group:"Requests" name:"external-ca" placeholder:"FILE" help:"PEM file with the authorities of hosts outside that Envoys ask for apps, such as RELAY_{n}_JWT_JWKS. Any app may have Envoys ask the hosts that they sign. Read at start. Default: those of Relay's system."`
	ExternalHosts []string             `group:"Requests" name:"external-hosts" placeholder:"HOST:PORT" help:"Hosts that Envoys may ask for apps by plain HTTP or by an IP address. All others they ask by HTTPS and a name."`
}

// systemAuthorities are the files in which systems have the authorities of the web, the first that there is.
var systemAuthorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine
	"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",             // SUSE
	"/etc/ssl/cert.pem",
}

// externalCA returns the authorities of hosts outside; nothing if there are none. Then Envoys ask no host by HTTPS.
func (f *ExternalFlags) externalCA() []byte {
	if len(f.ExternalCA) > 0 {
		return f.ExternalCA
	}
	for _, name := range systemAuthorities {
		if content, err := os.ReadFile(name); err == nil {
			return readable(content)
		}
	}
	return nil
}

// readable leaves out what is no certificate that Go reads: the file is the system's, not one that somebody wrote for
// Relay.
func readable(content []byte) (usable []byte) {
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			usable = append(usable, pem.EncodeToMemory(block)...)
		}
	}
	return usable
}
