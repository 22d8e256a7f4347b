package marathon

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"relay/sources"
	"relay/sources/setting"
)

const (
	// maxKeyBytes is the length of a label's key that is looked at: the longest
	// that is known has 60, beside the name of a port.
	maxKeyBytes = 60 + sources.MaxNameBytes
	// maxUnknown is how many labels that are not known are named, each with what
	// was likely meant.
	maxUnknown = 20
	// maxLongLists is how many lists of domains of an app that are too long are
	// read to where they are cut.
	maxLongLists = 4
)

// appLabels is what the labels of an app say.
type appLabels struct {
	ports      []portLabels // one for each declared port
	deployment *sources.Deployment
}

// portLabels is what the labels of an app say about one port.
type portLabels struct {
	groups      []string
	domains     []string
	acmeDomains []string
	redirect    bool
	http        *sources.HTTP
	upstream    *sources.Upstream
	tcp         *sources.TCP
}

// labelReader collects what labels say, one label at a time, so that a bad
// one costs only itself.
type labelReader struct {
	declared   []declaration
	names      map[string]int // index of a declared port
	ports      []portLabels
	settings   []*setting.Port
	deployment sources.Deployment
	seen       map[string]string // port index and name -> the key that set it
	groups     []string          // HAPROXY_GROUP
	ownGroups  map[int][]string  // HAPROXY_{n}_GROUP
	closed     map[int]bool      // not to be routed at all
	problems   sources.Problems
	unknown    int // labels that are not known
	relevant   bool

	domainRoom, acmeRoom sources.DomainRoom
	longLists            int // of domains
}

// parseLabels reads marathon-lb's HAPROXY_* labels (see LABELS / templates in
// its documentation), marathon-acme's MARATHON_ACME_{n}_DOMAIN, and Relay's own
// RELAY_{n}_*. Problems are ordered by label. Of an app with too many labels
// none is read: one that restricts access could be among those left out.
func parseLabels(labels map[string]string, declared []declaration) (appLabels, []sources.Problem) {
	r := labelReader{
		declared: declared, names: make(map[string]int, len(declared)), ports: make([]portLabels, len(declared)), settings: make([]*setting.Port, len(declared)),
		seen: map[string]string{}, ownGroups: map[int][]string{}, closed: map[int]bool{},
	}
	for i, d := range declared {
		if _, twice := r.names[d.name]; !twice && d.name != "" {
			r.names[d.name] = i
		}
	}
	keys, tooMany := ownLabels(labels)
	if tooMany != "" {
		return appLabels{ports: r.ports}, []sources.Problem{{Reason: tooMany + ": nothing of the app is routed"}}
	}
	for _, key := range keys {
		r.read(key, labels[key])
	}
	if more := r.unknown - maxUnknown; more > 0 {
		r.problem("", "has %d more labels that are not known", more)
	}
	if len(declared) == 0 {
		if !r.relevant {
			return appLabels{}, r.problems.List()
		}
		return appLabels{}, append([]sources.Problem{{Reason: "has routing labels but declares no port: nothing is routed"}}, r.problems.List()...)
	}
	r.finish()
	problems := r.problems.List()
	slices.SortStableFunc(problems, func(a, b sources.Problem) int { return strings.Compare(a.Subject, b.Subject) })
	read := appLabels{ports: r.ports}
	if r.deployment.Group != "" {
		read.deployment = &r.deployment
	}
	return read, problems
}

// ownLabels returns the keys of the labels that are for Relay, sorted, or says
// that there are too many of them. Those that are too long count for their
// number only: no more than the beginning of a few is looked at.
func ownLabels(labels map[string]string) (keys []string, tooMany string) {
	size := 0
	for key, value := range labels {
		if !isOwn(key) {
			continue
		}
		keys = append(keys, key)
		if len(key) <= maxKeyBytes && len(value) <= sources.MaxSettingBytes {
			size += len(key) + len(value)
		}
	}
	switch {
	case len(keys) > sources.MaxSettings:
		return nil, fmt.Sprintf("has %d labels for routing, and at most %d are read", len(keys), sources.MaxSettings)
	case size > sources.MaxSettingsBytes:
		return nil, fmt.Sprintf("its labels for routing take %d bytes, keys and values together, and at most %d are read", size, sources.MaxSettingsBytes)
	}
	slices.Sort(keys)
	return keys, ""
}

// isOwn tells by its beginning, in any case, that a label is for Relay.
func isOwn(key string) bool {
	return slices.ContainsFunc(labelPrefixes, func(p struct{ key, known string }) bool {
		return len(key) >= len(p.key) && strings.EqualFold(key[:len(p.key)], p.key)
	})
}

