package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"relay/certs/certstest"
)

// benchTenant begins the URIs of the devices that are let in.
const benchTenant = "spiffe://devices.test/tenant/acme/"

// benchDevices are clients that stay connected.
type benchDevices struct {
	b       *testing.B
	address string
	// tls has what a device shows, nil for plain TCP.
	tls func(device int) *tls.Config
	// again has devices whose connection ends connect anew.
	again bool

	ctx  context.Context
	stop func()
	wg   sync.WaitGroup
	slot chan struct{}
	// connected is how many are; ended counts connections that were, and failed attempts that came to
	// nothing.
	connected, ended, failed atomic.Int64
	mu                       sync.Mutex
	conns                    []net.Conn
	why                      []string
	next                     int
}

// deviceConfigs returns what each device shows: a certificate of its own, of a P-256 key.
func deviceConfigs(b *testing.B, servers *certstest.CA, devices *certstest.Authority) func(int) *tls.Config {
	base := servers.ClientTLS()
	base.ServerName, base.MinVersion, base.CurvePreferences = devicesDomain, tls.VersionTLS12, []tls.CurveID{tls.CurveP256}
	key := devices.TestIssue(b, []string{"key"}, certstest.Options{}).Signer
	return func(device int) *tls.Config {
		uri, _ := url.Parse(fmt.Sprintf("%s%d", benchTenant, device))
		issued := devices.TestIssue(b, nil, certstest.Options{CommonName: fmt.Sprint("device ", device), URIs: []*url.URL{uri}, Key: key})
		leaf, _ := pem.Decode(issued.Leaf)
		config := base.Clone()
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf.Bytes}, PrivateKey: key}}
		return config
	}
}

// newBenchDevices makes devices that end with the benchmark, or with end. Not more than atOnce connect at
// the same time.
func newBenchDevices(b *testing.B, address string, configs func(int) *tls.Config, atOnce int) *benchDevices {
	d := &benchDevices{b: b, address: address, tls: configs, slot: make(chan struct{}, atOnce)}
	d.ctx, d.stop = context.WithCancel(context.Background())
	b.Cleanup(d.end)
	return d
}

// add connects so many more, and waits until all are.
func (d *benchDevices) add(n int) {
	d.b.Helper()
	want := d.connected.Load() + int64(n)
	for range n {
		device := d.next
		d.next++
		d.wg.Go(func() { d.stay(device) })
	}
	d.await(want)
}

// await waits until so many are connected.
func (d *benchDevices) await(n int64) {
	d.b.Helper()
	eventually(d.b, fmt.Sprintf("%d devices are connected", n), func() error {
		time.Sleep(8 * time.Millisecond) // connecting needs the CPU
		if got := d.connected.Load(); got != n {
			d.mu.Lock()
			defer d.mu.Unlock()
			return fmt.Errorf("%d are: %q", got, d.why)
		}
		return nil
	})
}

// stay keeps a device connected. It tries again as long as the first attempt comes to nothing.
func (d *benchDevices) stay(device int) {
	var config *tls.Config
	if d.tls != nil {
		config = d.tls(device)
	}
	for d.ctx.Err() == nil {
		d.slot <- struct{}{}
		conn, err := d.connect(config)
		<-d.slot
		if err != nil {
			d.failed.Add(1)
			d.note(err)
			pause(d.ctx, deviceRetry)
			continue
		}
		d.connected.Add(1)
		_, err = conn.Read(make([]byte, 1)) // nothing comes
		d.connected.Add(-1)
		if d.ctx.Err() != nil {
			return
		}
		_ = conn.Close()
		d.ended.Add(1)
		d.note(err)
		if !d.again {
			return
		}
		pause(d.ctx, deviceRetry)
	}
}

// connect returns a connection whose server has answered.
func (d *benchDevices) connect(config *tls.Config) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, KeepAlive: -1}
	conn, err := dialer.DialContext(d.ctx, "tcp", d.address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.conns = append(d.conns, conn)
	d.mu.Unlock()
	if config != nil {
		conn = tls.Client(conn, config)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err = io.WriteString(conn, "ping\n"); err == nil {
		_, err = bufio.NewReaderSize(conn, 64).ReadString('\n')
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

// note keeps the first few reasons.
func (d *benchDevices) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.why) < 5 {
		d.why = append(d.why, strings.TrimSpace(err.Error()))
	}
}

// end disconnects all.
func (d *benchDevices) end() {
	d.stop()
	d.mu.Lock()
	for _, conn := range d.conns {
		_ = conn.Close()
	}
	d.conns = nil
	d.mu.Unlock()
	d.wg.Wait()
}
