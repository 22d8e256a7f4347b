package relay

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"relay/certs/certstest"
	"relay/certs/dir"
	"relay/certs/vault"
	"relay/collator/routing"
	"relay/internal/graphite"
	"relay/internal/logs"
	"relay/internal/scrape"
	"relay/sources/marathon"
)

var update = flag.Bool("update", false, "write the table of metrics in the docs anew")

// metricDoc is what is told of a metric.
type metricDoc struct {
	name, help string
	kind       dto.MetricType
	labels     []string
}

// described is a Registerer that also notes what is registered.
type described struct {
	prometheus.Registerer
	metrics map[string]metricDoc
}

func (d *described) Register(c prometheus.Collector) error {
	d.note(c)
	return d.Registerer.Register(c)
}

func (d *described) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := d.Register(c); err != nil {
			panic(err)
		}
	}
}

var (
	descText  = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ("(?:[^"\\]|\\.)*"), unit: "[^"]*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)
	labelText = regexp.MustCompile(`(\w+)="`)
)

// note reads what a collector describes. Only the text of a Desc has its parts.
func (d *described) note(c prometheus.Collector) {
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); c.Describe(descs) }()
	for desc := range descs {
		m := descText.FindStringSubmatch(desc.String())
		if m == nil {
			panic("a description of another form: " + desc.String())
		}
		doc := metricDoc{name: m[1], kind: kindOf(c, desc)}
		_, _ = fmt.Sscanf(m[2], "%q", &doc.help)
		for _, l := range labelText.FindAllStringSubmatch(m[3], -1) {
			doc.labels = append(doc.labels, l[1])
		}
		if m[4] != "" {
			doc.labels = append(doc.labels, strings.Split(m[4], ",")...)
		}
		if strings.HasPrefix(doc.name, "relay_") {
			d.metrics[doc.name] = doc
		}
	}
}

func kindOf(c prometheus.Collector, desc *prometheus.Desc) dto.MetricType {
	switch c := c.(type) {
	case scrape.Collector:
		if c.IsCounter(desc) {
			return dto.MetricType_COUNTER
		}
	case *prometheus.CounterVec:
		return dto.MetricType_COUNTER
	case *prometheus.HistogramVec:
		return dto.MetricType_HISTOGRAM
	case prometheus.Metric: // without labels
		var m dto.Metric
		switch _ = c.Write(&m); {
		case m.Counter != nil:
			return dto.MetricType_COUNTER
		case m.Histogram != nil:
			return dto.MetricType_HISTOGRAM
		}
	}
	return dto.MetricType_GAUGE
}

