package peers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"relay/scaling/deployments"
)

// The limits of what Relays tell each other.
const (
	// MaxQuery is how many characters of apps, and of Envoys, one question has at most, and MaxAsked
	// how many of each.
	MaxQuery, MaxAsked = 8 << 10, 200
	// maxAnswer is how many bytes an answer has at most, and maxReports how many apps are in it.
	maxAnswer, maxReports = 8 << 20, 20_000
	// maxSlots is how many instances with a slot an answer has at most, and MaxDigests how many characters a question about them.
	maxSlots, MaxDigests = 50_000, 16 * SlotParts
	// maxName and maxText are how many bytes a name and a reason have at most.
	maxName, maxText = 1 << 10, 500
)

// version is that of Answer. Fields are added without a new one; a new one is for what an older Relay
// would misunderstand.
const version = 1

// Envoy names an Envoy.
type Envoy struct {
	Fleet string `json:"fleet"`
	ID    string `json:"id"`
}

// Question is what one Relay asks another.
type Question struct {
	// Apps are those, by their routed names, that shall be put to sleep if nobody uses them. Who is
	// asked must not forget what it answers: the other Relay relies on it.
	Apps []string
	// Envoys are those from which the asking Relay hears nothing any more.
	Envoys []Envoy
	// Loads asks for the load of all apps that are sized by it.
	Loads bool
	// Group asks for the tasks of a deployment group, unless it is empty.
	Group string
	// Slots asks which instance has which slot, of the parts with other digests than these. None asks for nothing.
	Slots []uint64
}

// Answer is what a Relay knows.
type Answer struct {
	Version int `json:"version"`
	// Instance is other for each Relay, and for each start of one.
	Instance string `json:"instance"`
	// Reports are those of the apps that were asked for, and of those that are sized by load, if
	// their load was asked for.
	Reports []Report `json:"reports"`
	// Envoys are those of the question that report to this Relay.
	Envoys []Envoy `json:"envoys"`
	// Directions are those of deployment groups of which people said so, and Tasks those of the group that
	// was asked for.
	Directions []deployments.Direction `json:"directions,omitempty"`
	Tasks      []DeploymentTask        `json:"tasks,omitempty"`
	// Began is when the Relay read its source for the first time, if it gives slots.
	Began time.Time `json:"began,omitzero"`
	// SlotParts are the parts whose digests differ from those of the question, and Slots has the ports in them.
	SlotParts []int      `json:"slotParts,omitempty"`
	Slots     []SlotPort `json:"slots,omitempty"`
}

// Report is what one Relay says of an app.
type Report struct {
	// Peer is the address of the Relay that says it. It is not sent.
	Peer string `json:"-"`
	// App is the routed name.
	App string `json:"app"`
	// Phase is what the app is doing, as far as this Relay knows.
	Phase string `json:"phase,omitempty"`
	// Version is that of the newest definition of which the Relay knows.
	Version string `json:"version,omitempty"`
	// Against says why the app must not sleep; empty if nothing is known against it.
	Against string `json:"against,omitempty"`
	// Quiet is set if all Envoys of this Relay ask before each request to the app, and nothing was in
	// progress since they do.
	Quiet bool `json:"quiet,omitempty"`
	// Stopping is set while this Relay puts the app to sleep at the source.
	Stopping bool `json:"stopping,omitempty"`
	// Drained are tasks that take no new requests, at which the Envoys of this Relay have nothing in
	// progress any more.
	Drained []string `json:"drained,omitempty"`
	// InProgress is how many requests are in progress at the Envoys of this Relay, and Known whether
	// that is known.
	InProgress float64 `json:"inProgress"`
	Known      bool    `json:"known,omitempty"`
}

// The names of the parameters of a question.
const (
	paramApps, paramEnvoys, paramLoads, paramGroup, paramSlots = "apps", "envoys", "loads", "group", "slots"
)

