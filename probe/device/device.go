// Package device probes as a device in the field does: it connects by mutual TLS through a given Envoy, says who
// it is, talks to its agent and is talked to, by messages over that connection and by HTTP. The settings say how
// the servers speak (probe.DeviceSettings).
package device

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"time"

	"relay/internal/files"
	"relay/probe"
	"relay/probe/connect"
)

// The steps of a probe.
const (
	Connect          = "connect"
	TLS              = "tls"
	Hello            = "hello"
	MessageToAgent   = "message to the agent"
	MessageFromAgent = "message from the agent"
	HTTPToAgent      = "http to the agent"
	HTTPFromAgent    = "http from the agent"
)

// Options are what a Prober is made of.
type Options struct {
	// Devices and Callback are those that probe.Parse has returned.
	Devices  []probe.DeviceSettings
	Callback probe.CallbackSettings
	// Roots are the authorities of certificates for which a device names none; those of the system if it is nil.
	Roots func() (*x509.CertPool, error)
	// Place is the value of probe.Header.
	Place string
	Log   *slog.Logger
}

// device is one of the settings, with its limits.
type device struct{ probe.DeviceSettings }

// Prober asks targets of the kind probe.Device, by their names in the settings.
type Prober struct {
	options   Options
	devices   map[string]*device
	callbacks *callbacks
}

// New returns a Prober. Serve must run for steps in which the agent calls the probe.
func New(o Options) *Prober {
	p := &Prober{options: o, devices: make(map[string]*device), callbacks: &callbacks{
		settings: o.Callback, log: o.Log, waiting: make(map[string]chan struct{}), up: make(chan struct{}),
	}}
	for _, d := range o.Devices {
		d.Limits = d.Limits.OrDefault()
		p.devices[d.Name] = &device{d}
	}
	return p
}

// Serve takes the calls of agents until the context ends. It returns an error if it cannot listen.
func (p *Prober) Serve(ctx context.Context) error {
	if p.options.Callback.Listen == "" {
		<-ctx.Done()
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.options.Callback.Listen)
	if err != nil {
		return fmt.Errorf("the address that agents call: %w", err)
	}
	return p.callbacks.serve(ctx, l)
}

// UnknownCalls counts the calls to the probe's address that nobody waited for: of strangers, late, or second ones.
func (p *Prober) UnknownCalls() int64 { return p.callbacks.unknown.Load() }

// run is one probe.
type run struct {
	*Prober
	*device
	target probe.Target
	result *probe.Result
	values values
	steps  connect.Steps

	conn net.Conn
	tls  *tls.Config
	// came is what came over the connection, from behind the last text that fit. pieces counts what it came in.
	came   []byte
	pieces int
	// refusal says that the edge refused the certificate, once that is known.
	refusal string
}

// Probe makes all steps that the device has, until one fails.
func (p *Prober) Probe(ctx context.Context, t probe.Target) probe.Result {
	result := probe.Result{Target: t, Time: time.Now()}
	d := p.devices[t.Name]
	if d == nil {
		result.Reason = "the settings have no such device"
		return result
	}
	r := &run{Prober: p, device: d, target: t, result: &result, values: values{"id": d.ID, "nonce": nonce()}}
	r.steps.Mask = func(text string) string { return r.values.mask(text) }
	r.make(ctx)
	r.steps.Into(&result)
	return result
}

// nonce is a text by which the answers of this run are told from others.
func nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (r *run) make(ctx context.Context) {
	defer func() {
		if r.conn != nil {
			_ = r.conn.Close()
		}
	}()
	r.steps.Do(ctx, Connect, r.Limits.Connect, r.connect)
	r.steps.Do(ctx, TLS, r.Limits.TLS, r.handshake)
	for _, step := range []struct {
		name  string
		limit time.Duration
		made  bool
		do    func(context.Context) error
	}{
		{Hello, r.Limits.Hello, r.Hello != nil, r.exchange(r.Hello)},
		{MessageToAgent, r.Limits.MessageToAgent, r.MessageToAgent != nil, r.exchange(r.MessageToAgent)},
		{MessageFromAgent, r.Limits.MessageFromAgent, r.MessageFromAgent != nil, r.exchange(r.MessageFromAgent)},
		{HTTPToAgent, r.Limits.HTTPToAgent, r.HTTPToAgent != nil, func(ctx context.Context) error { return r.request(ctx, r.HTTPToAgent) }},
		{HTTPFromAgent, r.Limits.HTTPFromAgent, r.HTTPFromAgent != nil, r.call},
	} {
		if step.made && !r.steps.Do(ctx, step.name, step.limit, step.do) {
			break
		}
	}
	if r.steps.Failed() == nil && r.pieces == 0 {
		r.listen(ctx)
	}
	if r.refusal != "" {
		r.steps.Blame(TLS, r.refusal)
	}
}

// listen looks whether the edge has refused the certificate of a device that was to wait for nothing.
func (r *run) listen(ctx context.Context) {
	const least = 50 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, least+2*r.steps.All[0].Duration)
	defer cancel()
	defer r.until(ctx)()
	_, err := r.conn.Read(make([]byte, 1))
	if connect.Alert(err) {
		r.refusal = r.refused(err)
	} else if connect.Closed(err) {
		r.refusal = "the connection was closed after the handshake"
	}
}

// connect reads the secret too, so that no step begins without it.
func (r *run) connect(ctx context.Context) (err error) {
	if r.SecretFile != "" {
		token, err := files.Secret(r.SecretFile)
		if err != nil {
			return &connect.Words{Text: "the secret file cannot be used: " + err.Error()}
		}
		r.values["secret"] = string(token)
	}
	r.conn, err = connect.Dial(ctx, r.target.Address, r.target.ProxyProtocol)
	return err
}

func (r *run) handshake(ctx context.Context) error {
	config, err := r.clientTLS(ctx, r.device, r.target.ServerName)
	if err != nil {
		return err
	}
	r.tls = config
	secured, err := connect.Handshake(ctx, r.conn, config)
	if connect.Alert(err) {
		r.result.Answered = true
		return &connect.Words{Text: r.refused(err)}
	}
	r.result.Answered = connect.Shown(err)
	if err != nil {
		return err
	}
	r.conn, r.result.Answered = secured, true
	r.result.CertificateExpires = connect.Expires(secured.ConnectionState())
	return nil
}

// refused says that the edge ended TLS.
func (r *run) refused(alert error) string {
	return "the edge refuses the device's certificate: " + connect.Say(alert) + expired(r.tls)
}