// allMetrics builds Relays with everything on, and returns what they register.
func allMetrics(t *testing.T) map[string]metricDoc {
	t.Helper()
	folder := t.TempDir()
	ca := certstest.TestCA(t)
	cert, key := ca.TestIssue(t, []string{"relay.test"}, certstest.Options{}).TestPair(t, folder)
	clients := filepath.Join(folder, "clients.pem")
	secret := filepath.Join(folder, "secret")
	for file, text := range map[string][]byte{clients: ca.RootPEM(), secret: []byte(strings.Repeat("7f", 32))} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page := filepath.Join(folder, "status-page.yaml")
	if err := os.WriteFile(page, []byte("services: [{name: Website, domains: [\"*\"]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	port := PortTLS{CertFile: cert, KeyFile: key, ClientCAFile: clients}
	all := make(map[string]metricDoc)
	for _, apps := range []Apps{{Marathon: marathon.Config{URLs: []string{"http://127.0.0.1:1"}}}, {File: filepath.Join(folder, "apps.yaml")}} {
		config := Config{
			Version: "test", Apps: apps, Fleets: []Fleet{{Fleet: routing.Fleet{Name: "edge", HTTP: netip.MustParseAddrPort("127.0.0.1:80"), HTTPS: netip.MustParseAddrPort("127.0.0.1:443"), Options: routing.DefaultOptions()}}},
			Certificates: Certificates{Dir: dir.Config{Paths: []string{folder}}, Vault: vault.Config{Addresses: []string{"http://127.0.0.1:1"}, Mount: "secret", Token: "t"}},
			State:        State{Dir: t.TempDir(), Certificates: true, KeyFile: secret},
			XDS:          XDSPort{Address: "127.0.0.1:0", TLS: port}, Admin: AdminPort{Address: "127.0.0.1:0", TLS: port},
			Syslog:   logs.Config{Address: "udp://127.0.0.1:1", Facility: "daemon"},
			Graphite: graphite.Config{Address: "127.0.0.1:1", Interval: time.Minute},
		}
		config.Probes = Probes{Enabled: true}
		config.StatusPage = StatusPage{File: page, Address: "127.0.0.1:0", Dir: t.TempDir()}
		if apps.File == "" {
			config.Scaling = Scaling{Enabled: true, Marathon: apps.Marathon, WaitingPerApp: 1, WaitingInAll: 1, WakeRate: 1}
		}
		registry := prometheus.NewRegistry()
		d := &described{registry, all}
		r, err := build(config, slog.New(slog.DiscardHandler), registry, d)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.closeListeners(); err != nil {
			t.Error(err)
		}
	}
	return all
}

// unit is what a metric is measured in, by the end of its name.
func (m metricDoc) unit() string {
	name := strings.TrimSuffix(m.name, "_total")
	switch {
	case strings.HasSuffix(name, "_timestamp_seconds"):
		return "Unix time in s"
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "bytes"
	}
	return ""
}

// TestMetricsAreInTheDocs holds that docs/metrics.md lists all metrics as they are registered.
func TestMetricsAreInTheDocs(t *testing.T) {
	t.Parallel()
	all := allMetrics(t)
	var table strings.Builder
	table.WriteString("| Metric | Type | Labels | Unit | What it is |\n|---|---|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", m.name, strings.ToLower(m.kind.String()), strings.Join(m.labels, ", "), m.unit(), m.help)
	}
	const page, begin, end = "../../docs/metrics.md", "<!-- metrics: written by go test ./internal/relay -update -->\n", "<!-- end of metrics -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	switch {
	case !opened || !closed:
		t.Fatalf("%s lacks the lines %q and %q", page, begin, end)
	case old == table.String():
	case *update:
		if err := os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not list the metrics as they are: run go test ./internal/relay -update", page)
	}
}

// boundedLabels are those that metrics may have, and what bounds their values.
var boundedLabels = map[string]string{
	"envoy": "the Envoys of the last hour, which show certificates", "relay": "the settings", "chosen": "the code", "what": "the code",
	"fleet": "the settings", "source": "the kinds of sources", "type": "the types of xDS, or of Marathon's events", "kind": "the code", "reason": "the code",
	"result": "the code", "phase": "the code", "event": "the code", "outcome": "the code", "state": "the code", "stopped": "true or false", "wanted": "true or false", "port": "the ports of Relay", "status": "the code", "service": "the file of the status page", "place": "the file of the status page", "code": "the codes of failures",
	"app": "apps with an owner, of which maxOwned have series", "owner": "one of each app",
	"name": "the entries of the certificate stores that are in use", "version": "one series", "go_version": "one series",
}

// TestMetricsFollowTheHabits lints the metrics as Prometheus does, and holds that each label
// has a bound.
func TestMetricsFollowTheHabits(t *testing.T) {
	t.Parallel()
	var families []*dto.MetricFamily
	for _, m := range allMetrics(t) {
		one := &dto.Metric{Counter: &dto.Counter{}, Gauge: &dto.Gauge{}, Histogram: &dto.Histogram{}}
		for _, l := range m.labels {
			one.Label = append(one.Label, &dto.LabelPair{Name: &l})
			if boundedLabels[l] == "" {
				t.Errorf("%s has the label %s: nothing says what bounds its values", m.name, l)
			}
		}
		families = append(families, &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &m.kind, Metric: []*dto.Metric{one}})
		if !strings.HasSuffix(m.help, ".") || len(m.help) < 10 {
			t.Errorf("%s: the help %q is no sentence", m.name, m.help)
		}
		if strings.Contains(m.name, "_days") || strings.Contains(m.name, "_ms") || strings.Contains(m.name, "_minutes") {
			t.Errorf("%s: the unit is not a base unit", m.name)
		}
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if len(families) < 40 {
		t.Errorf("only %d metrics were found", len(families))
	}
}
