package traefik

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"relay/sources"
	"relay/sources/labels"
)

// headers changes headers.
func (h *handling) headers(at string) {
	key := h.r.config.key(at)
	h.request.key, h.response.key = key, key
	h.customHeaders(at+".customrequestheaders", &h.request)
	h.customHeaders(at+".customresponseheaders", &h.response)
	h.security(at)
	h.cors(at)
	if h.r.config.flag(at+".sslredirect") || h.r.config.flag(at+".sslforcehost") {
		h.redirectToHTTPS = true
	}
	for _, name := range []string{"sslhost", "ssltemporaryredirect", "isdevelopment", "publickey", "hostsproxyheaders", "addvaryheader", "forcestsheader"} {
		h.r.config.take(at + "." + name)
	}
	h.r.config.below(at + ".sslproxyheaders")
	if host := h.r.config.values[at+".sslhost"]; host != "" {
		h.note(h.r.config.key(at+".sslhost"), "has no effect: redirects to https keep the host")
	}
	if hosts := h.r.config.list(at + ".allowedhosts"); len(hosts) > 0 {
		h.hosts, h.hostsKey = hosts, h.r.config.key(at+".allowedhosts")
	}
}

// customHeaders reads a header a label; an empty value takes the header away.
func (h *handling) customHeaders(at string, to *headerLines) {
	found := h.r.config.below(at)
	for _, name := range sorted(found) {
		switch value := found[name]; {
		case value == "":
			to.remove = append(to.remove, name)
		case name == "host" && to == &h.request:
			h.set("HOST_REWRITE", value, h.r.config.key(at+"."+name))
		default:
			to.add = append(to.add, name+": "+value)
		}
	}
}

// security sets headers by which browsers take more care.
func (h *handling) security(at string) {
	add := func(format string, args ...any) {
		h.response.add = append(h.response.add, fmt.Sprintf(format, args...))
	}
	for _, one := range []struct{ flag, line string }{
		{"framedeny", "x-frame-options: DENY"}, {"contenttypenosniff", "x-content-type-options: nosniff"}, {"browserxssfilter", "x-xss-protection: 1; mode=block"},
	} {
		if h.r.config.flag(at + "." + one.flag) {
			add("%s", one.line)
		}
	}
	for _, one := range []struct{ name, header string }{
		{"customframeoptionsvalue", "x-frame-options"}, {"custombrowserxssvalue", "x-xss-protection"}, {"contentsecuritypolicy", "content-security-policy"},
		{"referrerpolicy", "referrer-policy"}, {"featurepolicy", "feature-policy"}, {"permissionspolicy", "permissions-policy"},
	} {
		if value, ok := h.r.config.take(at + "." + one.name); ok && value != "" {
			add("%s: %s", one.header, value)
		}
	}
	seconds, ok := h.r.config.take(at + ".stsseconds")
	below, preload := h.r.config.flag(at+".stsincludesubdomains"), h.r.config.flag(at+".stspreload")
	n, err := parseNumber(seconds)
	switch {
	case !ok || n == 0 && err == nil:
	case err != nil:
		h.problem(h.r.config.key(at+".stsseconds"), "%.40q is ignored: write a number of seconds", seconds)
	default:
		line := fmt.Sprintf("strict-transport-security: max-age=%d", n)
		if below {
			line += "; includeSubDomains"
		}
		if preload {
			line += "; preload"
		}
		add("%s", line)
	}
}

// cors says which other sites' pages may ask.
func (h *handling) cors(at string) {
	at += ".accesscontrol"
	for _, one := range []struct{ name, setting, between string }{
		{"alloworiginlist", "CORS_ORIGINS", " "}, {"allowmethods", "CORS_METHODS", " "}, {"allowheaders", "CORS_HEADERS", " "}, {"exposeheaders", "CORS_EXPOSE_HEADERS", " "},
	} {
		if all := h.r.config.list(at + one.name); len(all) > 0 {
			h.set(one.setting, strings.Join(all, one.between), h.r.config.key(at+one.name))
		}
	}
	if h.r.config.flag(at + "allowcredentials") {
		h.set("CORS_CREDENTIALS", "true", h.r.config.key(at+"allowcredentials"))
	}
	if age, ok := h.r.config.take(at + "maxage"); ok {
		h.set("CORS_MAX_AGE", age+"s", h.r.config.key(at+"maxage"))
	}
	if list, ok := h.r.config.take(at + "alloworiginlistregex"); ok && list != "" {
		h.problem(h.r.config.key(at+"alloworiginlistregex"), "has no effect: write origins in accessControlAllowOriginList, or https://*.example.com in RELAY_{n}_CORS_ORIGINS")
	}
}

