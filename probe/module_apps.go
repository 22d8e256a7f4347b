package probe

import (
	"errors"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/prometheus/blackbox_exporter/config"

	"relay/internal/secret"
)

// LetsUse reports whether the label of an app may name a module. One that has credentials may be named by the apps alone for
// which it is meant: any other would be told them.
func (s Settings) LetsUse(module, app string) bool {
	apps, listed := s.ModuleApps[module]
	if !listed {
		return !hasCredentials(s.Modules[module])
	}
	return slices.ContainsFunc(apps, func(pattern string) bool {
		start, any := strings.CutSuffix(pattern, "*")
		return pattern == app || any && strings.HasPrefix(app, start)
	})
}

// hasCredentials reports whether a module tells whom it asks what only some may know.
func hasCredentials(m config.Module) bool {
	c := m.HTTP.HTTPClientConfig
	if c.BasicAuth != nil || c.Authorization != nil || c.OAuth2 != nil || c.BearerToken != "" || c.BearerTokenFile != "" {
		return true
	}
	if c.HTTPHeaders != nil {
		for name, h := range c.HTTPHeaders.Headers {
			if len(h.Secrets) > 0 || len(h.Files) > 0 || tells(name) {
				return true
			}
		}
	}
	for name := range m.HTTP.Headers {
		if tells(name) {
			return true
		}
	}
	return false
}

// tells reports whether a header of this name likely has credentials.
func tells(header string) bool {
	return secret.Named(header) || slices.Contains([]string{"Authorization", "Cookie", "Proxy-Authorization"}, textproto.CanonicalMIMEHeaderKey(header))
}

func (s Settings) checkModuleApps() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.ModuleApps)) {
		if _, ok := s.Modules[name]; !ok {
			errs = append(errs, fmt.Errorf("module-apps: there is no module %.80q", name))
		}
		for _, pattern := range s.ModuleApps[name] {
			if !strings.HasPrefix(pattern, "/") || strings.Contains(strings.TrimSuffix(pattern, "*"), "*") {
				errs = append(errs, fmt.Errorf("module-apps: %.80q: %.100q is no app, such as /shop/web, and does not end with one *", name, pattern))
			}
		}
	}
	return errors.Join(errs...)
}
