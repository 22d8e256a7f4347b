package history

import "slices"

// Diff is what the last change for an app changed of a fleet's resources.
type Diff struct {
	Change Change
	// Bodies are the resources that it changed for the app. They have secrets: whoever shows
	// them takes those out.
	Bodies []Body
	// Known is false if the resources were too many, or are not kept any more.
	Known bool
}

// Diffs returns what the last changes for an app changed, one for each fleet, the newest first.
func (h *History) Diffs(app string) []Diff {
	h.mu.RLock()
	var all []Diff
	seen := make(map[string]bool)
	if l := h.apps[app]; l != nil {
		for _, p := range slices.Backward(l.parts) {
			if e := p.entry; !seen[e.Fleet] {
				seen[e.Fleet] = true
				d := Diff{Change: e.change(), Known: e.bodies != nil}
				d.Change.Cause, d.Change.What = p.cause, p.what
				for _, b := range e.bodies {
					if len(b.Apps) == 0 || slices.Contains(b.Apps, app) {
						d.Bodies = append(d.Bodies, b)
					}
				}
				all = append(all, d)
			}
		}
	}
	h.mu.RUnlock()
	for i := range all {
		all[i].Change = h.withWaiting([]Change{all[i].Change})[0]
	}
	return all
}

// addBodies keeps what a change changed, if it is for an app.
func (h *History) addBodies(e *entry, bodies []Body) {
	if e.newest == 0 || len(bodies) == 0 {
		return
	}
	for _, b := range bodies {
		e.bodyBytes += partOverhead + len(b.Name) + len(b.Before) + len(b.After)
	}
	e.bodies = bodies
	h.bodyBytes += e.bodyBytes
	h.withBodies = append(h.withBodies, e)
	for h.bodyBytes > maxBodyBytes {
		h.dropBodies(h.withBodies[0])
		h.withBodies = h.withBodies[1:]
	}
	if len(h.withBodies) > 4*maxChanges {
		h.withBodies = slices.DeleteFunc(h.withBodies, func(e *entry) bool { return e.bodies == nil })
	}
}

// notNewest notes that a change is the last one of one app less.
func (h *History) notNewest(e *entry) {
	if e.newest--; e.newest == 0 {
		h.dropBodies(e)
	}
}

func (h *History) dropBodies(e *entry) {
	h.bodyBytes -= e.bodyBytes
	e.bodies, e.bodyBytes = nil, 0
}
