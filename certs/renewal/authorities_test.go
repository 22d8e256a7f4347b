package renewal_test

import (
	"crypto/x509"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relay/certs"
	"relay/certs/certstest"
	"relay/certs/renewal"
	"relay/internal/logtest"
)

type usedAuthorities []*certs.Authority

func (u usedAuthorities) UsedAuthorities() []*certs.Authority { return u }

// People are told once of each end, in time, whatever the stores do.
func TestRemindersOfAuthorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		root := certstest.TestRoot(t, "devices", now.AddDate(-1, 0, 0), now.AddDate(0, 0, 40))
		lists, err := certs.ParseRevocations(root.TestRevoke(t, certstest.ListOptions{ThisUpdate: now, NextUpdate: now.AddDate(0, 0, 5)}))
		if err != nil {
			t.Fatal(err)
		}
		a := certs.NewAuthority("vault", "devices", []*x509.Certificate{root.Certificate()}, lists)
		logs, registry := &logtest.Buffer{}, prometheus.NewPedanticRegistry()
		r := renewal.NewAuthorities(usedAuthorities{a}, slog.New(slog.NewTextHandler(logs, nil)), registry)
		go func() { _ = r.Serve(t.Context()) }()
		at := func(days float64, want ...string) {
			t.Helper()
			time.Sleep(time.Until(now.Add(time.Duration(days*24*float64(time.Hour)) + time.Second)))
			synctest.Wait()
			lines := strings.FieldsFunc(logs.String(), func(r rune) bool { return r == '\n' })
			if len(lines) != len(want) {
				t.Fatalf("after %v days: %q", days, lines)
			}
			for i, line := range lines {
				if !strings.Contains(line, want[i]) || !strings.Contains(line, "event=authority_reminder") {
					t.Errorf("after %v days: %q, want %q", days, line, want[i])
				}
			}
		}
		at(4.4)
		at(4.6, "level=WARN msg=\"an authority of clients needs care\"")
		at(4.9, "is out of date from")
		at(6, "is out of date from", "level=ERROR")
		at(9.9, "is out of date from", "is out of date since")
		at(10.1, "is out of date from", "is out of date since", "expires on")
		at(41, "is out of date from", "is out of date since", "expires on", "has expired on")
		families, err := registry.Gather()
		if err != nil || len(families) != 2 {
			t.Fatalf("%d metrics, %v", len(families), err)
		}
		for i, want := range []time.Time{a.NotAfter, a.RevokedUntil} {
			m := families[i].GetMetric()
			if len(m) != 1 || m[0].GetGauge().GetValue() != float64(want.Unix()) || m[0].GetLabel()[0].GetValue() != "devices" {
				t.Errorf("%s is %v, want %d", families[i].GetName(), m, want.Unix())
			}
		}
	})
}
