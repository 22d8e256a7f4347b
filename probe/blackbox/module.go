package blackbox

import (
	"maps"
	"net/textproto"

	"github.com/prometheus/blackbox_exporter/config"
	pconfig "github.com/prometheus/common/config"

	"relay/probe"
	"relay/probe/connect"
)

// aimed returns a module that asks for what a target names, and says who asks, by HTTP with the ID of the request. The module of the settings stays as it is.
func (m modules) aimed(module config.Module, t probe.Target, id string) config.Module {
	m.trust(&module.HTTP.HTTPClientConfig.TLSConfig, t)
	m.trust(&module.TCP.TLSConfig, t)
	m.trust(&module.GRPC.TLSConfig, t)
	module.HTTP.Headers = m.headers(module.HTTP.Headers, t, id)
	if !startsTLS(module.TCP) {
		module.TCP.TLS = module.TCP.TLS || t.TLS
	}
	module.GRPC.TLS = module.GRPC.TLS || t.TLS
	// A passage has an address of IPv4, and an Envoy the one that it has.
	module.TCP.IPProtocolFallback, module.GRPC.IPProtocolFallback = true, true
	module.HTTP.IPProtocolFallback = module.HTTP.IPProtocolFallback || t.Envoy != "" || t.ProxyProtocol
	return module
}

// trust sets the name that a certificate has to have, and the authorities, unless the module says others.
func (m modules) trust(c *pconfig.TLSConfig, t probe.Target) {
	if c.ServerName == "" {
		c.ServerName = t.ServerName
	}
	if c.CA == "" && c.CAFile == "" && c.CARef == "" {
		c.CAFile = m.settings.CAFile
	}
}

// headers are those of the module, but for who asks and what is asked for.
func (m modules) headers(of map[string]string, t probe.Target, id string) map[string]string {
	headers := make(map[string]string, len(of)+3)
	maps.Copy(headers, of)
	maps.DeleteFunc(headers, func(name, _ string) bool {
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "User-Agent", probe.Header, connect.RequestID:
			return true
		case "Host":
			return t.Domain != ""
		}
		return false
	})
	headers["User-Agent"] = probe.Agent
	headers[probe.Header], headers[connect.RequestID] = m.settings.Place, id
	if t.Domain != "" {
		headers["Host"] = t.Domain
	}
	return headers
}

// startsTLS reports whether a module begins TLS by itself after some lines.
func startsTLS(m config.TCPProbe) bool {
	for _, step := range m.QueryResponse {
		if step.StartTLS {
			return true
		}
	}
	return false
}