func (r *labelReader) problem(key, format string, args ...any) { r.problems.Add(key, format, args...) }

// notKnown notes a label that is none of those that there are.
func (r *labelReader) notKnown(key string) {
	switch r.unknown++; {
	case r.unknown > maxUnknown:
	case len(key) > maxKeyBytes:
		r.problem(key, "is not a known label: those have fewer than %d bytes", maxKeyBytes)
	default:
		r.problem(key, "is not a known label: did you mean %s?", nearestLabel(key))
	}
}

func (r *labelReader) read(key, value string) {
	if _, ok := slices.BinarySearch(appLabelNames, key); ok {
		r.readAppLabel(key, strings.TrimSpace(value))
		return
	}
	port, label, ok := r.splitKey(key)
	if !ok {
		r.notKnown(key)
		return
	}
	r.relevant = true
	if len(r.declared) == 0 {
		return
	}
	index, ok := r.portIndex(port)
	if !ok {
		r.problem(key, "names port %s, but the app declares %d (0 to %d)", clip(port), len(r.declared), len(r.declared)-1)
		return
	}
	name := strconv.Itoa(index) + " " + label
	if first, twice := r.seen[name]; twice {
		r.problem(key, "is ignored: %s says it already", clip(first))
		return
	}
	r.seen[name] = key
	r.apply(key, label, index, value)
}

// splitKey takes HAPROXY_{n}_NAME apart. It fails on names that are not known
// and on indexes that are neither a number nor the name of a declared port.
func (r *labelReader) splitKey(key string) (port, label string, ok bool) {
	if len(key) > maxKeyBytes {
		return "", "", false
	}
	var rest, prefix string
	for _, p := range labelPrefixes {
		if after, found := strings.CutPrefix(key, p.key); found {
			rest, prefix = after, p.known
		}
	}
	// A port name may itself contain the separator, so every split is tried;
	// the number comes first because it has none.
	for i := range len(rest) {
		if rest[i] != '_' {
			continue
		}
		_, declared := r.names[rest[:i]]
		if (declared || isIndex(rest[:i])) && knownLabel(prefix+rest[i+1:]) {
			return rest[:i], prefix + rest[i+1:], true
		}
	}
	return "", "", false
}

func (r *labelReader) portIndex(port string) (int, bool) {
	if isIndex(port) {
		n, err := strconv.Atoi(port)
		return n, err == nil && n < len(r.declared)
	}
	i, ok := r.names[port]
	return i, ok
}

func isIndex(s string) bool {
	if s == "" || (len(s) > 1 && s[0] == '0') {
		return false
	}
	return strings.Trim(s, "0123456789") == ""
}

func (r *labelReader) apply(key, label string, index int, value string) {
	port := &r.ports[index]
	switch label {
	case "GROUP":
		r.ownGroups[index] = r.readGroups(key, value)
	case "VHOST":
		port.domains = r.readDomains(&r.domainRoom, key, value)
	case "REDIRECT_TO_HTTPS":
		port.redirect = r.readBool(key, value, false)
	case "ENABLED":
		if !r.readBool(key, value, true) {
			r.closed[index] = true
		}
	case acmePrefix + "DOMAIN":
		port.acmeDomains = r.readDomains(&r.acmeRoom, key, value)
	case "HTTP_FRONTEND_ACL_WITH_PATH":
		// marathon-acme's own app has it to get the challenges, which Relay
		// routes there without being told.
	default:
		if r.settings[index] == nil {
			r.settings[index] = setting.New()
		}
		if r.settings[index].Set(strings.TrimPrefix(label, relayPrefix), value) {
			return
		}
		reason, ok := unsupportedLabels[label]
		if !ok {
			reason = templateLabel
		}
		r.problem(key, "is not supported and has no effect: %s", reason)
	}
}

// readBool takes marathon-lb's words for true, and 1; everything else is false.
func (r *labelReader) readBool(key, value string, fallback bool) bool {
	if !r.short(key, value) {
		return false
	}
	if strings.TrimSpace(value) == "" {
		return fallback
	}
	truth, ok := setting.Bool(value)
	if !ok {
		r.problem(key, "%q is taken as false: write true or false", clip(value))
	}
	return truth
}

// short tells whether a value may be looked at.
func (r *labelReader) short(key, value string) bool {
	if len(value) > sources.MaxSettingBytes {
		r.problem(key, "is ignored: it has more than %d bytes", sources.MaxSettingBytes)
		return false
	}
	return true
}

