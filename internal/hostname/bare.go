package hostname

import (
	"fmt"
	"strconv"
	"strings"
)

// Bare returns the host of a text that has a scheme, a port or a path around it, such as
// "https://shop.test/path", whether there is any of these, and the path with all that follows,
// unless it is "/". A text without any of these, or with what is no host, is returned as it is.
func Bare(s string) (host, path string, around bool) {
	rest := strings.TrimSpace(s)
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		if scheme == "" || strings.ContainsFunc(scheme, func(c rune) bool { return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') }) {
			return s, "", false
		}
		rest = after
	}
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		rest, path = rest[:at], rest[at:]
	}
	if before, port, ok := strings.Cut(rest, ":"); ok {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return s, "", false
		}
		rest = before
	}
	if rest == strings.TrimSpace(s) || rest == "" || strings.ContainsAny(rest, "@[]") {
		return s, "", false
	}
	if path == "/" {
		path = ""
	}
	return rest, path, true
}

// Routed is Domain for a text that people write as the domain of an app: what is around it is
// taken off, which the remark says. A text with a path is refused: with all paths of the domain
// the app would take those of others.
func Routed(s string) (domain, remark string, err error) {
	host, path, around := Bare(s)
	if domain, err = Domain(host); err != nil || !around {
		return domain, "", err
	}
	if path != "" {
		return "", "", fmt.Errorf("a domain has no path: write %s, and the path as HAPROXY_n_PATH (in a YAML file: paths), in place of %.60q", domain, s)
	}
	return domain, fmt.Sprintf("%.80q is taken as %s: write the domain alone", s, domain), nil
}
