package relay

import (
	"encoding/json"
	"fmt"
	"io"

	"relay/collator/envoy"
	"relay/collator/history"
	"relay/xds"
)

// newHistory returns what keeps the changes of the stores, and is told when all Envoys have one.
func newHistory(stores map[string]*xds.Store) *history.History {
	h := history.New(func(fleet string, revisions []uint64, limit int) map[uint64][]string {
		return stores[fleet].Waiting(revisions, limit)
	})
	for fleet, store := range stores {
		store.OnConverged(func(c xds.Converged) { h.Converged(fleet, c) })
	}
	return h
}

// History has what was published of late, and why.
func (r *Relay) History() *history.History { return r.history }

// AppDiff is what the last change of an app changed of a fleet's resources.
type AppDiff struct {
	Change history.Change `json:"change"`
	// Resources are as Envoy's admin endpoint shows them, without what is secret. Known is false
	// if they were too many, or are not kept any more.
	Resources []ResourceDiff `json:"resources"`
	Known     bool           `json:"known"`
}

// ResourceDiff is a resource before and after; absent where there is none, and of secrets.
type ResourceDiff struct {
	Type   xds.Type        `json:"type"`
	Name   string          `json:"name"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// Diff returns what the last changes of an app changed, one for each fleet, the newest first.
func (r *Relay) Diff(app string) ([]AppDiff, error) {
	var all []AppDiff
	for _, d := range r.history.Diffs(app) {
		diff := AppDiff{Change: d.Change, Known: d.Known, Resources: []ResourceDiff{}}
		for _, b := range d.Bodies {
			resource := ResourceDiff{Type: b.Type, Name: b.Name}
			for body, shown := range map[*[]byte]*json.RawMessage{&b.Before: &resource.Before, &b.After: &resource.After} {
				if *body == nil {
					continue
				}
				var err error
				if *shown, err = envoy.RedactedJSON(b.Type, *body); err != nil {
					return nil, err
				}
			}
			diff.Resources = append(diff.Resources, resource)
		}
		all = append(all, diff)
	}
	return all, nil
}

// WriteConfigDump writes what the Envoys of a fleet are offered, as their own admin endpoint would
// show it. An error is that of the writer, or says that there is no such fleet.
func (r *Relay) WriteConfigDump(w io.Writer, fleet string, filter envoy.DumpFilter) error {
	store := r.stores[fleet]
	if store == nil {
		return fmt.Errorf("there is no fleet %.100q", fleet)
	}
	return envoy.WriteConfigDump(w, store, filter)
}
