package labels

// What marathon-lb's labels ask of HAProxy that Envoy has no counterpart for.
var unsupportedLabels = []Label{
	{Key: "HAPROXY_{n}_SSL_CERT", unsupported: "certificates are found by the domain, in the certificate store"},
	{Key: "HAPROXY_{n}_BACKEND_HEALTHCHECK_PORT_INDEX", unsupported: "Envoy makes no health checks: Marathon's own results are used, those of all ports"},
	{Key: "HAPROXY_{n}_BACKEND_HEAD", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_HSTS_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_HTTP_HEALTHCHECK_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_HTTP_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_REDIRECT_HTTP_TO_HTTPS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_SERVER_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_SERVER_TCP_HEALTHCHECK_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_STICKY_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_BACKEND_TCP_HEALTHCHECK_OPTIONS", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_FRONTEND_BACKEND_GLUE", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_FRONTEND_HEAD", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_HTTP_BACKEND_NETWORK_ALLOWED_ACL", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_HTTP_BACKEND_PROXYPASS_GLUE", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_HTTP_BACKEND_REVPROXY_GLUE", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_TCP_BACKEND_NETWORK_ALLOWED_ACL", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_USERLIST_HEAD", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_HTTP_FRONTEND_*", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_HTTPS_FRONTEND_*", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_MAP_*", unsupported: haproxyTemplate},
	{Key: "HAPROXY_{n}_HTTP_FRONTEND_ACL_WITH_PATH", noEffect: true,
		meaning: "no problem: marathon-acme's own app has it, and Relay routes the challenges there without it"},
}

const haproxyTemplate = "it is a piece of HAProxy's configuration, which Envoy cannot read; the RELAY_{n}_* labels set timeouts, retries, limits, headers and TLS"
