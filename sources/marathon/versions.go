package marathon

import (
	"slices"
	"strings"
	"time"

	"relay/sources"
)

// maxVersions is how many older versions of an app are read and remembered. A deployment
// has one, one that was changed on the way a few.
const maxVersions = 100

// appDefinition is what tasks are judged and addressed by: what one version of an app says of
// its checks and ports. It is never modified.
type appDefinition struct {
	version string
	// since and until are the first and the last version that say the same: Marathon makes
	// a new version also when an app is only scaled.
	since, until time.Time
	// missing tells that Marathon does not have the version any more.
	missing bool

	checks int           // the number of health checks
	grace  time.Duration // the longest grace period of them
	// readiness tells that there is a readiness check, and readinessGrace how long a task
	// without a result is not ready.
	readiness      bool
	readinessGrace time.Duration
	layout
}

// layout says where the ports of a task are.
type layout struct {
	mode networkMode
	// networks is the number of container networks.
	networks int
	declared []declaration
}

// definitionOf takes from an app what its tasks are judged by.
func definitionOf(a *appJSON, mode networkMode, declared []declaration) *appDefinition {
	d := &appDefinition{
		version: a.Version, checks: len(a.HealthChecks), grace: gracePeriod(a.HealthChecks),
		readiness: len(a.ReadinessChecks) > 0, layout: layout{mode, len(a.Networks), declared},
	}
	if d.readiness {
		d.readinessGrace, _ = readinessTimes(a)
	}
	d.until, _ = parseTime(a.Version)
	d.since = d.until
	if a.VersionInfo != nil {
		if at, ok := parseTime(a.VersionInfo.LastConfigChangeAt); ok && at.Before(d.until) {
			d.since = at
		}
	}
	return d
}

func (d *appDefinition) equal(o *appDefinition) bool {
	return d.version == o.version && d.since.Equal(o.since) && d.until.Equal(o.until) && d.missing == o.missing &&
		d.checks == o.checks && d.grace == o.grace && d.readiness == o.readiness && d.readinessGrace == o.readinessGrace &&
		d.mode == o.mode && d.networks == o.networks && slices.Equal(d.declared, o.declared)
}

// covers reports whether a version says the same.
func (d *appDefinition) covers(version time.Time) bool {
	return !version.Before(d.since) && !version.After(d.until)
}

// find returns the definition of a version, or nil.
func find(known []*appDefinition, version time.Time) *appDefinition {
	for _, d := range known {
		if d.covers(version) {
			return d
		}
	}
	return nil
}

// versionAge compares a task with the definition that was read with it.
type versionAge uint8

const (
	sameVersion  versionAge = iota
	olderVersion            // of before the last change that was more than scaling
	newerVersion            // of a change that is being deployed, and cannot be read yet
)

// standard is what the tasks of one version are judged and addressed by.
type standard struct {
	age     versionAge
	version string
	at      time.Time
	// of is the definition of the version; nil while it is not known.
	of *appDefinition
	// ports are the positions in of of the ports that the newest definition declares, -1
	// for those that it does not have. Nil is each at its own position.
	ports []int
	// used tells that a task goes by it that may be in rotation, and asked that what it says
	// makes a difference there.
	used, asked bool
}

// known reports whether the definition of the version was read.
func (s *standard) known() bool { return s.of != nil && !s.of.missing }

// standards has those of an app's tasks, by version.
type standards struct {
	newest    *appDefinition
	versions  []*appDefinition // those known besides
	byVersion map[string]*standard
	same      *standard
}

func newStandards(newest *appDefinition, versions []*appDefinition) *standards {
	return &standards{newest: newest, versions: versions, same: &standard{version: newest.version, at: newest.until, of: newest}}
}

// of returns the standard of a task. One without a version that can be compared is judged
// by the newest definition.
func (s *standards) of(t *taskJSON) *standard {
	if t.Version == "" || t.Version == s.newest.version || s.newest.until.IsZero() {
		return s.same
	}
	if found := s.byVersion[t.Version]; found != nil {
		return found
	}
	if s.byVersion == nil {
		s.byVersion = map[string]*standard{}
	}
	found := s.same
	if at, ok := parseTime(t.Version); ok && !s.newest.covers(at) {
		found = &standard{age: olderVersion, version: t.Version, at: at, of: find(s.versions, at)}
		if at.After(s.newest.until) {
			found.age = newerVersion
		}
		if found.known() {
			found.ports = matchPorts(s.newest.declared, found.of.declared)
		}
	}
	s.byVersion[t.Version] = found
	return found
}

// others returns the standards of other versions than the newest that are chosen, the
// newest first, as many as are remembered.
func (s *standards) others(chosen func(*standard) bool) []*standard {
	var list []*standard
	for _, one := range s.byVersion {
		if one != s.same && chosen(one) {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b *standard) int {
		if c := b.at.Compare(a.at); c != 0 {
			return c
		}
		return strings.Compare(a.version, b.version)
	})
	return list[:min(len(list), maxVersions)]
}

