package deployments

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"relay/internal/plural"
	"relay/sources"
	"relay/traffic"
)

// Routing says how groups are routed, and what Envoys have of that. Its methods return at once.
type Routing interface {
	// Routed is the one app as which a group is routed; nil if it is not.
	Routed(name string) *sources.App
	// Serving are the fleets that route a port of some groups, and Cluster is the name of its cluster.
	Serving(groups []string) []string
	Cluster(name string, port int) string
	// Drained reports whether all Envoys have acknowledged that tasks take nothing new, and if not, what
	// is waited for.
	Drained(name string, tasks []string) (all bool, waiting string)
	// Uncounted says why it is not known what is open at the Envoys of a fleet; empty if it is.
	Uncounted(fleet string) string
}

// Loads is what Envoys report of load.
type Loads interface {
	Watch(fleet, cluster string)
	Open(fleet, cluster string) (open map[netip.AddrPort]int, known bool)
	Use(fleet, cluster string) traffic.Use
}

// Config is what a Manager is made of.
type Config struct {
	Stage   *Stage
	Routing Routing
	Loads   Loads
	// Flush returns when the routing of what was read is published.
	Flush func(context.Context) error
	// Scaler changes apps; nil if Relay may not.
	Scaler sources.Scaler
	// Others adds what is open at the Envoys of other Relays to a State, by Task.Add; nil if there is no
	// other.
	Others func(ctx context.Context, s *State)
	Log    *slog.Logger
}

// Why a step is not made.
var (
	// ErrReadOnly is of a Relay that may not change apps.
	ErrReadOnly = errors.New("this Relay may not change apps: start it with --scaling")
	// ErrUnknown is of a group that no app names.
	ErrUnknown = errors.New("no app names this deployment group")
	// ErrBusy is of a group of which another step is being made.
	ErrBusy = errors.New("another step of this deployment group is being made")
	// ErrOther is of a group that is not any more as who asked has seen it.
	ErrOther = errors.New("the deployment group has changed since it was looked at")
)

const (
	// changeTimeout is how long the source may take for a change, and readTimeout how long until the change
	// is read again.
	changeTimeout, readTimeout = 30 * time.Second, 5 * time.Second
	// MaxEvents is how many events of a group are kept.
	MaxEvents = 50
)

// Event is a step that was made, or could not be.
type Event struct {
	At   time.Time
	Kind string
	Text string
}

// Manager shows deployment groups, and makes the steps that people ask for.
type Manager struct {
	config Config

	mu     sync.Mutex
	groups map[string]*memory
}

// memory is what is remembered of a group.
type memory struct {
	busy bool
	// acknowledged is since when all Envoys know that a task takes nothing new, as the group is routed.
	// What was so in another routing counts for nothing: the task may have taken some in between.
	acknowledged map[string]time.Time
	routed       *sources.App
	events       []Event
}

// New returns a Manager.
func New(config Config) *Manager {
	return &Manager{config: config, groups: make(map[string]*memory)}
}

// Groups returns the names of all groups.
func (m *Manager) Groups() []string { return m.config.Stage.Groups() }

// Events returns what was done about a group, the newest last.
func (m *Manager) Events(group string) []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.memory(group).events)
}

// Alone reports whether there is no other Relay: then Local says all.
func (m *Manager) Alone() bool { return m.config.Others == nil }

// ReadOnly reports whether Relay may not change apps.
func (m *Manager) ReadOnly() bool { return m.config.Scaler == nil }

// memory returns that of a group. The mutex is held.
func (m *Manager) memory(group string) *memory {
	of := m.groups[group]
	if of == nil {
		for known, memory := range m.groups {
			if !memory.busy && !m.config.Stage.has(known) {
				delete(m.groups, known)
			}
		}
		of = &memory{acknowledged: make(map[string]time.Time)}
		if m.config.Stage.has(group) {
			m.groups[group] = of
		}
	}
	return of
}

