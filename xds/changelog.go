package xds

// changeLog remembers which ids changed at which revision. It goes back as far as it is cheaper
// to read than all entries.
type changeLog struct {
	records []logRecord
	// start is the revision up to which records were dropped.
	start uint64
}

type logRecord struct {
	revision uint64
	id       uint32
}

const minLog = 4096

func (l *changeLog) append(revision uint64, id uint32, entries int) {
	if limit := max(minLog, entries); len(l.records) >= limit {
		half := len(l.records) / 2
		l.start = l.records[half-1].revision
		l.records = append(l.records[:0:0], l.records[half:]...)
	}
	l.records = append(l.records, logRecord{revision, id})
}

// changedSince calls f with each id that changed after a revision, and the revision of the change.
// An id may come more than once. A reader that is behind the start of the log costs a look at all
// entries.
func (t *table) changedSince(revision uint64, f func(id uint32, revision uint64)) {
	if revision < t.log.start {
		for id := range t.entries {
			if e := &t.entries[id]; e.revision > revision && e.presence != unused {
				f(uint32(id), e.revision)
			}
		}
		return
	}
	records := t.log.records
	first := len(records)
	for first > 0 && records[first-1].revision > revision {
		first--
	}
	for _, r := range records[first:] {
		f(r.id, r.revision)
	}
}