// readDomains reads the first domains of a value, as many as the limits allow.
func (r *labelReader) readDomains(room *sources.DomainRoom, key, value string) []string {
	separator := func(c rune) bool { return c == ',' || unicode.IsSpace(c) }
	size := len(value)
	if size > sources.MaxSettingBytes {
		if r.longLists++; r.longLists > maxLongLists {
			r.short(key, value)
			return nil
		}
		value = value[:max(0, strings.LastIndexFunc(value[:sources.MaxSettingBytes+1], separator))]
	}
	fields := strings.FieldsFunc(value, separator)
	read, problem := room.Take(len(fields))
	fields = fields[:read]
	if size > sources.MaxSettingBytes {
		problem = fmt.Sprintf("has %d bytes, and at most %d are read: only its first %d entries are routed. Split the app", size, sources.MaxSettingBytes, read)
	}
	if problem != "" {
		r.problem(key, "%s", problem)
	}
	var domains []string
	seen := make(map[string]bool, len(fields))
	for _, field := range fields {
		domain, err := sources.NormalizeDomain(field)
		if err != nil {
			r.problem(key, "%s", clip(err.Error()))
			continue
		}
		if !seen[domain] {
			seen[domain] = true
			domains = append(domains, domain)
		}
	}
	return domains
}

// readGroups splits at commas; white space around a name does not count.
func (r *labelReader) readGroups(key, value string) []string {
	if !r.short(key, value) {
		return nil
	}
	if strings.Count(value, ",") >= sources.MaxGroups {
		r.problem(key, "is ignored: it has more than %d groups", sources.MaxGroups)
		return nil
	}
	var groups []string
	for g := range strings.SplitSeq(value, ",") {
		if g = strings.TrimSpace(g); g != "" && !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	return groups
}

// finish settles what depends on several labels.
func (r *labelReader) finish() {
	for i := range r.ports {
		port := &r.ports[i]
		port.groups = r.groups
		if own, ok := r.ownGroups[i]; ok {
			port.groups = own
		}
		r.finishSettings(i)
		if port.tcp != nil && !port.tcp.Implicit {
			r.finishTCP(i)
		} else if len(port.domains) == 0 {
			for _, label := range []string{"PATH", "REDIRECT_TO_HTTPS"} {
				if key, ok := r.seen[strconv.Itoa(i)+" "+label]; ok && (label == "PATH" || port.redirect) {
					r.problem(key, "has no effect without a domain: set HAPROXY_%d_VHOST", i)
				}
			}
		}
		if r.declared[i].udpOnly() {
			if len(port.domains)+len(port.acmeDomains) > 0 {
				r.problem("", "port %d is UDP only and cannot serve a domain", i)
			}
			r.closed[i] = true
		}
		if r.closed[i] {
			*port = portLabels{}
		}
	}
}

func (r *labelReader) finishSettings(index int) {
	settings := r.settings[index]
	port := &r.ports[index]
	if settings == nil {
		if len(port.groups) == 0 {
			return
		}
		settings = setting.New()
	}
	declared := r.declared[index]
	var problems []setting.Problem
	port.tcp = settings.TCP(declared.servicePort, len(port.domains) > 0 || declared.checkedByHTTP)
	port.http, port.upstream, problems = settings.Finish()
	for _, p := range problems {
		r.problems.Append(sources.Problem{Subject: r.keyOf(index, p.Setting), Reason: p.Reason})
	}
}

// keyOf is the label that gave a setting.
func (r *labelReader) keyOf(index int, name string) string {
	key, ok := r.seen[strconv.Itoa(index)+" "+name]
	if !ok {
		key = r.seen[strconv.Itoa(index)+" "+relayPrefix+name]
	}
	return key
}

// finishTCP says what a TCP service has for nothing.
func (r *labelReader) finishTCP(index int) {
	port := &r.ports[index]
	switch {
	case port.tcp.Passthrough && len(port.domains) == 0:
		r.problem(r.keyOf(index, "TLS_PASSTHROUGH"), "has no effect without a domain: set HAPROXY_%d_VHOST", index)
	case !port.tcp.Passthrough && len(port.domains) > 0:
		r.problem(r.keyOf(index, "VHOST"), "has no effect in tcp mode, unless RELAY_%d_TLS_PASSTHROUGH is true", index)
	}
	if port.redirect {
		r.problem(r.keyOf(index, "REDIRECT_TO_HTTPS"), "has no effect in tcp mode")
		port.redirect = false
	}
}
