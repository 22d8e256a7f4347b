package labels

import (
	"regexp"
	"strconv"
	"time"

	"relay/sources"
)

// The labels that marathon-lb's zdd.py and bluegreen_deploy.py write. What they
// note for themselves has no effect: ports are matched by their index, and shares of
// traffic follow from the numbers of tasks.
var deploymentLabels = []Label{
	{Key: "HAPROXY_DEPLOYMENT_GROUP", Field: "deployment.group", ofApp: (*reader).readDeploymentGroup,
		meaning: "the service: letters, digits, hyphens, dots, slashes", byDefault: "the app alone", example: "shop"},
	{Key: "HAPROXY_DEPLOYMENT_STARTED_AT", Field: "deployment.startedAt", ofApp: (*reader).readStartedAt,
		meaning: "time; the latest app is the new one", byDefault: "the oldest", example: "2026-05-01T12:00:00Z"},
	{Key: "HAPROXY_DEPLOYMENT_TARGET_INSTANCES", Field: "deployment.targetInstances", ofApp: (*reader).readTargetInstances,
		meaning: "how many instances there shall be in the end", byDefault: "1", example: "3"},
	{Key: "HAPROXY_APP_ID", noEffect: true, meaning: deploymentNote},
	{Key: "HAPROXY_DEPLOYMENT_COLOUR", noEffect: true, meaning: deploymentNote},
	{Key: "HAPROXY_DEPLOYMENT_ALT_PORT", noEffect: true, meaning: deploymentNote},
	{Key: "HAPROXY_DEPLOYMENT_NEW_INSTANCES", noEffect: true, meaning: deploymentNote},
	{Key: "HAPROXY_DEPLOYMENT_*", noEffect: true, shown: hidden, meaning: "notes of other tools; they have no effect. What is one or two letters off one of the above is taken for a mistake"},
}

const deploymentNote = "notes of the tools that write them; they have no effect"

var validGroup = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,255}$`)

// ValidDeploymentGroup reports whether text can name a deployment group.
func ValidDeploymentGroup(text string) bool { return validGroup.MatchString(text) }

func (r *reader) readDeploymentGroup(key, value string) {
	if value != "" && !ValidDeploymentGroup(value) {
		r.problem(key, "%q is ignored: use letters, digits, hyphens, dots and slashes", sources.Clip(value))
		return
	}
	r.deployment.Group = value
}

func (r *reader) readStartedAt(key, value string) {
	at, ok := parseTime(value)
	if !ok && value != "" {
		r.problem(key, "%q is not a time, such as 2026-05-01T12:00:00Z: the app counts as the oldest of its group", sources.Clip(value))
	}
	r.deployment.StartedAt = at
}

func (r *reader) readTargetInstances(key, value string) {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil && value != "" {
		r.problem(key, "%q is ignored: write a number", sources.Clip(value))
	}
	r.deployment.TargetInstances = int(n)
}

// parseTime reads a time in the ways in which the tools write it: with or without a
// zone, which then is UTC.
func parseTime(s string) (time.Time, bool) {
	if len(s) > sources.MaxNameBytes { // the error would repeat it
		return time.Time{}, false
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), true
	}
	t, err := time.Parse("2006-01-02T15:04:05", s)
	return t, err == nil
}