// matchPorts finds each port of the newest definition in the one of a task, or -1. A port
// is the same if it has the same name, or else the same port in the container, or else the
// same position, unless both have names and there are more or fewer than before.
func matchPorts(newest, own []declaration) []int {
	found := slices.Repeat([]int{-1}, len(newest))
	taken := make([]bool, len(own))
	match := func(same func(i, j int) bool) {
		for i := range newest {
			for j := range own {
				if found[i] < 0 && !taken[j] && same(i, j) {
					found[i], taken[j] = j, true
				}
			}
		}
	}
	named := func(i, j int) bool { return newest[i].name != "" && own[j].name != "" }
	positions := make(map[string]int, len(own))
	for j, d := range own {
		if _, twice := positions[d.name]; d.name != "" && !twice {
			positions[d.name] = j
		}
	}
	for i, d := range newest { // names by a map, since there may be many
		if j, ok := positions[d.name]; ok && d.name != "" && !taken[j] {
			found[i], taken[j] = j, true
		}
	}
	if len(newest)*len(own) <= 10_000 {
		match(func(i, j int) bool {
			return !named(i, j) && newest[i].containerPort != 0 && newest[i].containerPort == own[j].containerPort
		})
	}
	for i := range min(len(newest), len(own)) {
		if found[i] < 0 && !taken[i] && (!named(i, i) || len(newest) == len(own)) {
			found[i], taken[i] = i, true
		}
	}
	return found
}

// layout says where the ports of the tasks are: as their own version says, or as long as
// that is not known as the newest does.
func (s *standard) layout(newest *appDefinition) layout {
	if s.known() {
		return s.of.layout
	}
	return newest.layout
}

// declaration returns the declaration of the tasks' layout that is the port n of the newest
// definition; false if they do not have it.
func (s *standard) declaration(n int, newest *appDefinition) (declaration, bool) {
	if s.ports == nil {
		return newest.declared[n], true
	}
	if s.ports[n] < 0 {
		return declaration{}, false
	}
	return s.of.declared[s.ports[n]], true
}

// use notes that a task of another version goes by the standard, and whether its definition is to be read. What the
// version says makes no difference to a task that fails a check of it, and none to one that
// passes as many as the newest definition has, unless its ports may be others.
func (s *standard) use(t *taskJSON, newest *appDefinition, routed bool) {
	switch taskPhase(t) {
	case phaseRunning, phaseKilling, phaseUnreachable:
	default:
		return
	}
	s.used = true
	if routed && s.of == nil && checkResultOf(1, t.HealthCheckResults) != unhealthy {
		passes := newest.checks > 0 && checkResultOf(newest.checks, t.HealthCheckResults) == healthy
		s.asked = s.asked || !passes || layoutMatters(newest.layout, t)
	}
}

// addVersions notes how the tasks of other versions are judged, and by what.
func (out *mapped) addVersions(judge *standards, tasks []taskJSON, list []verdict) {
	if len(judge.byVersion) == 0 {
		return
	}
	// A definition that is known stays so while tasks have its version, also while they are
	// staged: it need not be read once they run.
	for _, s := range judge.others(func(s *standard) bool { return s.used || s.of != nil }) {
		out.older = append(out.older, s.at)
		if s.asked {
			out.asked = append(out.asked, s.version)
		}
	}
	notes := map[*standard]string{}
	for i := range tasks {
		s := judge.of(&tasks[i])
		if _, listed := out.history[tasks[i].ID]; !s.used || !listed || !s.known() && list[i].result == unhealthy {
			continue
		}
		if _, ok := notes[s]; !ok {
			notes[s] = s.note()
		}
		out.app.Notes = append(out.app.Notes, sources.Note{Task: tasks[i].ID, Text: notes[s]})
	}
}

// layoutMatters reports whether the addresses of a task of another version may not be
// those that the newest definition gives.
func layoutMatters(newest layout, t *taskJSON) bool {
	switch len(newest.declared) {
	case 0:
		return false
	case 1:
		return newest.mode == modeContainer || len(t.Ports) != 1
	}
	return true
}

// note says how the tasks of another version are judged; empty for those of the newest.
func (s *standard) note() string {
	of := "is of the version of " + s.version
	switch {
	case s.age == sameVersion:
		return ""
	case s.known():
		return "is judged by its own version, of " + s.version
	case s.of != nil:
		return of + ", which Marathon no longer has: it serves as long as no health check fails"
	case s.age == newerVersion:
		return of + ", which is newer than the definition that was read"
	case s.asked:
		return of + ", whose definition is still to be read: it serves as long as no health check fails"
	}
	return of + ", and does what the newest asks for"
}