// redirectScheme sends plain HTTP to HTTPS.
func (h *handling) redirectScheme(at string) {
	scheme, _ := h.r.config.take(at + ".scheme")
	permanent := h.r.config.flag(at + ".permanent")
	h.r.config.take(at + ".port") // that of the fleet is used
	if !strings.EqualFold(scheme, "https") {
		h.problem(h.r.config.key(at), "has no effect: Relay redirects to https only, and not to %.40q", scheme)
		return
	}
	h.redirectToHTTPS = true
	if !permanent {
		h.note(h.r.config.key(at), "redirects by 301, as permanent: true does")
	}
}

// redirectRegex sends requests whose URL fits an expression elsewhere.
func (h *handling) redirectRegex(at string) {
	key := h.r.config.key(at)
	pattern, _ := h.r.config.take(at + ".regex")
	replacement, _ := h.r.config.take(at + ".replacement")
	code := 302
	if h.r.config.flag(at + ".permanent") {
		code = 301
	}
	redirect, err := redirectOf(pattern, replacement, code)
	wrong := ""
	if err != nil {
		wrong = err.Error()
	} else {
		wrong = labels.CheckRedirect(redirect)
	}
	if wrong != "" {
		h.problem(key, "has no effect: %s", wrong)
		return
	}
	h.shape(func(s *sources.Shaping) { s.Redirects = append(s.Redirects, redirect) })
}

// shape changes how requests are changed.
func (h *handling) shape(edit func(s *sources.Shaping)) {
	h.edits = append(h.edits, func(p *sources.Port) {
		own := sources.Shaping{}
		if p.HTTP.Shaping != nil {
			own = *p.HTTP.Shaping
		}
		edit(&own)
		p.HTTP.Shaping = &own
	})
}

// pathChange is how the path that the app sees differs from that of the request: a part at its beginning is taken off,
// and then another one put there.
type pathChange struct {
	strip []string // expressions without the slash before
	add   string
	// pattern and substitution, if there is a pattern, change all of it.
	pattern, substitution string
	key                   string
}

// finishPath sets the changes of the path of all middlewares together.
func (h *handling) finishPath() {
	p := h.path
	switch changes := len(p.strip) > 0 || p.add != ""; {
	case p.pattern != "" && changes:
		h.problem(p.key, "has no effect: Relay cannot do it beside another change of the path")
	case p.pattern != "":
		h.set("PATH_REWRITE", p.pattern+" -> "+p.substitution, p.key)
	case len(p.strip) > 0:
		h.set("PATH_REWRITE", "/(?:"+strings.Join(p.strip, "|")+")/? -> "+p.add+"/", p.key)
	case p.add != "":
		h.set("PATH_REWRITE", "/ -> "+p.add+"/", p.key)
	}
}

func (h *handling) stripPrefix(at string) {
	h.r.config.take(at + ".forceslash")
	h.path.key = h.r.config.key(at)
	for _, prefix := range h.r.config.list(at + ".prefixes") {
		h.path.strip = append(h.path.strip, regexp.QuoteMeta(strings.Trim(prefix, "/")))
	}
}

func (h *handling) stripPrefixRegex(at string) {
	h.path.key = h.r.config.key(at)
	for _, pattern := range h.r.config.list(at + ".regex") {
		h.path.strip = append(h.path.strip, strings.TrimPrefix(strings.TrimPrefix(strings.TrimSuffix(pattern, "/"), "^"), "/"))
	}
}

func (h *handling) addPrefix(at string) {
	h.path.key = h.r.config.key(at)
	prefix, _ := h.r.config.take(at + ".prefix")
	if prefix != "" && !strings.HasPrefix(prefix, "/") {
		prefix = "/" + prefix
	}
	h.path.add = strings.TrimRight(prefix, "/")
}

