package labels

import (
	"regexp"
	"strings"

	"relay/internal/hostname"
	"relay/sources"
)

// maxRedirects is how many redirects a port may have.
const maxRedirects = 50

// redirects reads one redirect a line.
func (s *Settings) redirects(value string) {
	lines := strings.FieldsFunc(value, func(c rune) bool { return c == '\n' || c == '\r' })
	if len(lines) > maxRedirects {
		s.refuse(maxRedirects, "redirects")
		return
	}
	for _, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		redirect, wrong := parseRedirect(line)
		if wrong != "" {
			s.problem("%.80q is ignored: %s", strings.TrimSpace(line), wrong)
			continue
		}
		s.shaping().Redirects = append(s.shaping().Redirects, redirect)
	}
}

// redirectCodes are those that say that something is elsewhere.
var redirectCodes = map[string]int{"301": 301, "302": 302, "303": 303, "307": 307, "308": 308}

// parseRedirect reads "[HOST][PATH] -> TARGET [CODE]", or says what is wrong with it.
func parseRedirect(line string) (r sources.Redirect, wrong string) {
	from, to, ok := strings.Cut(line, "->")
	from, fields := strings.TrimSpace(from), strings.Fields(to)
	if !ok || from == "" || strings.ContainsAny(from, " \t") || len(fields) == 0 || len(fields) > 2 {
		return r, "write HOST/PATH -> TARGET CODE, such as www.shop.test -> https://shop.test 301, or /old/* -> /new/*"
	}
	r.Code = redirectCodes["301"]
	if len(fields) == 2 {
		if r.Code = redirectCodes[fields[1]]; r.Code == 0 {
			return r, "the code is 301, 302, 303, 307 or 308"
		}
	}
	if wrong = readRedirectSource(&r, from); wrong != "" {
		return r, wrong
	}
	if wrong = readRedirectTarget(&r, fields[0], strings.HasSuffix(from, "*") || !strings.Contains(from, "/")); wrong != "" {
		return r, wrong
	}
	if loops(r, fields[0]) {
		return r, "it would send clients to itself for ever"
	}
	return r, CheckRedirect(r)
}

// readRedirectSource reads the host and the path. A path that ends with "*" has one group, which is the rest.
func readRedirectSource(r *sources.Redirect, from string) (wrong string) {
	host, path := from, ""
	if i := strings.IndexByte(from, '/'); i >= 0 {
		host, path = from[:i], from[i:]
	}
	if host != "" {
		domain, err := hostname.Domain(host)
		if err != nil {
			return "its host is no domain"
		}
		if parent, wildcard := hostname.CutWildcard(domain); wildcard {
			r.Host = `[^:]+\.` + regexp.QuoteMeta(parent)
		} else {
			r.Host = regexp.QuoteMeta(domain)
		}
	}
	if path == "" {
		r.Path = "(/.*)"
		return ""
	}
	prefix, open := strings.CutSuffix(path, "*")
	if wrong := checkPath(prefix); wrong != "" {
		return "its path " + wrong
	}
	r.Path = regexp.QuoteMeta(prefix)
	if open {
		r.Path += "(.*)"
	}
	return ""
}

var (
	// redirectURL takes a URL apart: its origin, and what follows. There is neither a user nor a fragment.
	redirectURL = regexp.MustCompile(`^(https?://[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}(?::[0-9]{1,5})?)(/[!"$-\[\]-~]*)?$`)
	localTarget = regexp.MustCompile(`^/[!"$-\[\]-~]*$`)
)

// readRedirectTarget reads a URL or a path. Rest tells that the source has a group.
func readRedirectTarget(r *sources.Redirect, to string, rest bool) (wrong string) {
	const hint = "its target is neither a path nor a URL such as https://shop.test/new"
	origin, path := "", to
	if m := redirectURL.FindStringSubmatch(to); m != nil {
		origin, path = m[1], m[2]
	} else if !localTarget.MatchString(to) || strings.HasPrefix(to, "//") {
		return hint
	}
	if len(to) > 1024 {
		return "its target has more than 1024 bytes"
	}
	prefix, open := strings.CutSuffix(path, "*")
	switch {
	case path == "" && rest && !strings.HasPrefix(r.Path, "("):
		return "its target needs a path, such as " + origin + "/*"
	case path == "" && rest:
		r.Target = origin + `\1`
	case path == "":
		r.Target = origin + "/"
	case open && !rest:
		return "its target has a * for what its source has none"
	case open:
		r.Target = origin + prefix + `\1`
		if strings.HasPrefix(r.Path, "(") {
			r.Path = "/(.*)" // what the * of the target stands for comes after a slash
		}
	default:
		r.Target = origin + path
	}
	r.DropQuery = strings.Contains(r.Target, "?")
	return ""
}

// loops reports whether a redirect leads to a host and path that it takes itself.
func loops(r sources.Redirect, to string) bool {
	origin, path := "", to
	if m := redirectURL.FindStringSubmatch(to); m != nil {
		origin, path = m[1], m[2]
		if path == "" {
			path = "/"
		}
	}
	if origin != "" {
		_, host, _ := strings.Cut(origin, "://")
		host, _, _ = strings.Cut(host, ":")
		if r.Host == "" || !fits(r.Host, strings.ToLower(host)) {
			return false
		}
	}
	path, _, _ = strings.Cut(strings.TrimSuffix(path, "*"), "?")
	return fits(r.Path, path)
}

// fits reports whether an expression made here matches all of a text.
func fits(pattern, text string) bool {
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString(text)
}
