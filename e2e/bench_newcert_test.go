package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"relay/internal/relay"
	"relay/xds/envoytest"
)

const (
	benchOthers = 1000
	benchAdded  = 20
)

// BenchmarkNewCertificate measures what one more certificate costs, beside 1000
// others, with a filter chain for each and on demand: from the hook until a
// client is shown it, and the CPU time of Envoy.
func BenchmarkNewCertificate(b *testing.B) {
	for _, certificates := range []string{"all", onDemand} {
		b.Run(certificates, func(b *testing.B) {
			v := newBenchVault(b, benchOthers)
			https := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(b))
			v.fleet.HTTP = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(b)))
			v.fleet.HTTPS = netip.MustParseAddrPort(https)
			v.config.XDS.Address = fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(b))
			v.fleet.CertificatesOnDemand = certificates == onDemand
			r, stop := v.serve(b)
			defer stop()
			envoy := envoytest.Start(b, envoytest.Options{XDS: []string{v.config.XDS.Address}})
			process := procfs{b, envoy.Pid()}
			began := time.Now()
			v.shown(b, https, fmt.Sprintf("n%d.test", benchOthers-1))
			took, cpu, memory := time.Since(began), process.cpu(), process.memory("VmRSS")
			for b.Loop() {
				v.add(b, r, https, process)
			}
			b.ReportMetric(took.Seconds(), "s-until-served-at-start")
			b.ReportMetric(cpu.Seconds(), "s-Envoy-CPU-at-start")
			b.ReportMetric(float64(memory>>20), "MB-Envoy-at-start")
		})
	}
}

func (v *benchVault) add(b *testing.B, r *relay.Relay, https string, envoy procfs) {
	var took []time.Duration
	cpu := envoy.cpu()
	for range benchAdded {
		name := fmt.Sprintf("new%d.test", v.certificates)
		v.certificates++
		v.renew(b, name)
		began := time.Now()
		v.hook(b, r)
		v.shown(b, https, name)
		took = append(took, time.Since(began))
	}
	cpu = envoy.cpu() - cpu
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(took[benchAdded/2]), "ms-until-served-median")
	b.ReportMetric(ms(took[benchAdded-1]), "ms-until-served-max")
	b.ReportMetric(ms(cpu)/benchAdded, "ms-Envoy-CPU-each")
}

// shown connects until the certificate is the one for the name.
func (v *benchVault) shown(b *testing.B, https, name string) {
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	config := v.ca.ClientTLS()
	config.ServerName = name
	dialer := tls.Dialer{NetDialer: new(net.Dialer), Config: config}
	var err error
	for ctx.Err() == nil {
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, "tcp", https); err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(time.Millisecond)
	}
	b.Fatalf("%s is not served: %v", name, err)
}
