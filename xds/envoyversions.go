package xds

import (
	"fmt"
	"strings"
)

// The oldest and the newest minor version of Envoy 1 that Relay is tested with.
const (
	OldestEnvoy = 36
	NewestEnvoy = 40
)

// Age says how the version of an Envoy compares with those that Relay is tested with.
type Age int

// The ages.
const (
	TestedEnvoy Age = iota
	OlderEnvoy      // older than all, or it says no version
	NewerEnvoy      // newer than all
)

// Age returns how the version of the Envoy compares.
func (s StreamStatus) Age() Age {
	major, minor := s.version()
	switch {
	case major < 1 || major == 1 && minor < OldestEnvoy:
		return OlderEnvoy
	case major > 1 || minor > NewestEnvoy:
		return NewerEnvoy
	}
	return TestedEnvoy
}

// Before reports whether the Envoy is older than a minor version of Envoy 1, or says no version.
func (s StreamStatus) Before(minor int) bool {
	major, own := s.version()
	return major < 1 || major == 1 && own < minor
}

func (s StreamStatus) version() (major, minor int) {
	_, _ = fmt.Sscanf(s.Version, "%d.%d", &major, &minor)
	return major, minor
}

// maxToldVersions bounds what clients can have written to the log by making versions up.
const maxToldVersions = 100

// tellAge logs the version of an Envoy that Relay is not tested with: once for each fleet and
// version.
func (s *Server) tellAge(st *stream) {
	age := st.info.Age()
	if age == TestedEnvoy {
		return
	}
	key := st.info.Fleet + " " + st.info.Version
	s.mu.Lock()
	told := s.toldVersions[key] || len(s.toldVersions) >= maxToldVersions
	if !told {
		s.toldVersions[key] = true
	}
	s.mu.Unlock()
	switch {
	case told:
	case age == OlderEnvoy:
		st.log.Warn("an Envoy is older than Relay supports", "event", "envoy_too_old", "version", st.info.Version, "reason", OlderEnvoyReason(st.info.Version))
	default:
		st.log.Info("an Envoy is newer than those that Relay is tested with", "event", "envoy_untested", "version", st.info.Version, "newest", fmt.Sprintf("1.%d", NewestEnvoy))
	}
}

// OlderEnvoyReason says what it means that Envoys are of such versions, and what to do.
func OlderEnvoyReason(versions ...string) string {
	text := "version " + strings.Join(versions, ", ") + " is"
	if len(versions) == 1 && versions[0] == "" {
		text = "it says no version, which may be"
	}
	return fmt.Sprintf("%s older than 1.%d, the oldest that Relay is tested with: it is served, but it may reject what it is sent, or not do what it "+
		"does not know, such as keep a request out. Install a newer one: https://www.envoyproxy.io/docs/envoy/latest/start/install "+
		"(docs/compatibility.md)", text, OldestEnvoy)
}
