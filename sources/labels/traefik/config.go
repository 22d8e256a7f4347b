package traefik

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"relay/internal/problem"
	"relay/internal/secret"
	"relay/sources"
)

// prefix is what labels of Traefik begin with, in any case.
const prefix = "traefik."

// config are labels of Traefik without the prefix. Names do not differ by case, so they are in lower case.
type config struct {
	values map[string]string
	// keys are the labels as they were written.
	keys map[string]string
	// read are those that were looked at.
	read map[string]bool
}

func (r *reader) newConfig(keys []string) config {
	c := config{values: make(map[string]string), keys: make(map[string]string), read: make(map[string]bool)}
	for _, key := range keys {
		name := strings.ToLower(key[len(prefix):])
		if first, twice := c.keys[name]; twice {
			r.problems.Add(key, "is ignored: %s says it already", sources.Clip(first))
			continue
		}
		if value := r.app.Labels[key]; len(value) <= sources.MaxSettingBytes {
			c.values[name] = strings.TrimSpace(value)
		} else {
			c.values[name] = tooLong
		}
		c.keys[name] = key
	}
	return c
}

// tooLong stands for a value that is too long: it is none that anything takes.
const tooLong = "\x00"

// v2 reports whether there are labels of Traefik 2 that route, and v1 whether there are some of Traefik 1.
func (c config) v2() bool {
	return slices.ContainsFunc([]string{"http.", "tcp.", "udp."}, func(p string) bool { return c.hasBelow(p) })
}

func (c config) v1() bool {
	for name := range c.values {
		if isV1(name) {
			return true
		}
	}
	return false
}

func (c config) hasBelow(start string) bool {
	for name := range c.values {
		if strings.HasPrefix(name, start) {
			return true
		}
	}
	return false
}

// take returns a value, and notes that it was read.
func (c config) take(name string) (value string, ok bool) {
	if value, ok = c.values[name]; ok {
		c.read[name] = true
	}
	return value, ok
}

// list returns a value with commas between.
func (c config) list(name string) (all []string) {
	value, _ := c.take(name)
	for field := range strings.SplitSeq(value, ",") {
		if field = strings.TrimSpace(field); field != "" {
			all = append(all, field)
		}
	}
	return all
}

// flag returns a value that is true or false; anything else is false.
func (c config) flag(name string) bool {
	value, _ := c.take(name)
	truth, _ := parseBool(value)
	return truth
}

// names returns the names directly below one, sorted, such as those of all routers.
func (c config) names(above string) []string {
	found := make(map[string]bool)
	for name := range c.values {
		if rest, ok := strings.CutPrefix(name, above+"."); ok {
			one, _, _ := strings.Cut(rest, ".")
			found[one] = true
		}
	}
	return sorted(found)
}

// below returns the values below a name, by what follows it.
func (c config) below(above string) map[string]string {
	found := make(map[string]string)
	for name, value := range c.values {
		if rest, ok := strings.CutPrefix(name, above+"."); ok {
			c.read[name] = true
			found[rest] = value
		}
	}
	return found
}

// key returns how a label was written; of several below a name that of the first.
func (c config) key(name string) string {
	if key, ok := c.keys[name]; ok {
		return key
	}
	first := ""
	for other, key := range c.keys {
		if strings.HasPrefix(other, name+".") && (first == "" || key < first) {
			first = key
		}
	}
	if first == "" {
		return prefix + name
	}
	return first
}

// reportUnread reports what no router asked for, and what Relay does not know.
func (c config) reportUnread(problems *sources.Problems) {
	for _, name := range sorted(c.values) {
		if c.read[name] || strings.HasPrefix(name, "udp.") || strings.HasPrefix(name, "marathon.") {
			continue
		}
		problems.AddTo(problem.Problem{Subject: c.key(name), Severity: problem.Advice}, "has no effect: no router uses it, or Relay does not know it")
	}
}

// parseBool reads what Traefik takes for true and false.
func parseBool(value string) (truth, known bool) {
	truth, err := strconv.ParseBool(strings.ToLower(value))
	return truth, err == nil
}

// parseNumber reads a number that is not negative.
func parseNumber(value string) (int, error) {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no number", value)
	}
	return int(n), nil
}

// shown returns a label as people are shown it: those with passwords or headers not at all.
func shown(key, value string) string {
	lower := strings.ToLower(key)
	for _, word := range []string{"auth", "customrequestheaders", "requestheaders", "plugin"} {
		if strings.Contains(lower, word) && !strings.HasSuffix(lower, ".realm") && !strings.HasSuffix(lower, "middlewares") {
			return secret.Redacted
		}
	}
	if before, _, query := strings.Cut(value, "?"); query && strings.Contains(value, "://") {
		value = before + "?" + secret.Redacted
	}
	return secret.Mask(value)
}
