package relay

import (
	"encoding/json"
	"fmt"
	"io"

	"relay/admin/api"
	"relay/collator/envoy"
	"relay/collator/history"
	"relay/sources/labels"
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

// Diffs returns what the last change of an app changed, one for each fleet, the newest first.
// Resources are as Envoy's admin endpoint shows them, without what is secret.
func (r *Relay) Diffs(app string) ([]api.Diff, error) {
	var all []api.Diff
	for _, d := range r.history.Diffs(app) {
		diff := api.Diff{Change: changeOf(d.Change), Known: d.Known}
		for _, b := range d.Bodies {
			before, err := shown(b.Type, b.Before)
			if err != nil {
				return nil, err
			}
			after, err := shown(b.Type, b.After)
			if err != nil {
				return nil, err
			}
			diff.Resources = append(diff.Resources, api.ResourceDiff{Type: b.Type.String(), Name: b.Name, Before: before, After: after})
		}
		all = append(all, diff)
	}
	return all, nil
}

func shown(t xds.Type, body []byte) (json.RawMessage, error) {
	if body == nil {
		return nil, nil
	}
	return envoy.RedactedJSON(t, body)
}

// InEnvoy says by which field or filter of Envoy a label does what it asks for.
func (r *Relay) InEnvoy(label string, ports []string) string { return labels.InEnvoy(label, ports) }

// Outlines says in short what each of some resources of a fleet has Envoys do for an app, of which these are
// the clusters and domains.
func (r *Relay) Outlines(fleet string, resources []xds.Key, names []string) [][]string {
	outlines := make([][]string, len(resources))
	store := r.stores[fleet]
	if store == nil {
		return outlines
	}
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	mine := func(name string) bool { return known[name] }
	for i, body := range store.Bodies(resources) {
		if body != nil {
			outlines[i] = envoy.Outline(resources[i].Type, body, mine)
		}
	}
	return outlines
}

// WriteDump writes what the Envoys of a fleet are offered, as their own admin endpoint would
// show it: the resources of a type, or of all, and of a name, or of all. An error is that of the
// writer, or says that there is no such fleet.
func (r *Relay) WriteDump(w io.Writer, fleet, typeName, name string) error {
	store := r.stores[fleet]
	if store == nil {
		return fmt.Errorf("there is no fleet %.100q", fleet)
	}
	var filter envoy.DumpFilter
	for _, t := range xds.Types() {
		if t.String() == typeName {
			filter.Types = []xds.Type{t}
		}
	}
	if name != "" {
		filter.Match = func(one string) bool { return one == name }
	}
	return envoy.WriteConfigDump(w, store, filter)
}