func (h *handling) replacePath(at string) {
	h.path.key = h.r.config.key(at)
	path, _ := h.r.config.take(at + ".path")
	h.path.pattern, h.path.substitution = "/.*", strings.ReplaceAll(path, `\\`, `\\`)
}

func (h *handling) replacePathRegex(at string) {
	h.path.key = h.r.config.key(at)
	pattern, _ := h.r.config.take(at + ".regex")
	replacement, _ := h.r.config.take(at + ".replacement")
	h.path.pattern, h.path.substitution = pattern, groups(replacement)
}

var group = regexp.MustCompile(`\$(?:\{([0-9])\}|([0-9]))`)

// groups writes $1 and ${1} as RE2 does.
func groups(replacement string) string {
	return group.ReplaceAllString(strings.ReplaceAll(replacement, `\`, `\\`), `\$1$2`)
}

// rateLimit bounds how many requests come. Traefik counts those of each client apart, by its address.
func (h *handling) rateLimit(at string) {
	key := h.r.config.key(at)
	average, _ := h.r.config.take(at + ".average")
	burst, _ := h.r.config.take(at + ".burst")
	period, _ := h.r.config.take(at + ".period")
	criterion := h.r.config.below(at + ".sourcecriterion")
	n, err := parseNumber(average)
	if err != nil || n == 0 {
		if average != "" && average != "0" {
			h.problem(key, "has no effect: %.40q is no number", average)
		}
		return
	}
	rate, ok := rateOf(n, period)
	if !ok {
		h.problem(key, "has no effect: the period %.40q can be 1s, 1m or 1h", period)
		return
	}
	if burst, err := parseNumber(burst); err == nil && burst > 0 {
		rate += fmt.Sprintf(" burst %d", burst)
	} else {
		rate += " burst 1"
	}
	setting := "RATE_LIMIT_PER_CLIENT"
	if header := criterion["requestheadername"]; header != "" {
		rate += " by header " + header
	} else if truth, _ := parseBool(criterion["requesthost"]); truth {
		setting = "RATE_LIMIT"
	}
	if h.settings[setting] != "" {
		h.problem(key, "has no effect: another middleware of the router has such a limit, which holds")
		return
	}
	h.set(setting, rate, key)
}

// rateOf writes a rate as Relay's labels have it.
func rateOf(n int, period string) (string, bool) {
	d := time.Second
	if period != "" {
		if seconds, err := parseNumber(period); err == nil {
			d = time.Duration(seconds) * time.Second
		} else if d, err = time.ParseDuration(period); err != nil {
			return "", false
		}
	}
	switch d {
	case time.Second:
		return fmt.Sprintf("%d/s", n), true
	case time.Minute:
		return fmt.Sprintf("%d/m", n), true
	case time.Hour:
		return fmt.Sprintf("%d/h", n), true
	}
	return "", false
}

// inFlight bounds how many requests are under way.
func (h *handling) inFlight(at string) {
	h.number(at+".amount", "MAX_REQUESTS")
	h.r.config.below(at + ".sourcecriterion")
	h.note(h.r.config.key(at), "counts all requests of the router in each Envoy, and answers those above by 503 where Traefik answers 429")
}

// retry tries again what did not reach an instance. The number is that of all attempts.
func (h *handling) retry(at string) {
	attempts, _ := h.r.config.take(at + ".attempts")
	h.r.config.take(at + ".initialinterval")
	n, err := parseNumber(attempts)
	if err != nil {
		h.problem(h.r.config.key(at), "has no effect: %.40q is no number of attempts", attempts)
		return
	}
	h.set("NUM_RETRIES", fmt.Sprint(max(0, n-1)), h.r.config.key(at))
}

// buffering bounds the bodies of requests.
func (h *handling) buffering(at string) {
	if value, ok := h.r.config.take(at + ".maxrequestbodybytes"); ok {
		if n, err := parseNumber(value); err == nil && n > 0 {
			h.set("MAX_REQUEST_BODY", fmt.Sprintf("%dB", n), h.r.config.key(at+".maxrequestbodybytes"))
		}
	}
	if rest := h.r.config.below(at); rest["retryexpression"] != "" || rest["maxresponsebodybytes"] != "" {
		h.problem(h.r.config.key(at), "has an effect by maxRequestBodyBytes alone")
	}
}
