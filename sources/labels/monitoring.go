package labels

import (
	"regexp"
	"strings"

	"relay/internal/probelabel"
	"relay/sources"
)

// How an app is watched from outside, and who is told. No listener or route depends on these.
var monitoringLabels = []Label{
	{Key: "RELAY_{n}_PROBE", Field: "probe", setting: (*Settings).probe,
		meaning: "how the port is asked through every Envoy, for each of its domains but wildcards, and what is expected: `/path` by GET with 2xx; `/path 200,204`; `/path 3xx within 500ms`; " +
			"`/path contains \"text\"`; `HEAD /path`; `websocket /path`; `grpc` or `grpc SERVICE` for gRPC's health check; `module NAME` of the settings of probes; `tcp` for a TCP service; " +
			"`off` for never, also not by chance. See [monitoring.md](monitoring.md)",
		byDefault: "by chance, if Relay asks a sample of the domains; then any answer of the app is good", example: "/health 200 within 500ms"},
	{Key: "RELAY_OWNER", Field: "owner", ofApp: (*reader).readOwner,
		meaning:   "who is told when the app fails: letters, digits and `_` `.` `@` `/` `-`, at most 64. People see it, and alerts have it as the label `owner`",
		byDefault: "whoever runs the platform", example: "team-shop"},
}

var validOwner = regexp.MustCompile(`^[A-Za-z0-9_.@/-]{1,64}$`)

// ValidOwner reports whether text can name the owner of an app.
func ValidOwner(text string) bool { return validOwner.MatchString(text) }

func (r *reader) readOwner(key, value string) {
	if value != "" && !ValidOwner(value) {
		r.problem(key, "%.40q is ignored: use letters, digits and _ . @ / -, at most 64", value)
		return
	}
	r.owner = value
}

func (s *Settings) probe(value string) {
	if strings.TrimSpace(value) == "" {
		return
	}
	label, err := probelabel.Parse(strings.TrimSpace(value))
	if err != nil {
		s.problem("is ignored, and the port is asked as any other: %s", sources.ClipReason(err.Error()))
		return
	}
	s.asked = &label
}

// Probe returns how the port is asked, as probelabel.Parse reads it; empty if that is not said. It must be
// called before Finish, and after TCP.
func (s *Settings) Probe() string {
	if s.asked == nil {
		return ""
	}
	switch kind := s.asked.Kind; {
	case kind == probelabel.Off, kind == probelabel.Module:
	case s.isTCP && kind != probelabel.TCP:
		s.problemOn("PROBE", "is ignored, as the port is a TCP service: write tcp, module NAME or off")
		return ""
	case !s.isTCP && kind == probelabel.TCP:
		s.problemOn("PROBE", "is ignored, as the port is an HTTP service: write a path, or another kind")
		return ""
	}
	return s.asked.String()
}
