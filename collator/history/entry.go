package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// entry is a change that is kept.
type entry struct {
	Change
	// parts are those that are kept for it, and those that are not any more.
	parts []*part
	// kept counts the parts in logs. isLast tells that it is one of the last changes, and
	// isOpen that not all Envoys have it.
	kept           int
	isLast, isOpen bool
	// size is what it takes, about, beside the words of parts, and bodies.
	size int
	// bodies are dropped when it is the last change of no app any more: those are newest.
	bodies    []Body
	bodyBytes int
	newest    int
}

// part is what a change is for one app or certificate.
type part struct {
	entry *entry
	name  string
	cause string
	what  []string
	size  int
}

// log has the changes of one app or certificate, the oldest first.
type log struct {
	parts []*part
	last  time.Time
	gone  bool
}

const (
	entryOverhead = 400
	partOverhead  = 200
	// maxWhat is how many lines a change has.
	maxWhat = 12
	// maxText bounds a cause, a line, and what an Envoy said, in bytes.
	maxText = 240
)

// clip shortens a text that others wrote.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// newEntry makes an entry without parts and bodies.
func newEntry(id uint64, p Publication) *entry {
	e := &entry{isLast: true, isOpen: true, Change: Change{
		ID: id, Time: p.Time, Fleet: p.Fleet, Revision: p.Revision, Resources: p.Resources,
		Cause: clip(p.Cause), AppCount: len(p.Apps), CertificateCount: len(p.Certificates),
		Apps: names(p.Apps), Certificates: names(p.Certificates),
	}}
	parts := slices.Concat(p.Apps, p.Certificates)
	e.What = whatOf(parts)
	e.Cause = causeOf(e.Cause, parts)
	e.size = entryOverhead + len(e.Cause) + bytesOf(e.What) + bytesOf(e.Apps) + bytesOf(e.Certificates)
	return e
}

func names(parts []Part) []string {
	all := []string{}
	for _, p := range parts[:min(len(parts), maxNamed)] {
		all = append(all, clip(p.Name))
	}
	return all
}

// causeOf is the cause of all parts, or the first one and how many others there are.
func causeOf(own string, parts []Part) string {
	seen := make(map[string]bool)
	first := own
	if own != "" {
		seen[own] = true
	}
	for _, p := range parts {
		if p.Cause != "" && !seen[p.Cause] {
			seen[p.Cause] = true
			if first == "" {
				first = p.Cause
			}
		}
	}
	if others := len(seen) - 1; others > 0 {
		return clip(first) + fmt.Sprintf(", and %d more", others)
	}
	return clip(first)
}

// whatOf is the first lines of all parts. Beside others, each begins with whom it is about.
func whatOf(parts []Part) []string {
	lines, over := []string{}, 0
	for _, p := range parts {
		for _, line := range p.What {
			if len(lines) == maxWhat {
				over++
				continue
			}
			if len(parts) > 1 {
				line = p.Name + ": " + line
			}
			lines = append(lines, clip(line))
		}
	}
	if over > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", over))
	}
	return lines
}

func bytesOf(texts []string) int {
	n := 16 * len(texts)
	for _, text := range texts {
		n += len(text)
	}
	return n
}

// change is a copy for readers: what is added later does not show in it.
func (e *entry) change() Change {
	c := e.Change
	c.Rejected = slices.Clone(e.Rejected)
	return c
}

// addPart adds a change to the log of an app or certificate.
func (h *History) addPart(logs map[string]*log, e *entry, p Part) {
	l := logs[p.Name]
	if l == nil {
		l = &log{}
		logs[p.Name] = l
	}
	kept := &part{entry: e, name: p.Name, cause: p.Cause, what: p.What}
	if kept.cause == "" {
		kept.cause = e.Cause
	}
	kept.size = bytesOf(p.What)
	if p.Cause != e.Cause {
		kept.size += len(p.Cause)
	}
	h.textBytes += kept.size
	h.grow(e, partOverhead+len(p.Name))
	if before := l.newestOf(e.Fleet); before != nil {
		h.notNewest(before.entry)
	}
	l.parts = append(l.parts, kept)
	l.last, l.gone = e.Time, p.Gone
	e.parts = append(e.parts, kept)
	e.kept++
	e.newest++
	if len(l.parts) > maxOfOne {
		h.dropFirst(logs, l)
	}
}

// newestOf returns the last change for a fleet.
func (l *log) newestOf(fleet string) *part {
	for _, p := range slices.Backward(l.parts) {
		if p.entry.Fleet == fleet {
			return p
		}
	}
	return nil
}

// dropFirst drops the oldest change of a log.
func (h *History) dropFirst(logs map[string]*log, l *log) {
	p := l.parts[0]
	if l.newestOf(p.entry.Fleet) == p {
		h.notNewest(p.entry)
	}
	l.parts[0] = nil
	if l.parts = l.parts[1:]; len(l.parts) == 0 && l.gone {
		delete(logs, p.name)
	}
	h.textBytes -= p.size
	p.cause, p.what = "", nil
	p.entry.kept--
	h.release(p.entry)
}

// leaveLast notes that a change is not one of the last any more.
func (h *History) leaveLast(e *entry) {
	e.isLast = false
	if f := h.fleets[e.Fleet]; f.open[e.Revision] == e {
		delete(f.open, e.Revision) // it is not awaited any more
	}
	h.release(e)
}

// release gives back what a change took that nothing leads to.
func (h *History) release(e *entry) {
	if e.isLast || e.kept > 0 {
		return
	}
	h.textBytes -= e.size
	e.size, e.parts = 0, nil
	h.dropBodies(e)
}

// grow notes that a change takes more.
func (h *History) grow(e *entry, bytes int) {
	e.size += bytes
	h.textBytes += bytes
}

// shrink drops the oldest changes while all take too much.
func (h *History) shrink() {
	for h.textBytes > maxTextBytes && len(h.live) > 1 {
		e := h.live[0]
		h.live[0], h.live = nil, h.live[1:]
		h.drop(e)
	}
	// Those that nothing leads to any more are swept when they are most.
	if len(h.live) > 4*maxChanges && len(h.live) > 2*h.used() {
		h.live = slices.DeleteFunc(h.live, func(e *entry) bool { return !e.isLast && e.kept == 0 })
	}
}

// used counts the changes that are kept.
func (h *History) used() (n int) {
	for _, e := range h.live {
		if e.isLast || e.kept > 0 {
			n++
		}
	}
	return n
}

// drop drops a change and its parts. There is no older one.
func (h *History) drop(e *entry) {
	for _, p := range e.parts {
		for _, logs := range []map[string]*log{h.apps, h.certificates} {
			if l := logs[p.name]; l != nil && len(l.parts) > 0 && l.parts[0] == p {
				h.dropFirst(logs, l)
			}
		}
	}
	if e.isLast {
		h.last = h.last[1:]
		h.leaveLast(e)
	}
}
