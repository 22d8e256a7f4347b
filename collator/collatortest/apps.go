// Package collatortest has what tests give a Collator: fleets, apps, certificates, and
// a publisher that remembers what it was given.
package collatortest

import (
	_ "embed"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"relay/certs"
	"relay/collator/routing"
	"relay/internal/secret"
	"relay/sources"
	"relay/sources/labels"
)

// Time is when the certificates of tests are valid.
var Time = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// Fleet is a fleet with both listeners.
func Fleet() routing.Fleet {
	return routing.Fleet{
		Name:    "external",
		HTTP:    netip.MustParseAddrPort("0.0.0.0:80"),
		HTTPS:   netip.MustParseAddrPort("[::]:443"),
		Options: routing.DefaultOptions(), Redis: true,
	}
}

// App is an app with one port in the fleet, one endpoint and the domains given.
func App(id string, domains ...string) *sources.App {
	return &sources.App{ID: id, Version: "1", Ports: []sources.Port{{
		Groups: []string{"external"}, Domains: domains, Endpoints: Endpoints("10.0.0.1:31000"),
	}}}
}

// Endpoints are healthy ones.
func Endpoints(addresses ...string) []sources.Endpoint {
	var es []sources.Endpoint
	for _, a := range addresses {
		es = append(es, sources.Endpoint{Address: netip.MustParseAddrPort(a), Task: "task-" + a})
	}
	return es
}

// Changed returns a copy of the app after f; apps are never modified.
func Changed(app *sources.App, f func(*sources.Port)) *sources.App {
	c := *app
	c.Ports = slices.Clone(app.Ports)
	f(&c.Ports[0])
	return &c
}

// Set returns the app with settings, given as NAME=value.
func Set(t testing.TB, app *sources.App, settings ...string) *sources.App {
	t.Helper()
	return Changed(app, func(p *sources.Port) {
		all := labels.NewSettings()
		for _, s := range settings {
			name, value, _ := strings.Cut(s, "=")
			if !all.Set(name, value) {
				t.Fatalf("no setting %s", name)
			}
		}
		p.TCP = all.TCP(0, len(p.Domains) > 0)
		p.Queue, p.Probe, p.UsedBy = all.Queue(), all.Probe(), all.UsedBy()
		p.HTTP, p.Upstream, _ = all.Finish()
	})
}

// Member is an app of the deployment group web, which wants two tasks.
func Member(id string, hour int, addresses ...string) *sources.App {
	app := Changed(App(id, "web.test"), func(p *sources.Port) { p.Endpoints = Endpoints(addresses...) })
	app.Deployment = &sources.Deployment{
		Group: "web", StartedAt: Time.Add(time.Duration(hour) * time.Hour), TargetInstances: 2, Instances: len(addresses),
	}
	return app
}

// ServiceApp is an app with one TCP service.
func ServiceApp(id string, tcp sources.TCP, domains ...string) *sources.App {
	return Changed(App(id, domains...), func(p *sources.Port) { p.TCP = &tcp })
}

// WithHTTP returns a copy of the app whose requests are handled so.
func WithHTTP(app *sources.App, h sources.HTTP) *sources.App {
	return Changed(app, func(p *sources.Port) { p.HTTP = &h })
}

// Passthrough is an app whose TLS is passed through for a domain.
func Passthrough(id, domain string) *sources.App {
	return Changed(App(id, domain), func(p *sources.Port) { p.TCP = &sources.TCP{Passthrough: true} })
}

// Redirected returns a copy of the app whose plain HTTP is redirected to HTTPS.
func Redirected(app *sources.App) *sources.App {
	return Changed(app, func(p *sources.Port) { p.RedirectToHTTPS = true })
}

// Certificate is one of the source vault, with a private key made of the content.
func Certificate(name, content string, serverNames ...string) *certs.Certificate {
	return &certs.Certificate{
		Source: "vault", Name: name, ServerNames: serverNames,
		NotBefore: Time.Add(-time.Hour), NotAfter: Time.Add(90 * 24 * time.Hour),
		Fingerprint: content, Chain: []byte("chain " + content), Key: secret.Bytes("key " + content),
	}
}

// CA is an authority whose key nobody has.
//
//go:embed upstream-ca.pem
var CA []byte
