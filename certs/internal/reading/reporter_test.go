package reading_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/panics"
	"relay/internal/problem"
)

var errRead = errors.New("unreadable")

func TestReporterLogsWhatIsNew(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var logs bytes.Buffer
	reporter := reading.NewReporter("dir", slog.New(slog.NewTextHandler(&logs, nil)), prometheus.NewPedanticRegistry())
	problem := []problem.Problem{{Subject: "a.pem", Reason: "odd"}}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { reporter.Failed(errRead) }, `msg="certificates cannot be read"`},
		{func() { reporter.Failed(errRead) }, ""},
		{func() { reporter.Succeeded(now, nil, problem) }, "name=a.pem"},
		{func() { reporter.Succeeded(now, nil, problem) }, ""},
		{func() { reporter.Succeeded(now, nil, nil) }, ""},
		{func() { reporter.Succeeded(now, nil, problem) }, "name=a.pem"},
		{func() { reporter.Failed(errRead) }, "what is known stays in use"},
		{func() { reporter.Succeeded(now, nil, problem) }, "certificates read"},
	} {
		logs.Reset()
		step.do()
		if got := logs.String(); (got == "") != (step.want == "") || !strings.Contains(got, step.want) {
			t.Errorf("logged %q, want %q", got, step.want)
		}
	}
}

func TestSourcesShareARegistry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	registry := prometheus.NewPedanticRegistry()
	for _, source := range []string{"dir", "vault"} {
		reporter := reading.NewReporter(source, slog.New(slog.DiscardHandler), registry)
		reporter.Succeeded(now, []*certs.Certificate{{NotAfter: now.Add(2 * time.Hour)}, {NotAfter: now.Add(time.Hour)}}, nil)
	}
	if panics.Catch(func() error { reading.NewReporter("dir", slog.New(slog.DiscardHandler), registry); return nil }) == nil {
		t.Error("one source was registered twice")
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, family := range families {
		if family.GetName() != "relay_certificate_next_expiry_timestamp_seconds" {
			continue
		}
		for _, metric := range family.GetMetric() {
			found++
			if got := metric.GetGauge().GetValue(); got != float64(now.Add(time.Hour).Unix()) {
				t.Errorf("next expiry %f", got)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d sources have metrics, want 2", found)
	}
}
