package sources

import "strings"

// What one app may hold, so that it cannot hold up the others. People stay far
// below. Only what is over a limit is left out; docs/labels.md says how.
const (
	// MaxPorts is the number of ports, and MaxEndpoints that of tasks times
	// ports.
	MaxPorts, MaxEndpoints = 1000, 20_000
	// MaxIDBytes is the length of the ids of apps and tasks, MaxNameBytes that
	// of other names: of ports, hosts, regions and the like.
	MaxIDBytes, MaxNameBytes = 512, 255

	// MaxSettings is the number of labels or settings that are read, and
	// MaxSettingsBytes the size of all of them.
	MaxSettings, MaxSettingsBytes = 5000, 256 << 10
	// MaxSettingBytes is the size of one value.
	MaxSettingBytes = 64 << 10
	// MaxGroups is the number of groups in one value, and MaxDomains that of
	// domains; MaxAppDomains is that of domains in all values of a kind.
	MaxGroups, MaxDomains, MaxAppDomains = 100, 2000, 4000

	// MaxSegment is the last segment of a path by which requests can be hashed.
	MaxSegment = 20

	// MaxUnrouted is how many domains are remembered that are not routed.
	MaxUnrouted = 50

	// MaxProblems is how many problems are shown, and MaxSubjectProblems how
	// many of them on one subject.
	MaxProblems, MaxSubjectProblems = 100, 10
	maxReasonBytes                  = 1000
)

// Clip bounds text from outside that is shown to people.
func Clip(s string) string { return clip(s, 120) }

// ClipReason bounds what people are told about one thing.
func ClipReason(s string) string { return clip(s, maxReasonBytes) }

func clip(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:limit], "?") + "…"
}

// BoundedName returns a name of at most MaxNameBytes as it is, and "" for a longer one.
func BoundedName(s string) string {
	if len(s) > MaxNameBytes {
		return ""
	}
	return s
}
