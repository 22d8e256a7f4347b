package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"relay/certs/certstest"
	"relay/internal/testbed"
	"relay/sources/marathon/marathontest"
)

// startTimeout bounds the start of everything on a slow machine.
const startTimeout = 90 * time.Second

//go:embed apps.json
var sampleApps []byte

// demo is all that runs. Its parts stop in the reverse order of their start.
type demo struct {
	options
	dir string
	out io.Writer

	stops    []func()
	marathon *marathontest.Server
	issuer   *issuer
	vault    *vault
	bed      *testbed.Bed
	visitors *visitors
	started  time.Time     // when Relay was
	took     time.Duration // from then to the first routed HTTPS request
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "== "+format+"\n", args...) }

func (d *demo) onStop(f func()) { d.stops = append(d.stops, f) }

func (d *demo) stop() {
	for _, f := range slices.Backward(d.stops) {
		f()
	}
}

// start starts everything and waits until a request by HTTPS is routed.
func (d *demo) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, step := range []func(context.Context) error{
		d.startMarathon, d.startCertificates, d.startRelay, d.startEnvoy, d.awaitHTTPS, d.startVisitors,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return d.guide()
}

// wait returns when the user has had enough or a part has ended by itself.
func (d *demo) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		d.say("stopping")
		return nil
	case <-d.bed.Relay.Done():
		return d.bed.Relay.Ended()
	case <-d.bed.Envoy.Done():
		return d.bed.Envoy.Ended()
	}
}

func (d *demo) startMarathon(ctx context.Context) error {
	d.say("Marathon: a simulated one, with tasks that are real HTTP servers")
	var err error
	if d.marathon, err = marathontest.New(marathontest.Options{Addr: local(d.Marathon)}); err != nil {
		return err
	}
	d.onStop(d.marathon.Close)
	var apps []json.RawMessage
	if err := json.Unmarshal(sampleApps, &apps); err != nil {
		return fmt.Errorf("apps.json: %w", err)
	}
	for _, app := range apps {
		if err := d.marathon.Apply(string(app)); err != nil {
			return err
		}
	}
	return d.marathon.WaitIdle(ctx)
}

func (d *demo) startCertificates(ctx context.Context) error {
	ca, err := certstest.NewCA()
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.caFile(), ca.RootPEM(), 0o600); err != nil {
		return err
	}
	d.issuer = &issuer{ca: ca}
	if d.Certs == "vault" {
		d.say("Certificates: from a local authority, kept in a real Vault")
		if d.vault, err = startVault(ctx, d.dir); err != nil {
			return err
		}
		d.onStop(d.vault.server.Stop)
		d.issuer.store = d.vault
	} else {
		d.say("Certificates: from a local authority, kept as PEM files")
		certs := filepath.Join(d.dir, "certs")
		if err := os.Mkdir(certs, 0o700); err != nil {
			return err
		}
		d.issuer.store = directory{testbed.CertificateDirectory(certs)}
	}
	for name := range domains {
		if _, err := d.issuer.issue(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) caFile() string { return filepath.Join(d.dir, "ca.pem") }

// relayFlags are Relay's flags, but for that of xDS.
func (d *demo) relayFlags() []string {
	return append([]string{
		"--marathon", d.marathon.URL(), "--http", local(d.HTTP), "--https", local(d.HTTPS),
		"--admin", local(d.Admin), "--scaling",
	}, d.issuer.store.flags()...)
}

func (d *demo) startRelay(context.Context) error {
	d.say("Relay: %s serve", d.Relay)
	d.started = time.Now()
	if err := d.bed.StartRelay(d.relayFlags()...); err != nil {
		return err
	}
	d.onStop(d.bed.Relay.Stop)
	return nil
}

func (d *demo) terminal() io.Writer {
	if d.Verbose {
		return d.out
	}
	return nil
}

func (d *demo) startEnvoy(ctx context.Context) error {
	d.say("Envoy: a real one, with what relay bootstrap prints")
	if err := d.bed.StartEnvoy(ctx, "demo-envoy"); err != nil {
		return err
	}
	d.onStop(d.bed.Envoy.Stop)
	return nil
}

// awaitHTTPS returns when web.test is answered by its app, by HTTPS.
func (d *demo) awaitHTTPS(ctx context.Context) error {
	d.say("waiting for the first request that is routed by HTTPS")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, local(d.HTTPS))
		},
		TLSClientConfig: d.issuer.ca.ClientTLS(), DisableKeepAlives: true,
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for {
		err := routed(ctx, client, "https://web.test/", "/web")
		if err == nil {
			d.took = time.Since(d.started)
			return nil
		}
		select {
		case <-d.bed.Relay.Done():
			return d.bed.Relay.Ended()
		case <-d.bed.Envoy.Done():
			return d.bed.Envoy.Ended()
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("no request was routed in %s, the last one: %w", startTimeout, err)
			}
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startVisitors lets visitors come, and offers to switch them off.
func (d *demo) startVisitors(context.Context) error {
	d.visitors = newVisitors(local(d.HTTP), local(d.HTTPS), d.issuer.ca, d.marathon)
	d.visitors.away.Store(!d.Traffic)
	d.onStop(d.visitors.start())
	mux := http.NewServeMux()
	mux.HandleFunc("POST /renew/{name}", d.issuer.renew("http://"+local(d.Admin)+"/_mlb_signal/usr1"))
	mux.HandleFunc("POST /traffic/{wish}", d.visitors.control)
	stop, err := serve(local(d.Renew), mux)
	if err != nil {
		return err
	}
	d.onStop(stop)
	return nil
}

// serve answers requests until the returned func is called.
func serve(address string, handler http.Handler) (stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve renewal and traffic: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return func() {
		_ = server.Close()
		<-done
	}, nil
}

func routed(ctx context.Context, client *http.Client, url, app string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-App") != app {
		return fmt.Errorf("GET %s: %s, app %q", url, resp.Status, resp.Header.Get("X-App"))
	}
	return nil
}
