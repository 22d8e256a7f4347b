package marathon

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"relay/sources"
	"relay/sources/setting"
)

// appLabelNames are the labels of a whole app, sorted.
var appLabelNames = []string{
	"HAPROXY_DEPLOYMENT_ALT_PORT", "HAPROXY_DEPLOYMENT_COLOUR", "HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT_NEW_INSTANCES",
	"HAPROXY_DEPLOYMENT_STARTED_AT", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", "HAPROXY_GROUP",
}

// portLabelNames are the names after HAPROXY_{n}_ that marathon-lb knows, sorted.
var portLabelNames = []string{
	"AUTH", "BACKEND_HEAD", "BACKEND_HEALTHCHECK_PORT_INDEX", "BACKEND_HSTS_OPTIONS", "BACKEND_HTTP_HEALTHCHECK_OPTIONS",
	"BACKEND_HTTP_OPTIONS", "BACKEND_NETWORK_ALLOWED_ACL", "BACKEND_REDIRECT_HTTP_TO_HTTPS",
	"BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", "BACKEND_SERVER_OPTIONS",
	"BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS", "BACKEND_STICKY_OPTIONS", "BACKEND_TCP_HEALTHCHECK_OPTIONS", "BACKEND_WEIGHT",
	"BALANCE", "BIND_ADDR", "BIND_OPTIONS", "ENABLED", "FRONTEND_BACKEND_GLUE", "FRONTEND_HEAD", "GROUP",
	"HTTP_BACKEND_NETWORK_ALLOWED_ACL", "HTTP_BACKEND_PROXYPASS_GLUE", "HTTP_BACKEND_PROXYPASS_PATH", "HTTP_BACKEND_REDIR",
	"HTTP_BACKEND_REVPROXY_GLUE", "HTTP_BACKEND_REVPROXY_PATH", "MODE", "PATH", "PORT", "REDIRECT_TO_HTTPS", "SSL_CERT",
	"STICKY", "TCP_BACKEND_NETWORK_ALLOWED_ACL", "USERLIST_HEAD", "USE_HSTS", "VHOST",
}

// portLabelFamilies are prefixes of names that marathon-lb has in many variants.
var portLabelFamilies = []string{"HTTP_FRONTEND_", "HTTPS_FRONTEND_", "MAP_"}

// unsupportedLabels are those that have no effect, and why; what is not here is
// a piece of HAProxy's configuration.
var unsupportedLabels = map[string]string{
	"BACKEND_HEALTHCHECK_PORT_INDEX": "Envoy makes no health checks: Marathon's own results are used, those of all ports",
	"SSL_CERT":                       "certificates are found by the domain, in the certificate store",
}

const templateLabel = "it is a piece of HAProxy's configuration, which Envoy cannot read; the RELAY_{n}_* labels set timeouts, retries, limits, headers and TLS"

// Labels other than HAPROXY_{n}_* are known by their prefix and their name.
const (
	acmePrefix  = "ACME "
	relayPrefix = "RELAY "
)

// labelPrefixes are what the labels of a port begin with.
var labelPrefixes = []struct{ key, known string }{
	{"HAPROXY_", ""}, {"MARATHON_ACME_", acmePrefix}, {"RELAY_", relayPrefix},
}

// relayNames are the names after RELAY_{n}_, sorted.
var relayNames = setting.RelayNames()

func knownLabel(name string) bool {
	if name == acmePrefix+"DOMAIN" {
		return true
	}
	if own, ok := strings.CutPrefix(name, relayPrefix); ok {
		_, ok := slices.BinarySearch(relayNames, own)
		return ok
	}
	if _, ok := slices.BinarySearch(portLabelNames, name); ok {
		return true
	}
	return slices.ContainsFunc(portLabelFamilies, func(f string) bool { return len(name) > len(f) && strings.HasPrefix(name, f) })
}

var indexPattern = regexp.MustCompile(`_\d+_`)

// nearestLabel returns the known label that a mistyped one, of maxKeyBytes at
// most, was likely meant to be.
func nearestLabel(key string) string {
	typed := strings.ToUpper(key)
	index := "0"
	if at := indexPattern.FindStringIndex(typed); at != nil {
		index = strings.TrimLeft(typed[at[0]+1:at[1]-1], "0")
		if index == "" {
			index = "0"
		}
		typed = typed[:at[0]] + "_0_" + typed[at[1]:]
	}
	best, bestDistance := "", -1
	consider := func(candidate, shown string) {
		if apart := len(typed) - len(candidate); bestDistance >= 0 && max(apart, -apart) >= bestDistance {
			return // no distance is smaller than that of the lengths
		}
		if d := sources.EditDistance(typed, candidate); bestDistance < 0 || d < bestDistance {
			best, bestDistance = shown, d
		}
	}
	for _, name := range appLabelNames {
		consider(name, name)
	}
	consider("MARATHON_ACME_0_DOMAIN", fmt.Sprintf("MARATHON_ACME_%s_DOMAIN", index))
	for _, name := range portLabelNames {
		consider("HAPROXY_0_"+name, fmt.Sprintf("HAPROXY_%s_%s", index, name))
	}
	for _, name := range relayNames {
		consider("RELAY_0_"+name, fmt.Sprintf("RELAY_%s_%s", index, name))
	}
	return best
}
