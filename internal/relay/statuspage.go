package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"relay/internal/panics"
	"relay/internal/problem"
	"relay/statuspage"
	"relay/statuspage/web"
)

// PublicPage is the status page as a part of a program: of `relay serve` or `relay probe`. A nil one is none.
type PublicPage struct {
	// Monitor judges the services and has the incidents.
	Monitor *statuspage.Monitor
	page    *web.Page
	config  StatusPage
	tls     *serverTLS
	log     *slog.Logger

	mu       sync.Mutex
	listener net.Listener // opened at the start; nil once it is used
}

// NewPublicPage reads the settings and opens the port, so that what cannot be used ends the program at the start. Own are the
// probes of this process, nil if it has none. It returns nil if there is to be no page.
func NewPublicPage(config StatusPage, own statuspage.Probes, log *slog.Logger, registerer prometheus.Registerer) (*PublicPage, error) {
	if !config.enabled() {
		return nil, nil
	}
	settings, err := statuspage.ReadSettings(config.File)
	if err != nil {
		return nil, fmt.Errorf("--status-page-file: %w", err)
	}
	p := &PublicPage{config: config, tls: config.serverTLS(), log: log.With("part", "status page")}
	if config.Address != "" {
		if p.tls.enabled() {
			if _, err := p.tls.listen(); err != nil {
				return nil, fmt.Errorf("--status-page-cert: %w", err)
			}
		}
		if p.listener, err = p.listen(); err != nil {
			return nil, err
		}
	}
	p.Monitor = statuspage.New(statuspage.Config{Settings: settings, Dir: config.StateDir, Own: own, Log: p.log, Registerer: registerer})
	p.page = web.New(web.Config{Source: p.Monitor, Log: p.log, Registerer: registerer, Dir: config.Dir})
	return p, nil
}

func (p *PublicPage) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", p.config.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot serve the status page (--status-page %s): %w", p.config.Address, bindCure(err))
	}
	return l, nil
}

// Addr is where the public gets the page, before it is served; nil if there is no port.
func (p *PublicPage) Addr() net.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return nil
	}
	return p.listener.Addr()
}

// Serve runs the page until the context ends.
func (p *PublicPage) Serve(ctx context.Context) error {
	p.Monitor.Load()
	p.page.Refresh() // or else the first who ask are told that nothing is known
	group, ctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{p.Monitor.Serve, p.page.Run, p.serveHTTP} {
		group.Go(func() error { return panics.Catch(func() error { return part(ctx) }) })
	}
	return group.Wait()
}

// serveHTTP answers the public. When it is started again, it opens the port again: what is wrong with this port must not
// end a program that Envoys need.
func (p *PublicPage) serveHTTP(ctx context.Context) error {
	if p.config.Address == "" {
		return nil
	}
	p.mu.Lock()
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	var err error
	if l == nil {
		if l, err = p.listen(); err != nil {
			return err
		}
	}
	var secured *tls.Config
	if p.tls.enabled() {
		if secured, err = p.tls.listen(); err != nil {
			_ = l.Close()
			return err
		}
	}
	return p.page.Listen(ctx, l, secured)
}

// close closes the port if it was not served.
func (p *PublicPage) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
	}
}

// Problems say what of the page does not work.
func (p *PublicPage) Problems() []problem.Problem {
	if p == nil {
		return nil
	}
	var all []problem.Problem
	if reason := p.page.Trouble(); reason != "" {
		all = append(all, problem.Problem{
			Kind: problem.Source, Severity: problem.Ignored, Subject: "status-page-dir", Reason: reason,
			Action: "make the folder writable: the public sees an old page until then",
		})
	}
	for _, service := range p.Monitor.Unwatched() {
		all = append(all, problem.Problem{
			Kind: problem.Source, Severity: problem.Ignored, Subject: "status-page-file", Reason: fmt.Sprintf("no place has a probe of the service %q", service),
			Action: "correct its domains, apps, probes and fleets, or add RELAY_{n}_PROBE: the public is told that nothing is known of it",
		})
	}
	return all
}

// newStatusPage builds the page for the public, if there is to be one.
func (r *Relay) newStatusPage(registerer prometheus.Registerer) error {
	config := r.config.StatusPage
	config.StateDir = r.config.State.Dir
	var err error
	r.statusPage, err = NewPublicPage(config, r.probes.own(), r.log, registerer)
	return err
}
