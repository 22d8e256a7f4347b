package collatortest

import (
	"fmt"
	"slices"
	"sync"

	"relay/xds"
)

// Recorder is a Publisher that keeps what it is given, as a store would.
type Recorder struct {
	mu sync.Mutex
	// Changes are all since the last Touched.
	Changes []xds.Change
	// Versions are those of the resources that are published.
	Versions map[xds.Key]string
	Withheld map[xds.Key]bool
	// Resolve is the last one.
	Resolve xds.Resolver
}

// NewRecorder returns one that was given nothing.
func NewRecorder() *Recorder {
	return &Recorder{Versions: make(map[xds.Key]string), Withheld: make(map[xds.Key]bool)}
}

// Apply implements collator.Publisher.
func (r *Recorder) Apply(c xds.Change) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range c.Set {
		r.Versions[resource.Key] = resource.Version
		delete(r.Withheld, resource.Key)
	}
	for _, key := range c.Remove {
		delete(r.Versions, key)
		delete(r.Withheld, key)
	}
	for _, key := range c.Withhold {
		r.Withheld[key] = true
	}
	if c.Resolve != nil {
		r.Resolve = c.Resolve
	}
	r.Changes = append(r.Changes, c)
	return uint64(len(r.Changes))
}

// Touched returns the keys of the changes since the last call, as text.
func (r *Recorder) Touched() []string {
	var keys []string
	for _, change := range r.Changes {
		for _, resource := range change.Set {
			keys = append(keys, "set "+quoted(resource.Key))
		}
		for _, key := range change.Remove {
			keys = append(keys, "remove "+quoted(key))
		}
		for _, key := range change.Withhold {
			keys = append(keys, "withhold "+quoted(key))
		}
	}
	r.Changes = nil
	return keys
}

// Names returns the resources of a type that the Recorder holds.
func (r *Recorder) Names(t xds.Type) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for key := range r.Versions {
		if key.Type == t {
			names = append(names, key.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Discard is a Publisher that keeps nothing.
type Discard struct{}

// Apply implements collator.Publisher.
func (Discard) Apply(xds.Change) uint64 { return 0 }

func quoted(k xds.Key) string { return fmt.Sprintf("%s %q", k.Type, k.Name) }
