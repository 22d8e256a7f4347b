package envoy

// What tests with a real Envoy look for.
const (
	ACMEPrefix       = acmePrefix
	ClientCertHeader = clientCertHeader
	ScopeHeader      = scopeHeader
)

// GuardPattern is guardPattern.
var GuardPattern = guardPattern
