package labels

import "slices"

// What marathon-lb's labels ask of HAProxy that Envoy has no counterpart for.
var unsupportedLabels = slices.Concat(
	[]Label{
		{Key: "HAPROXY_{n}_SSL_CERT", unsupported: "certificates are found by the domain, in the certificate store",
			meaning: "certificates are found by the domain, in the [certificate store](certificates.md)"},
		{Key: "HAPROXY_{n}_BACKEND_HEALTHCHECK_PORT_INDEX", unsupported: "Envoy makes no health checks: Marathon's own results are used, those of all ports"},
	},
	haproxyTemplates(
		"BACKEND_HEAD", "BACKEND_HSTS_OPTIONS", "BACKEND_HTTP_HEALTHCHECK_OPTIONS", "BACKEND_HTTP_OPTIONS", "BACKEND_REDIRECT_HTTP_TO_HTTPS",
		"BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", "BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", "BACKEND_SERVER_OPTIONS",
		"BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS", "BACKEND_STICKY_OPTIONS", "BACKEND_TCP_HEALTHCHECK_OPTIONS", "FRONTEND_BACKEND_GLUE",
		"FRONTEND_HEAD", "HTTP_BACKEND_NETWORK_ALLOWED_ACL", "HTTP_BACKEND_PROXYPASS_GLUE", "HTTP_BACKEND_REVPROXY_GLUE",
		"TCP_BACKEND_NETWORK_ALLOWED_ACL", "USERLIST_HEAD", "HTTP_FRONTEND_*", "HTTPS_FRONTEND_*", "MAP_*",
	),
	[]Label{
		{Key: "HAPROXY_{n}_HTTP_FRONTEND_ACL_WITH_PATH", noEffect: true, shown: hidden,
			meaning: "marathon-acme's own app has it. It is no problem: Relay routes the challenges without it"},
	},
)

// haproxyTemplates are labels that hold pieces of HAProxy's configuration.
func haproxyTemplates(names ...string) []Label {
	all := make([]Label, len(names))
	for i, name := range names {
		all[i] = Label{
			Key: "HAPROXY_{n}_" + name, shown: hidden, // they may have lists of users and headers with passwords
			unsupported: "it is a piece of HAProxy's configuration, which Envoy cannot read; " +
				"the RELAY_{n}_* labels set timeouts, retries, limits, headers and TLS",
			meaning: "pieces of HAProxy's configuration, which Envoy cannot read. Where they set timeouts, headers or TLS, use the `RELAY_{n}_*` labels",
		}
	}
	return all
}
