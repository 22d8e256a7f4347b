// Package deploy makes the bootstrap of an Envoy. The folder also has examples for systemd,
// containers and Prometheus.
package deploy

import (
	"bytes"
	"cmp"
	"embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// The files of a bootstrap. Those of secrets have the names that Envoy's
// documentation gives them.
const (
	bootstrapTemplate = "envoy-bootstrap.yaml"
	certificateFile   = "tls_certificate_sds_secret.yaml"
	validationFile    = "validation_context_sds_secret.yaml"
)

//go:embed envoy-bootstrap.yaml tls_certificate_sds_secret.yaml validation_context_sds_secret.yaml
var templates embed.FS

// QueueSlots is how many clusters there are by which Envoys ask Relays about requests to apps with a
// queue, and as many by which they ask about connections to TCP services with a rate. Of 2, 3, 4 or 6 Relays each is the first of as many. It is told to Relay in the metadata
// of the node.
const QueueSlots = 12

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
	// Limits is what this Envoy may take of its machine.
	Limits Limits
	// StatsD is where this Envoy sends its stats; nowhere in the zero value.
	StatsD StatsD
	// AccessLog is HOST:PORT of the collector of access logs, by OpenTelemetry's protocol over gRPC. It is for fleets whose
	// Envoys send them there.
	AccessLog string
}

// ClientTLS names PEM files on the Envoy's machine. Envoy reads them again when
// they are replaced by renaming, so that renewing them needs no restart. See
// https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret
type ClientTLS struct {
	// CA are the authorities that Relay's certificate must be of.
	CA string
	// Cert and Key are what Envoy shows to Relay; both or none.
	Cert, Key string
	// ServerName is the name that Relay's certificate must have.
	ServerName string
}

// YAML renders a bootstrap without TLS. With it there are more files: see Write.
func (b Bootstrap) YAML() ([]byte, error) {
	if b.TLS != (ClientTLS{}) {
		return nil, errors.New("TLS to Relay needs more than one file: write them to a directory (relay bootstrap --output DIR)")
	}
	return b.render("")
}

// Write writes the bootstrap to a directory of the Envoy's machine, with the
// secrets that it names if Relay is reached by TLS, and returns its path. An
// Envoy that runs takes over what changed in the secrets.
func (b Bootstrap) Write(dir string) (path string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	for _, file := range []*string{&b.TLS.CA, &b.TLS.Cert, &b.TLS.Key} {
		// The directory that Envoy is started in may be another one.
		if *file == "" {
			continue
		}
		if *file, err = filepath.Abs(*file); err != nil {
			return "", err
		}
	}
	text, err := b.render(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if b.TLS.CA != "" {
		if err := b.writeSecret(dir, validationFile); err != nil {
			return "", err
		}
	}
	if b.TLS.Cert != "" {
		if err := b.writeSecret(dir, certificateFile); err != nil {
			return "", err
		}
	}
	path = filepath.Join(dir, "envoy.yaml")
	return path, replace(path, text)
}

func (b Bootstrap) writeSecret(dir, name string) error {
	text, err := execute(name, b)
	if err != nil {
		return err
	}
	return replace(filepath.Join(dir, name), text)
}

// replace writes a file in one step. None of them holds a secret.
func replace(path string, text []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, text, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// check says what is missing.
func (b Bootstrap) check() error {
	if b.NodeID == "" || b.Fleet == "" {
		return errors.New("an Envoy bootstrap needs a node id and a fleet")
	}
	if len(b.XDS) == 0 {
		return errors.New("an Envoy bootstrap needs at least one xDS address")
	}
	if !b.Admin.IsValid() {
		return errors.New("an Envoy bootstrap needs an address for Envoy's admin endpoint")
	}
	if t := b.TLS; (t.Cert == "") != (t.Key == "") || t.CA == "" && t.Cert != "" || (t.CA == "") != (t.ServerName == "") {
		return errors.New("TLS to Relay needs an authority and Relay's name; a certificate for Envoy needs its key, and TLS")
	}
	return nil
}

// render returns the bootstrap; dir is where its secrets are.
func (b Bootstrap) render(dir string) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	data := struct {
		Bootstrap
		XDS                                 []hostPort
		Queues                              []queueCluster
		QueueSlots                          string
		CertificateSecret, ValidationSecret string
		Collector                           collector
		AccessLogCollector                  hostPort
	}{
		Bootstrap: b, QueueSlots: strconv.Itoa(QueueSlots),
		CertificateSecret: filepath.Join(dir, certificateFile), ValidationSecret: filepath.Join(dir, validationFile),
	}
	for _, address := range b.XDS {
		relay, err := parseHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("xDS address %w", err)
		}
		data.XDS = append(data.XDS, relay)
	}
	var err error
	if data.Collector, err = b.StatsD.collector(b); err != nil {
		return nil, err
	}
	if b.AccessLog != "" {
		if data.AccessLogCollector, err = parseHostPort(b.AccessLog); err != nil {
			return nil, fmt.Errorf("collector of access logs %w", err)
		}
	}
	data.Queues = queueClusters(data.XDS)
	return execute(bootstrapTemplate, data)
}

// hostPort is an address of a Relay.
type hostPort struct {
	Host string
	Port uint16
}

func parseHostPort(address string) (hostPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return hostPort{}, fmt.Errorf("%q: %w", address, err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || host == "" {
		return hostPort{}, fmt.Errorf("%q is not HOST:PORT", address)
	}
	return hostPort{host, uint16(n)}, nil
}

// queueCluster is a cluster of Relays, in the order in which they are asked.
type queueCluster struct {
	// Name is that of the cluster for requests, Accept that of the one for connections.
	Name, Accept string
	XDS          []hostPort
}

// queueClusters returns the same clusters whatever the order of the Relays.
func queueClusters(relays []hostPort) (clusters []queueCluster) {
	relays = slices.SortedFunc(slices.Values(relays), func(a, b hostPort) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	for slot := range QueueSlots {
		first := slot % len(relays)
		clusters = append(clusters, queueCluster{fmt.Sprintf("relay-queue-%d", slot), fmt.Sprintf("relay-accept-%d", slot), slices.Concat(relays[first:], relays[:first])})
	}
	return clusters
}

func execute(name string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"quote": quoteYAML}).ParseFS(templates, name)
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