// Request is a step that people ask for.
type Request struct {
	Group string
	// Back asks for a step back.
	Back bool
	Options
	// If, unless it is empty, is the Token of the State on which people decided.
	If string
}

// Result is what became of a Request.
type Result struct {
	// Turned is set if the direction is another one than before, and Made are the changes.
	Turned bool
	Made   []Change
}

// Step makes one step. What was made before an error is in the Result.
func (m *Manager) Step(ctx context.Context, r Request) (Result, error) {
	var done Result
	if m.config.Scaler == nil {
		return done, ErrReadOnly
	}
	r.Group = m.config.Stage.Called(r.Group)
	before, ok := m.Look(ctx, r.Group)
	if !ok {
		return done, ErrUnknown
	}
	if !m.begin(r.Group) {
		return done, ErrBusy
	}
	defer m.end(r.Group)
	if before, ok = m.Look(ctx, r.Group); !ok {
		return done, ErrUnknown
	}
	if r.If != "" && r.If != before.Token() {
		return done, ErrOther
	}
	if done.Turned = before.Back != r.Back && len(before.Apps) > 1; done.Turned {
		m.config.Stage.Turn(r.Group, r.Back, time.Now())
		m.tell(r.Group, word(r.Back), directed(&before, r.Back))
		if err := m.config.Flush(ctx); err != nil {
			return done, fmt.Errorf("the new direction was not published yet: %w", err)
		}
		before, _ = m.Look(ctx, r.Group)
	}
	for _, c := range before.Next(r.Options).Changes {
		if err := m.change(ctx, r.Group, c); err != nil {
			return done, err
		}
		done.Made = append(done.Made, c)
	}
	return done, nil
}

// directed says where a group goes from now on.
func directed(s *State, back bool) string {
	turned := *s
	turned.Back = back
	to, from := turned.sides()
	names := make([]string, len(from))
	for i, app := range from {
		names[i] = app.ID
	}
	return fmt.Sprintf("people have %s take over from %s", to.ID, strings.Join(names, ", "))
}

func (m *Manager) begin(group string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := m.memory(group)
	if of.busy {
		return false
	}
	of.busy = true
	return true
}

func (m *Manager) end(group string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory(group).busy = false
}

// change makes one change, and waits for a while until it was read.
func (m *Manager) change(ctx context.Context, group string, c Change) error {
	limited, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	rescale := sources.Rescale{App: c.App, Version: c.Version, Instances: c.To, Kill: c.Kill, Exact: len(c.Kill) > 0, Suspended: c.To > c.From}
	done, err := m.config.Scaler.Rescale(limited, rescale)
	if err != nil {
		m.tell(group, "trouble", fmt.Sprintf("%s was to get %s in place of %d, since %s: %s", c.App, plural.Of(c.To, "instance"), c.From, c.Why, err))
		return err
	}
	text := fmt.Sprintf("%s gets %s in place of %d: %s", c.App, plural.Of(c.To, "instance"), c.From, c.Why)
	if len(c.Kill) > 0 {
		text += "; stopped: " + strings.Join(c.Kill, ", ")
	}
	m.tell(group, "changed", text)
	m.await(limited, group, c.App, c.Version, done.Version)
	return nil
}

// await waits until a new version of an app was read, or it has taken too long.
func (m *Manager) await(ctx context.Context, group, app, before, version string) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if version == before {
		return
	}
	for {
		members, _, changed := m.config.Stage.Members(group)
		for _, member := range members {
			if member.ID == app && member.Version != before {
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// tell logs an event, and keeps it.
func (m *Manager) tell(group, kind, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := m.memory(group)
	of.events = append(of.events, Event{At: time.Now(), Kind: kind, Text: text})
	of.events = of.events[max(0, len(of.events)-MaxEvents):]
	m.config.Log.Info("a step of a deployment group", "event", "deployment_step", "group", group, "kind", kind, "text", text)
}
