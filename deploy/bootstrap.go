// Package deploy holds what is needed to run an Envoy beside Relay.
package deploy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"text/template"
)

//go:embed envoy-bootstrap.yaml
var bootstrapText string

// Bootstrap is what an Envoy needs to know before it can ask Relay for the
// rest. See https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
type Bootstrap struct {
	// NodeID names this Envoy in Relay's status page and logs.
	NodeID string
	// Fleet is sent as node.cluster and decides what this Envoy gets.
	Fleet string
	// XDS are Relay's host:port addresses; Envoy uses one at a time.
	XDS []string
	// Admin is the address of Envoy's own admin endpoint.
	Admin netip.AddrPort
	// ClustersOnDemand is for a fleet whose Envoys load clusters when they are
	// needed.
	ClustersOnDemand bool
	// TLS is how Relay is reached; the zero value is plain text.
	TLS ClientTLS
}

// ClientTLS names PEM files on the Envoy's machine.
type ClientTLS struct {
	// CA are the authorities that Relay's certificate must be of.
	CA string
	// Cert and Key are what Envoy shows to Relay; both or none.
	Cert, Key string
	// ServerName is the name that Relay's certificate must have.
	ServerName string
}

// YAML renders the bootstrap.
func (b Bootstrap) YAML() ([]byte, error) {
	if b.NodeID == "" || b.Fleet == "" {
		return nil, errors.New("an Envoy bootstrap needs a node id and a fleet")
	}
	if len(b.XDS) == 0 {
		return nil, errors.New("an Envoy bootstrap needs at least one xDS address")
	}
	if !b.Admin.IsValid() {
		return nil, errors.New("an Envoy bootstrap needs an address for Envoy's admin endpoint")
	}
	if t := b.TLS; (t.Cert == "") != (t.Key == "") || t.CA == "" && t.Cert != "" || (t.CA == "") != (t.ServerName == "") {
		return nil, errors.New("TLS to Relay needs an authority and Relay's name; a certificate for Envoy needs its key, and TLS")
	}
	type hostPort struct {
		Host string
		Port uint16
	}
	data := struct {
		Bootstrap
		XDS []hostPort
	}{Bootstrap: b}
	for _, address := range b.XDS {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("xDS address %q: %w", address, err)
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || host == "" {
			return nil, fmt.Errorf("xDS address %q is not HOST:PORT", address)
		}
		data.XDS = append(data.XDS, hostPort{host, uint16(n)})
	}
	t, err := template.New("bootstrap").Funcs(template.FuncMap{"quote": quoteYAML}).Parse(bootstrapText)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// quoteYAML writes s as a single-quoted YAML scalar.
func quoteYAML(s string) (string, error) {
	if strings.ContainsAny(s, "\n\r") {
		return "", fmt.Errorf("%q has a line break", s)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'", nil
}
