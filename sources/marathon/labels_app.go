package marathon

import (
	"strconv"
	"time"

	"relay/sources/setting"
)

// readAppLabel reads a label of the app as a whole. Those of deployments are
// what marathon-lb's zdd.py and bluegreen_deploy.py write.
func (r *labelReader) readAppLabel(key, value string) {
	r.relevant = true
	if key == "HAPROXY_GROUP" {
		r.groups = r.readGroups(key, value)
		return
	}
	if !r.short(key, value) {
		return
	}
	switch key {
	case "HAPROXY_DEPLOYMENT_GROUP":
		if value != "" && !setting.ValidGroup(value) {
			r.problem(key, "%q is ignored: use letters, digits, hyphens, dots and slashes", clip(value))
			return
		}
		r.deployment.Group = value
	case "HAPROXY_DEPLOYMENT_STARTED_AT":
		at, ok := parseStart(value)
		if !ok && value != "" {
			r.problem(key, "%q is not a time, such as 2026-05-01T12:00:00Z: the app counts as the oldest of its group", clip(value))
		}
		r.deployment.StartedAt = at
	case "HAPROXY_DEPLOYMENT_TARGET_INSTANCES":
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil && value != "" {
			r.problem(key, "%q is ignored: write a number", clip(value))
		}
		r.deployment.TargetInstances = int(n)
	}
	// _COLOUR, _ALT_PORT and _NEW_INSTANCES are notes of these tools to
	// themselves: ports are matched by their index, and shares of traffic follow
	// from the numbers of tasks.
}

// parseStart reads a time in the ways in which the tools write it: with or
// without a zone, which then is UTC.
func parseStart(s string) (time.Time, bool) {
	if t, ok := parseTime(s); ok {
		return t.UTC(), true
	}
	t, err := time.Parse("2006-01-02T15:04:05", s)
	return t, err == nil
}
