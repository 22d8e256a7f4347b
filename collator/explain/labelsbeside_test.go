package explain

import (
	"slices"
	"strings"

	"relay/sources/labels"
)

// labelsBeside are those that a label has no effect without.
func labelsBeside(l *labels.Label) []string {
	switch {
	case l.Name() == "CLIENT_SAN", l.Name() == "CLIENT_CERTIFICATES":
		return []string{"TLS_TERMINATE=true", "CLIENT_CA=a"}
	case l.Name() == "CLIENT_CA", l.Name() == "TLS_PROFILE", l.Name() == "TLS_ALPN":
		return []string{"TLS_TERMINATE=true"}
	case strings.HasPrefix(l.Name(), "REDIS_"):
		return []string{"PROTOCOL=redis", "PORT=7000"}
	case l.TCPOnly():
		return []string{"MODE=tcp", "PORT=7000"}
	case strings.HasPrefix(l.Name(), "TLS_"):
		return []string{"TLS=true"}
	case strings.HasPrefix(l.Name(), "CORS_") && l.Name() != "CORS_ORIGINS":
		return []string{"CORS_ORIGINS=https://b.test"}
	case strings.HasPrefix(l.Name(), "AUTH_APP_"):
		return []string{"AUTH_APP=/a"}
	case strings.HasPrefix(l.Name(), "JWT_"):
		return slices.DeleteFunc([]string{"JWT_ISSUER=a", "JWT_JWKS=https://a.test/", "JWT_AUDIENCES=a"}, func(s string) bool { return strings.HasPrefix(s, l.Name()+"=") })
	case strings.HasPrefix(l.Name(), "QUEUE"):
		return []string{"CONCURRENCY=1"}
	}
	return nil
}
