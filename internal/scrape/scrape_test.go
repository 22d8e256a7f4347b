package scrape

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	asked := 0.0
	all, one, never := NewGauge("relay_all", "All.", "fleet"), NewCounter("relay_one_total", "One."), NewGauge("relay_never", "Never.")
	Register(registry, func(set Set) {
		asked++
		set(all, 2, "a")
		set(all, 3, "b")
		set(one, asked)
	}, all, one, never)
	if n := asked; n != 0 {
		t.Errorf("collected %v times before somebody asked", n)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got = append(got, describe(f.GetName(), m))
		}
	}
	if want := []string{"relay_all fleet=a 2", "relay_all fleet=b 3", "relay_one_total 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if registry.Register(prometheus.NewGauge(prometheus.GaugeOpts{Name: "relay_never", Help: "Never."})) == nil {
		t.Error("two metrics may have one name")
	}
}

func describe(name string, m *dto.Metric) string {
	for _, l := range m.GetLabel() {
		name += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
	}
	return fmt.Sprint(name, " ", m.GetGauge().GetValue()+m.GetCounter().GetValue())
}
