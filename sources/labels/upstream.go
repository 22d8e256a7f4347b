package labels

import (
	"strings"

	"relay/internal/hostname"
)

// The connection to an instance.
var upstreamLabels = []Label{
	{Key: "RELAY_{n}_TLS", Field: "tls", setting: func(s *Settings, v string) { s.useTLS = s.flag(v, true) },
		tooLong: func(s *Settings) string { s.useTLS = true; return "it is taken as true" },
		meaning: "connect by TLS", byDefault: "`false`", envoy: "`transport_socket`", example: "true"},
	{Key: "RELAY_{n}_TLS_SNI", Field: "tlsSNI", setting: (*Settings).sni,
		meaning:   "the server name asked for, and expected in the certificate",
		byDefault: "the host of the request", envoy: "`sni`, `auto_sni`", example: "shop.internal"},
	{Key: "RELAY_{n}_TLS_VERIFY", Field: "tlsVerify", setting: func(s *Settings, v string) { s.verify = strings.TrimSpace(v) == "" || s.flag(v, true) },
		meaning: "check the certificate against the authorities in `--upstream-ca`. " +
			"Without such authorities the port answers 403 until this is `false`",
		byDefault: "`true`", envoy: "`validation_context`", example: "false"},
	{Key: "RELAY_{n}_HTTP2", Field: "http2", httpOnly: true, setting: func(s *Settings, v string) { s.upstream.HTTP2 = s.flag(v, false) },
		meaning:   "speak HTTP/2, as gRPC needs; without TLS that is h2c with prior knowledge",
		byDefault: "`false`", envoy: "`http2_protocol_options`", example: "true"},
	{Key: "RELAY_{n}_PROXY_PROTOCOL", Field: "proxyProtocol", setting: (*Settings).proxyProtocol,
		meaning:   "`v1` or `v2`: begin connections with the PROXY protocol's header",
		byDefault: "none", envoy: "`upstream_proxy_protocol`", example: "v2"},
}

func (s *Settings) sni(value string) {
	if strings.TrimSpace(value) == "" {
		return
	}
	name, err := hostname.Domain(value)
	if err != nil || strings.HasPrefix(name, "*") || hostname.IsAddress(name) {
		s.problem("%.40q is ignored: write the domain of the certificate", value)
		return
	}
	s.tls.SNI = name
}

func (s *Settings) proxyProtocol(value string) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "":
	case "v1", "1":
		s.upstream.ProxyProtocol = 1
	case "v2", "2":
		s.upstream.ProxyProtocol = 2
	default:
		s.problem("%.40q is ignored: write v1 or v2", value)
	}
}
