package hostname

import (
	"strconv"
	"strings"
)

// Bare returns the host of a text that has a scheme, a port or a path around it, such as
// "https://shop.test/path", and says what to write in place of it. A text without any of
// these, or with what is no host, is returned as it is.
func Bare(s string) (host, instead string) {
	rest := strings.TrimSpace(s)
	instead = "write the domain alone"
	if scheme, after, ok := strings.Cut(rest, "://"); ok {
		if scheme == "" || strings.ContainsFunc(scheme, func(c rune) bool { return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') }) {
			return s, ""
		}
		rest = after
	}
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		if path := rest[at:]; path != "/" {
			instead += ", and its path as HAPROXY_n_PATH (in a YAML file: paths)"
		}
		rest = rest[:at]
	}
	if before, port, ok := strings.Cut(rest, ":"); ok {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return s, ""
		}
		rest = before
	}
	if rest == strings.TrimSpace(s) || rest == "" || strings.ContainsAny(rest, "@[]") {
		return s, ""
	}
	return rest, instead
}