// query makes parameters of a question.
func (q Question) query() url.Values {
	values := make(url.Values)
	if len(q.Apps) > 0 {
		values.Set(paramApps, join(q.Apps))
	}
	if len(q.Envoys) > 0 {
		names := make([]string, len(q.Envoys))
		for i, e := range q.Envoys {
			names[i] = url.QueryEscape(e.Fleet) + "/" + e.ID
		}
		values.Set(paramEnvoys, join(names))
	}
	if q.Loads {
		values.Set(paramLoads, "true")
	}
	if q.Group != "" {
		values.Set(paramGroup, q.Group)
	}
	if len(q.Slots) > 0 {
		values.Set(paramSlots, joinDigests(q.Slots))
	}
	return values
}

// Parse reads the parameters of a question. Its errors are for who asks.
func Parse(apps, envoys, slots string, loads bool) (Question, error) {
	q := Question{Loads: loads}
	var err error
	if q.Slots, err = splitDigests(slots); err != nil {
		return q, err
	}
	if q.Apps, err = split(paramApps, apps); err != nil {
		return q, err
	}
	names, err := split(paramEnvoys, envoys)
	if err != nil {
		return q, err
	}
	for _, name := range names {
		fleet, id, ok := strings.Cut(name, "/")
		fleet, err := url.QueryUnescape(fleet)
		if !ok || err != nil {
			return q, fmt.Errorf("%s: an Envoy is its fleet, a slash, and its node id", paramEnvoys)
		}
		q.Envoys = append(q.Envoys, Envoy{fleet, id})
	}
	return q, nil
}

// join makes one text of names, in which any character may be.
func join(names []string) string {
	escaped := make([]string, len(names))
	for i, name := range names {
		escaped[i] = url.QueryEscape(name)
	}
	return strings.Join(escaped, ",")
}

// split is the reverse of join.
func split(param, text string) ([]string, error) {
	switch {
	case text == "":
		return nil, nil
	case len(text) > MaxQuery:
		return nil, fmt.Errorf("%s has more than %d characters", param, MaxQuery)
	case strings.Count(text, ",") >= MaxAsked:
		return nil, fmt.Errorf("%s names more than %d", param, MaxAsked)
	}
	names := strings.Split(text, ",")
	for i, name := range names {
		name, err := url.QueryUnescape(name)
		if err != nil || name == "" || len(name) > maxName || !utf8.ValidString(name) {
			return nil, fmt.Errorf("%s: entry %d is no name", param, i+1)
		}
		names[i] = name
	}
	return names, nil
}

// fits reports whether one more name may be in a question that has some characters of them already.
func fits(characters, names int, name string) bool {
	return names < MaxAsked && characters+len(url.QueryEscape(name))+1 <= MaxQuery
}

// decode reads an answer. What it does not know is passed over, and what is too long is an error or cut off.
func decode(text []byte) (Answer, error) {
	var a Answer
	if len(text) > maxAnswer {
		return Answer{}, fmt.Errorf("it has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return Answer{}, fmt.Errorf("it cannot be read: %w", err)
	}
	switch {
	case a.Version == 0 && a.Instance == "":
		return Answer{}, errors.New("it is not that of a Relay")
	case a.Version != version:
		return Answer{}, fmt.Errorf("it is of version %d, and this Relay knows %d: run the same release", a.Version, version)
	case a.Instance == "" || len(a.Instance) > maxName:
		return Answer{}, errors.New("it does not say which Relay it is of")
	case len(a.Reports) > maxReports || len(a.Envoys) > MaxAsked:
		return Answer{}, fmt.Errorf("it has %d reports and %d Envoys", len(a.Reports), len(a.Envoys))
	}
	for i := range a.Reports {
		r := &a.Reports[i]
		if r.App == "" || len(r.App) > maxName || r.InProgress < 0 {
			return Answer{}, fmt.Errorf("report %d is of no app, or less than nothing is in progress", i+1)
		}
		r.Against, r.Phase, r.Version = cut(r.Against), cut(r.Phase), cut(r.Version)
		r.Drained = r.Drained[:min(len(r.Drained), MaxAsked)]
	}
	return a, errors.Join(a.checkDeployments(), a.checkSlots())
}

// cut shortens a text, between two characters.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}
