package admin

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"relay/admin/api"
	"relay/internal/probelabel"
)

// meta is what labels begin with that Prometheus drops after relabelling.
const meta = "__meta_relay_"

// maxDiscovered is how many targets a list has at most.
const maxDiscovered = 20_000

// discoverEnvoys answers /api/v1/sd/envoys.
func (s *Server) discoverEnvoys(_ *http.Request, q query) (any, error) {
	all := []api.Targets{}
	for _, f := range s.targets(q).Fleets {
		for _, e := range f.Envoys {
			for _, l := range listenersOf(f) {
				labels := envoyLabels(f, e)
				labels[meta+"listener"] = l.name
				all = append(all, api.Targets{Targets: []string{net.JoinHostPort(addressOf(f, e), strconv.Itoa(int(l.port)))}, Labels: labels})
			}
		}
	}
	return all[:min(len(all), maxDiscovered)], nil
}

// listener is the http or https listener of a fleet.
type listener struct {
	name string
	port uint16
}

func listenersOf(f api.ProbeFleet) []listener {
	return slices.DeleteFunc([]listener{{"http", f.HTTP}, {"https", f.HTTPS}}, func(l listener) bool { return l.port == 0 })
}

func addressOf(f api.ProbeFleet, e api.ProbeEnvoy) string {
	if f.Address != "" {
		return f.Address
	}
	return e.Address
}

// inURL is an address as it stands before a port.
func inURL(address string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]"
	}
	return address
}

func envoyLabels(f api.ProbeFleet, e api.ProbeEnvoy) map[string]string {
	return map[string]string{
		meta + "fleet": f.Name, meta + "envoy": e.ID, meta + "address": inURL(addressOf(f, e)), meta + "connected": strconv.FormatBool(e.Disconnected.IsZero()),
	}
}

// discoverDomains answers /api/v1/sd/domains. A target is a URL with the address of an Envoy, for blackbox_exporter's
// parameter target; the label domain is for its parameter hostname.
func (s *Server) discoverDomains(_ *http.Request, q query) (any, error) {
	targets := s.targets(q)
	fleets := make(map[string]api.ProbeFleet)
	for _, f := range targets.Fleets {
		fleets[f.Name] = f
	}
	all := []api.Targets{}
	for _, d := range targets.Domains {
		ask, ok := asksURL(d)
		if !ok {
			continue
		}
		for _, name := range d.Fleets {
			f := fleets[name]
			for _, e := range f.Envoys {
				if len(all) < maxDiscovered {
					all = append(all, domainTargets(d, ask, f, e))
				}
			}
		}
	}
	return all, nil
}

// asksURL returns how a domain is asked, if that is by the URL of a path, and now.
func asksURL(d api.ProbeDomain) (probelabel.Label, bool) {
	if d.Skip != "" {
		return probelabel.Label{}, false
	}
	if d.Probe == "" {
		return probelabel.Label{Kind: probelabel.HTTP, Path: d.Path}, true
	}
	ask, err := probelabel.Parse(d.Probe)
	return ask, err == nil && (ask.Kind == probelabel.HTTP || ask.Kind == probelabel.Module)
}

func domainTargets(d api.ProbeDomain, ask probelabel.Label, f api.ProbeFleet, e api.ProbeEnvoy) api.Targets {
	scheme, port := "http", f.HTTP
	if d.HTTPS && f.HTTPS != 0 {
		scheme, port = "https", f.HTTPS
	}
	path := ask.Path
	if path == "" {
		path = "/"
	}
	labels := envoyLabels(f, e)
	for name, value := range map[string]string{
		"domain": d.Name, "url": scheme + "://" + d.Name + path, "app": d.App, "port": strconv.Itoa(d.Port), "owner": d.Owner,
		"module": ask.Name, "probe": d.Probe, "sampled": strconv.FormatBool(d.Probe == ""), "status": string(d.Status),
	} {
		labels[meta+name] = value
	}
	return api.Targets{Targets: []string{scheme + "://" + net.JoinHostPort(addressOf(f, e), strconv.Itoa(int(port))) + path}, Labels: labels}
}

// discoverRelays answers /api/v1/sd/relays. This Relay is at the address at which it was asked.
func (s *Server) discoverRelays(r *http.Request, _ query) (any, error) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	all := []api.Targets{}
	if self := (&url.URL{Scheme: scheme, Host: r.Host}); self.Hostname() != "" { // HTTP/1.0 need not say
		all = append(all, relayTargets(self, true))
	}
	if s.cfg.Probing != nil {
		for _, peer := range s.cfg.Probing.Peers() {
			if u, err := url.Parse(peer); err == nil && u.Host != "" && u.Host != r.Host {
				all = append(all, relayTargets(u, false))
			}
		}
	}
	return all, nil
}

func relayTargets(u *url.URL, self bool) api.Targets {
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	return api.Targets{Targets: []string{host}, Labels: map[string]string{"__scheme__": u.Scheme, meta + "self": strconv.FormatBool(self)}}
}
