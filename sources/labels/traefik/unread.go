package traefik

import (
	"regexp"
	"slices"
	"strings"

	"relay/internal/hostname"
	"relay/sources"
	"relay/sources/labels"
)

// Hosts in rules: of Traefik 2, and of Traefik 1.
var (
	hostOf2 = regexp.MustCompile(`(?i)\bHost\(([^)]*)\)`)
	hostOf1 = regexp.MustCompile(`(?i)(?:^|;)\s*Host:([^;]*)`)
)

// unread says of an app that is in no fleet, and whose labels of Traefik nobody reads, which domains it would have:
// whoever looks for one of them is told what to do. It is no problem of the app: Traefik may serve it.
func unread(said labels.App, app App) labels.App {
	if slices.ContainsFunc(said.Ports, func(p sources.Port) bool { return len(p.Groups) > 0 }) {
		return said
	}
	var keys []string
	for key := range app.Labels {
		if len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix) && strings.HasSuffix(strings.ToLower(key), ".rule") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		rule := app.Labels[key]
		for _, found := range append(hostOf2.FindAllStringSubmatch(rule, sources.MaxUnrouted), hostOf1.FindAllStringSubmatch(rule, sources.MaxUnrouted)...) {
			for name := range strings.SplitSeq(found[1], ",") {
				domain, err := hostname.Domain(strings.Trim(name, " `\"'"))
				if err == nil && len(said.Unrouted) < sources.MaxUnrouted {
					said.Unrouted = append(slices.Clip(said.Unrouted), sources.Unrouted{Domain: domain, Meant: true,
						Reason: sources.ClipReason(key + ": labels of Traefik are not read, unless Relay runs with --labels marathon-lb,traefik")})
				}
			}
		}
	}
	return said
}
