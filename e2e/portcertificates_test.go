package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/xds/envoytest"
)

// The certificates between Relay and its Envoys are watched like those of
// domains: both ends of it.
func TestCertificatesOfThePorts(t *testing.T) {
	w := newWorld(t)
	w.marathon.deploy(app("/a", "a.test", 1))
	w.certs.issue("a.test")
	client := w.relay.secure()
	issue := func(left time.Duration) {
		issued := w.certs.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{
			NotBefore: time.Now().Add(-60 * 24 * time.Hour), NotAfter: time.Now().Add(left),
		})
		replace(t, w.relay.config.XDS.TLS.KeyFile, issued.Key)
		replace(t, w.relay.config.XDS.TLS.CertFile, certstest.Join(issued.Leaf, issued.Chain))
	}
	const port, envoys = `relay_port_certificate_expiry_timestamp_seconds{port="xds"}`, `relay_xds_client_certificate_expiry_timestamp_seconds{fleet="external"}`
	alertsName(t, port, envoys)
	issue(20 * time.Hour)
	w.relay.start()
	w.admin.problem("xds-cert", "expires within 1 day: renew it")
	if at, ok := w.admin.metric(port); !ok || untilUnix(at).Round(time.Hour) != 20*time.Hour {
		t.Errorf("%s is %v, %v; want 20 hours", port, untilUnix(at), ok)
	}
	if at, ok := w.admin.metric(envoys); ok {
		t.Errorf("%s is %v without an Envoy", envoys, at)
	}
	w.envoy.Envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.relay.config.XDS.Address}, TLS: client})
	w.envoy.ready()
	if at := w.admin.streams(1)[0].CertificateExpires; time.Until(at) < time.Hour {
		t.Errorf("the Envoy's certificate expires at %s", at)
	}
	if at, ok := w.admin.metric(envoys); !ok || untilUnix(at) < 24*time.Hour {
		t.Errorf("%s is %v, %v", envoys, at, ok)
	}

	// What cannot be used replaces nothing, and is told, once.
	replace(t, w.relay.config.XDS.TLS.CertFile, []byte("no certificate"))
	w.admin.problem("xds-cert", "the last good one stays")
	w.eventually("a line in the log", func() error {
		if n := strings.Count(w.relay.log.String(), "the last good one stays"); n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	issue(50 * 24 * time.Hour)
	w.eventually("no problem", func() error {
		if all := w.admin.problems(); len(all) > 0 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	if at, ok := w.admin.metric(port); !ok || untilUnix(at) < 49*24*time.Hour {
		t.Errorf("%s is %v, %v; want that of the renewed one", port, at, ok)
	}
	if err := os.Remove(w.relay.config.XDS.TLS.KeyFile); err != nil {
		t.Fatal(err)
	}
	w.admin.problem("xds-cert", "no such file")
}

// untilUnix is the time until one in Unix time.
func untilUnix(seconds float64) time.Duration {
	return time.Duration((seconds - float64(time.Now().UnixMilli())/1000) * float64(time.Second))
}

// alertsName fails the test unless there is an alert for each series.
func alertsName(t *testing.T, series ...string) {
	t.Helper()
	alerts, err := os.ReadFile("../deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range series {
		if name, _, _ := strings.Cut(one, "{"); !strings.Contains(string(alerts), name+" - time() <") {
			t.Errorf("no alert names %s", name)
		}
	}
}

// expires waits until the metric of a certificate in a file says that it ends at a time, to the
// minute.
func (a *adminClient) expires(path string, want time.Time) {
	a.t.Helper()
	series := fmt.Sprintf(`relay_certificate_expiry_timestamp_seconds{name="%s",source="dir"}`, path)
	eventually(a.t, series, func() error {
		at, ok := a.metric(series)
		if off := time.Unix(int64(at), 0).Sub(want).Abs(); !ok || off > time.Minute {
			return fmt.Errorf("it is %v, %t; want %d", at, ok, want.Unix())
		}
		return nil
	})
}
