package e2e

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

// benchmarkEven measures how even the load is when a fourth server comes to three. A connection counts for
// Envoy when the server has taken it, so those that come at the same moment may meet the same server: few do
// here. All at once is measured too, without a promise.
func benchmarkEven(b *testing.B) {
	for _, atOnce := range []int{8, 400} {
		percent := fourthServer(b, atOnce)
		if atOnce == 400 {
			b.ReportMetric(percent, "%-from-even-all-at-once")
			continue
		}
		atMost(b, percent, 5, "%-from-even")
	}
}

func fourthServer(b *testing.B, atOnce int) (percent float64) {
	const devices = 400
	w := newDeviceWorld(b)
	servers := []*benchServer{startBenchServer(b, whoServer), startBenchServer(b, whoServer), startBenchServer(b, whoServer), startBenchServer(b, whoServer)}
	address := w.service("/imp", "", servers[:3], byTLS()...)
	w.startWorkers(2)
	d := newBenchDevices(b, address, w.configs, atOnce)
	w.listens(d)
	d.add(devices)
	uneven(b, servers[:3], devices)
	w.service("/imp", address, servers, byTLS()...)
	eventually(b, "Envoy has four servers", func() error {
		if n := w.stat(`^cluster\..*imp.*\.membership_total$`); n != 4 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	d.add(devices)
	if n := d.ended.Load(); n > 0 {
		b.Errorf("%d connections ended: %q", n, d.why)
	}
	return uneven(b, servers, 2*devices)
}

// uneven is how far the server that is furthest from its share is from it, in percent.
func uneven(b *testing.B, servers []*benchServer, connections int) (percent float64) {
	b.Helper()
	share := float64(connections) / float64(len(servers))
	for i, s := range servers {
		open, _ := s.connections()
		b.Logf("server %d of %d has %d", i+1, len(servers), open)
		percent = max(percent, 100*math.Abs(float64(open)-share)/share)
	}
	return percent
}

// benchmarkReconnects measures how soon the devices of a server that dies are back on the others, at the rate
// that those take.
func benchmarkReconnects(b *testing.B) {
	const devices, rate = 2000, 150
	w := newDeviceWorld(b)
	var servers []*benchServer
	for range 3 {
		servers = append(servers, startBenchServer(b, whoServer))
	}
	address := w.service("/imp", "", servers, byTLS(acceptLabel, "5000/s")...)
	w.startWorkers(2)
	d := newBenchDevices(b, address, w.configs, 100)
	d.again = true
	w.listens(d)
	d.add(len(servers) * devices)
	d.slot = make(chan struct{}, len(servers)*devices) // now they all come at once
	labels := byTLS(acceptLabel, fmt.Sprint(rate, "/s"))
	w.service("/imp", address, servers, labels...)
	w.rate("/imp", rate)
	dead, left := servers[0], servers[1:]
	lost, _ := dead.connections()
	for _, s := range left {
		s.connections()
	}
	began := time.Now()
	dead.kill()
	w.service("/imp", address, left, labels...)
	eventually(b, "devices are cut", func() error {
		if n := d.ended.Load(); n < int64(lost) {
			return fmt.Errorf("%d of %d", n, lost)
		}
		return nil
	})
	d.await(int64(len(servers) * devices))
	took := time.Since(began)
	b.ReportMetric(float64(lost), "devices")
	b.ReportMetric(float64(lost)/rate/float64(len(left)), "s-by-the-rate")
	atMost(b, took.Seconds(), 10, "s-until-all-are-back")
	share, most := float64(len(servers)*devices)/float64(len(left)), 0.0
	for i, s := range left {
		open, busiest := s.connections()
		b.Logf("server %d has %d, and took %d in its busiest second", i+1, open, busiest)
		most = max(most, 100*(float64(open)-share)/share)
		b.ReportMetric(float64(busiest)/rate, fmt.Sprintf("times-the-rate-at-%d", i+1))
	}
	atMost(b, most, 10, "%-over-the-share")
	if n := d.ended.Load(); n != int64(lost) || d.failed.Load() > 0 {
		b.Errorf("%d connections ended, of %d; %d attempts failed: %q", n, lost, d.failed.Load(), d.why)
	}
}

// rate waits until Relay paces a service by a rate.
func (w *deviceWorld) rate(app string, rate int) {
	w.b.Helper()
	eventually(w.b, "the rate", func() error {
		resp, err := http.Get(w.relay.admin + "/api/v1/apps" + app)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if want := fmt.Sprint(rate, "/s"); err == nil && !strings.Contains(string(text), want) {
			err = fmt.Errorf("%s is not in %s", want, text)
		}
		return err
	})
	w.settled()
}
