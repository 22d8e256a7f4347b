package traefik

import (
	"net/url"
	"slices"
	"strings"
)

// forwardAuth has another app decide about requests.
func (h *handling) forwardAuth(at string) {
	h.restricts = true
	key := h.r.config.key(at + ".address")
	if h.forwards {
		h.close(key, "is the second middleware of the router that has an app asked: Relay asks one")
	}
	h.forwards = true
	address, _ := h.r.config.take(at + ".address")
	app, path, ok := appAt(address)
	if !ok {
		h.asks = key
	} else {
		h.set("AUTH_APP", strings.TrimSpace(app+" "+path), key)
	}
	for _, one := range []struct{ field, setting string }{{"authrequestheaders", "AUTH_APP_REQUEST_HEADERS"}, {"authresponseheaders", "AUTH_APP_RESPONSE_HEADERS"}} {
		if names := h.r.config.list(at + "." + one.field); len(names) > 0 {
			h.set(one.setting, strings.Join(names, " "), h.r.config.key(at+"."+one.field))
		}
	}
	if pattern, ok := h.r.config.take(at + ".authresponseheadersregex"); ok && pattern != "" {
		h.problem(h.r.config.key(at+".authresponseheadersregex"), "has no effect: name the headers in authResponseHeaders")
	}
	h.r.config.take(at + ".trustforwardheader") // the fleet's trusted proxies count
	h.r.config.below(at + ".tls")
}

// appDomains follow the names of apps that Mesos and DC/OS give, without the app: https://mesosphere.github.io/mesos-dns/docs/naming.html.
var appDomains = []string{".marathon.mesos", ".marathon.slave.mesos", ".marathon.containerip.dcos.thisdcos.directory", ".marathon.autoip.dcos.thisdcos.directory", ".marathon.agentip.dcos.thisdcos.directory"}

// appAt returns the app that is reached at an address, and the path: sso-platform.marathon.mesos is /platform/sso. Where
// the name of an app or folder has a hyphen, it is another one, of which Relay says that there is no such app.
func appAt(address string) (app, path string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.User != nil {
		return "", "", false
	}
	host := strings.ToLower(u.Hostname())
	for _, domain := range appDomains {
		name, found := strings.CutSuffix(host, domain)
		if !found || name == "" || strings.Contains(name, ".") {
			continue
		}
		parts := strings.Split(name, "-")
		slices.Reverse(parts)
		if slices.Contains(parts, "") {
			return "", "", false
		}
		path := u.EscapedPath()
		if u.RawQuery != "" {
			path += "?" + u.RawQuery
		}
		return "/" + strings.Join(parts, "/"), path, true
	}
	return "", "", false
}
