package labels

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"relay/sources"
)

// MaxKeyBytes is the length of a label's key that is looked at: the longest that is
// known has 60, besides the name of a port.
const MaxKeyBytes = 60 + sources.MaxNameBytes

// isOwn tells by its beginning, in any case, that a label is for Relay.
func isOwn(key string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return len(key) >= len(p) && strings.EqualFold(key[:len(p)], p) })
}

// ForPort puts the index of a port into the key of a label that has none:
// HAPROXY_VHOST becomes HAPROXY_0_VHOST. A key that is not for Relay stays.
func ForPort(key string, port int) string {
	for _, prefix := range prefixes {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			return prefix + strconv.Itoa(port) + "_" + name
		}
	}
	return key
}

// portKey is the key of a label for a port, taken apart.
type portKey struct {
	label *Label
	// port is the index or name of the port; name is what follows it.
	port, name string
}

// splitKey takes HAPROXY_{n}_NAME apart. It fails on names that are not known
// and on ports that are neither a number nor the name of a declared port.
func (r *reader) splitKey(key string) (portKey, bool) {
	if len(key) > MaxKeyBytes {
		return portKey{}, false
	}
	for _, prefix := range prefixes {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		// A port name may itself contain the separator, so every split is tried;
		// the number comes first because it has none.
		for i := range len(rest) {
			if rest[i] != '_' {
				continue
			}
			port, name := rest[:i], rest[i+1:]
			if _, declared := r.names[port]; !declared && !isIndex(port) {
				continue
			}
			if l := known.ofPort(prefix, name); l != nil {
				return portKey{l, port, name}, true
			}
		}
	}
	return portKey{}, false
}

// portIndex returns the index of a declared port.
func (r *reader) portIndex(port string) (int, bool) {
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

// suggestion is a label that a misspelt one may have meant, with its key for port 0.
type suggestion struct {
	label *Label
	key   string
}

// suggestionsFrom puts labels of apps first and sorts the others by prefix and name.
// Of those that are equally near, the first one is named.
func suggestionsFrom(all []*Label) []suggestion {
	var list []suggestion
	for _, l := range all {
		if !strings.HasSuffix(l.Key, "*") {
			list = append(list, suggestion{l, l.For("0")})
		}
	}
	rank := map[string]int{"": 0, "MARATHON_ACME_": 1, "HAPROXY_": 2, "RELAY_": 3}
	slices.SortFunc(list, func(a, b suggestion) int {
		return cmp.Or(cmp.Compare(rank[a.label.prefix], rank[b.label.prefix]), strings.Compare(a.key, b.key))
	})
	return list
}

// maxMistaken is how many letters a key is off the one that was meant, among keys of which
// most have no effect.
const maxMistaken = 2

// mistaken reports whether a key that is one of many without effect was likely meant to be
// one that has an effect.
func mistaken(l *Label, key string) bool {
	family, ok := strings.CutSuffix(l.Key, "*")
	if !ok {
		return false
	}
	rest := key[len(family):]
	return slices.ContainsFunc(known.all, func(other *Label) bool {
		name, same := strings.CutPrefix(other.Key, family)
		return same && other.ofApp != nil && len(rest) <= len(name)+maxMistaken && sources.Typos(strings.ToUpper(rest), name) <= maxMistaken
	})
}

// spelled shows a key that does not look like what it is.
func spelled(key string) string {
	if strings.Trim(key, plain) == "" {
		return ""
	}
	return fmt.Sprintf(" As it is written, it is %+.120q", key)
}

// plain are the characters of keys that everybody sees.
const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./"

var indexPattern = regexp.MustCompile(`_\d+_`)

// nearestLabel returns the known label that a mistyped one, of MaxKeyBytes at
// most, was likely meant to be.
func nearestLabel(key string) string {
	typed := strings.ToUpper(key)
	port := "0"
	if at := indexPattern.FindStringIndex(typed); at != nil {
		port = cmp.Or(strings.TrimLeft(typed[at[0]+1:at[1]-1], "0"), "0")
		typed = typed[:at[0]] + "_0_" + typed[at[1]:]
	}
	if strings.Contains(typed, "_0_") {
		for _, l := range known.all { // of RELAY_0_CORS, the first of the table that begins so
			if !l.noEffect && strings.HasPrefix(l.For("0"), typed+"_") {
				return l.For(port)
			}
		}
	}
	var best *Label
	bestDistance := 0
	for _, s := range known.suggestions {
		if apart := len(typed) - len(s.key); best != nil && max(apart, -apart) >= bestDistance {
			continue // no distance is smaller than that of the lengths
		}
		if d := sources.EditDistance(typed, s.key); best == nil || d < bestDistance {
			best, bestDistance = s.label, d
		}
	}
	return best.For(port)
}
