package routing

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"relay/internal/hostname"
	"relay/sources"
)

// externalPrefix begins the names of the clusters of hosts outside. No app is called so: ids begin with a slash,
// and those of deployments otherwise.
const externalPrefix = "external/"

// External is a host outside that Envoys ask themselves, such as the one that has the keys of tokens.
type External struct {
	// Scheme is "https" or "http".
	Scheme string
	// Host is a name in lower case, or an IP address without brackets.
	Host string
	Port uint16
}

// Cluster is the name of the cluster of the host: "external/https/login.test:443".
func (e External) Cluster() string { return externalPrefix + e.Scheme + "/" + e.Authority() }

// Authority is the host and the port: "login.test:443".
func (e External) Authority() string {
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// ExternalOf returns the host of a URL, and what Envoy asks it for: the path and the query.
func ExternalOf(text string) (e External, path string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Opaque != "" || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return e, "", fmt.Errorf("is no URL such as https://login.example.com/keys")
	case u.User != nil:
		return e, "", fmt.Errorf("has a user or password in it: name a credential")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return e, "", fmt.Errorf("has a fragment (#), which is sent to nobody")
	}
	e = External{Scheme: u.Scheme, Port: 443}
	if u.Scheme == "http" {
		e.Port = 80
	}
	if address, err := netip.ParseAddr(u.Hostname()); err == nil && address.Zone() == "" {
		e.Host = address.Unmap().String()
	} else if e.Host, err = hostname.Domain(u.Hostname()); err != nil || strings.HasPrefix(e.Host, "*") || !endsInName(e.Host) {
		return e, "", fmt.Errorf("has no host such as login.example.com")
	}
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return e, "", fmt.Errorf("has the port %.10q: ports are from 1 to 65535", port)
		}
		e.Port = uint16(n)
	} else if strings.HasSuffix(u.Host, ":") {
		return e, "", fmt.Errorf("has a colon without a port")
	}
	path = u.EscapedPath()
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return e, path, nil
}

// endsInName reports whether the last label of a host begins with a letter. Others, such as 0x7f000001, some
// resolvers take for an address.
func endsInName(host string) bool {
	first := host[strings.LastIndexByte(host, '.')+1]
	return first >= 'a' && first <= 'z'
}

// Ask returns the host of a URL that Envoys of the fleet may ask, and for what. The reason says why they may not. Any
// host may be asked by HTTPS: it has to show a certificate for its name, so that no app has Envoys ask addresses
// inside that trust whoever reaches them. Others are asked only if who runs the fleet lists them.
func (f *Fleet) Ask(text string) (e External, path, reason string) {
	e, path, err := ExternalOf(text)
	if err != nil {
		return e, "", err.Error()
	}
	listed := slices.Contains(f.ExternalHosts, e.Authority())
	switch {
	case e.Scheme != "https" && !listed:
		return e, "", fmt.Sprintf("is not asked by plain HTTP: write https, or have who runs the fleet list %s (--external-hosts)", e.Authority())
	case hostname.IsAddress(e.Host) && !listed:
		return e, "", fmt.Sprintf("has an IP address for a host: write a name, or have who runs the fleet list %s (--external-hosts)", e.Authority())
	case e.Scheme == "https" && len(f.ExternalCA) == 0:
		return e, "", "cannot be asked: the fleet has no authorities to verify hosts with (--external-ca)"
	case f.ClustersOnDemand:
		return e, "", "cannot be asked: the fleet loads clusters on demand (clusters-on-demand), which Envoy does for those of routes alone"
	}
	return e, path, ""
}

// Externals are the hosts outside that the ports of an app have the Envoys of the fleet ask, sorted.
func (f *Fleet) Externals(id string, app *sources.App) (all []External) {
	for i := range PortCount(app) {
		if f.Routes(id, app, i) {
			all = append(all, f.ExternalsOf(app.Ports[i])...)
		}
	}
	return sortedExternals(all)
}

// ExternalsOf are those of one port.
func (f *Fleet) ExternalsOf(port sources.Port) (all []External) {
	for _, asked := range port.URLs() {
		if e, _, reason := f.Ask(asked.URL); reason == "" {
			all = append(all, e)
		}
	}
	return sortedExternals(all)
}

func sortedExternals(all []External) []External {
	slices.SortFunc(all, func(a, b External) int {
		return cmp.Or(cmp.Compare(a.Scheme, b.Scheme), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(all)
}

// checkExternal returns what is wrong with the hosts that may be asked, as "host:port".
func (f *Fleet) checkExternal() error {
	for _, authority := range f.ExternalHosts {
		e, path, err := ExternalOf("http://" + authority)
		if err != nil || path != "/" || e.Authority() != authority {
			return fmt.Errorf("lists %q among the hosts that may be asked: write a host in lower case and its port, such as keys.internal:8080", authority)
		}
	}
	return nil
}
