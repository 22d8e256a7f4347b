package main

import (
	"net/netip"

	"relay/collator/routing"
)

// ProxyFlags say what is between clients and the Envoys of a fleet: flags for the one
// fleet, and keys of each fleet in the configuration file.
type ProxyFlags struct {
	TrustedProxies []netip.Prefix `group:"Fleet" placeholder:"CIDR" yaml:"trusted-proxies" help:"Networks of the balancers and proxies in front of the Envoys. What X-Forwarded-For and X-Forwarded-Proto say is believed from there only."`
	ProxyProtocol  string         `group:"Fleet" default:"off" enum:"off,required" yaml:"proxy-protocol" help:"required: connections for HTTP and HTTPS come from --trusted-proxies only, and begin with a header of the PROXY protocol, version 1 or 2."`
	Health         netip.AddrPort `group:"Fleet" placeholder:"IP:PORT" yaml:"health" help:"Where the Envoys tell a balancer whether they want requests: 200 on every path, 503 before they are stopped."`
}

func (f ProxyFlags) proxies() routing.Proxies {
	return routing.Proxies{Networks: f.TrustedProxies, Protocol: routing.ProxyProtocol(f.ProxyProtocol)}
}
