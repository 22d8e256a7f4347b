package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"relay/certs/certstest"
	"relay/xds/envoytest"
)

// metric returns the value of a series; ok is false if there is none.
func (w *world) metric(series string) (value float64, ok bool) {
	w.t.Helper()
	resp, err := http.Get("http://" + w.relay.adminListener.Addr().String() + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindSubmatch(body)
	if found == nil {
		return 0, false
	}
	if value, err = strconv.ParseFloat(string(found[1]), 64); err != nil {
		w.t.Fatal(err)
	}
	return value, true
}

// The certificates between Relay and its Envoys are watched like those of
// domains: both ends of it.
func TestCertificatesOfThePorts(t *testing.T) {
	w := newWorld(t)
	w.deploy(app("/a", "a.test", 1))
	w.issue("a.test")
	client := w.secure()
	issue := func(left time.Duration) {
		issued := w.ca.TestIssue(t, []string{"relay.test"}, certstest.Options{
			NotBefore: time.Now().Add(-60 * 24 * time.Hour), NotAfter: time.Now().Add(left),
		})
		replace(t, w.config.XDSKey, issued.Key)
		replace(t, w.config.XDSCert, certstest.Join(issued.Leaf, issued.Chain))
	}
	const port, envoys = `relay_port_certificate_days_to_expiry{port="xds"}`, `relay_xds_client_certificate_days_to_expiry{fleet="external"}`
	alerts, err := os.ReadFile("../../deploy/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, series := range []string{port, envoys} {
		if name, _, _ := strings.Cut(series, "{"); !strings.Contains(string(alerts), name+" <") {
			t.Errorf("no alert names %s", name)
		}
	}
	issue(20 * time.Hour)
	w.startRelay()
	w.problem("xds-cert", "expires within 1 days: renew it")
	if days, ok := w.metric(port); !ok || days < 0.7 || days > 0.84 {
		t.Errorf("%s is %v, %v; want 20 hours", port, days, ok)
	}
	if days, ok := w.metric(envoys); ok {
		t.Errorf("%s is %v without an Envoy", envoys, days)
	}
	w.envoy = envoytest.Start(t, envoytest.Options{XDS: []string{w.config.XDS}, TLS: client})
	w.ready()
	if at := w.streams(1)[0].CertificateExpires; time.Until(at) < time.Hour {
		t.Errorf("the Envoy's certificate expires at %s", at)
	}
	if days, ok := w.metric(envoys); !ok || days < 1 {
		t.Errorf("%s is %v, %v", envoys, days, ok)
	}

	// What cannot be used replaces nothing, and is told, once.
	replace(t, w.config.XDSCert, []byte("no certificate"))
	w.problem("xds-cert", "the last good one stays")
	w.eventually("a line in the log", func() error {
		if n := strings.Count(w.log.String(), "the last good one stays"); n != 1 {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	issue(50 * 24 * time.Hour)
	w.eventually("no problem", func() error {
		if all := w.relay.Problems(); len(all) > 0 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	if days, ok := w.metric(port); !ok || days < 49 {
		t.Errorf("%s is %v, %v; want that of the renewed one", port, days, ok)
	}
	if err := os.Remove(w.config.XDSKey); err != nil {
		t.Fatal(err)
	}
	w.problem("xds-cert", "no such file")
}
