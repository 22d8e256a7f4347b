package vault

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/panics"
)

// removalReads is how many reads in a row have to agree that a name has left
// "live": one may come from a replica that is behind.
const removalReads = 2

// store is what is known of the names in "live". It does no I/O.
type store struct {
	defaultName string
	entries     map[string]*entry
	parse       func(map[string]json.RawMessage) (*certs.Certificate, []string, error)
}

func newStore(defaultName string) *store {
	return &store{defaultName: defaultName, entries: make(map[string]*entry), parse: parseCertificate}
}

// entry is one name.
type entry struct {
	reading.Entry
	// live is what the certificate was read for, if settled is true; then it
	// is not read again before "live" changes.
	live    liveEntry
	settled bool
	// notes, failure and gone are the outcome of the latest attempt.
	notes   []string
	failure string
	gone    bool
	// badLive is why the value in "live" cannot be used.
	badLive string
	// absent counts the reads in a row that did not have the name.
	absent int
}

// fetched is the outcome of reading one certificate.
type fetched struct {
	name string
	live liveEntry
	got  kvEntry
	// substitute is true when the version that live names is gone and the
	// newest one was read.
	substitute bool
	err        error
}

// behind says whether "live" names a version that was not stored yet.
func (f fetched) behind() bool { return f.substitute && f.got.version < f.live.Version }

// update takes in a read of "live" and returns the names to read. removeNow
// drops absent names at once.
func (s *store) update(good map[string]liveEntry, bad map[string]string, removeNow bool) map[string]liveEntry {
	wanted := make(map[string]liveEntry)
	for name, live := range good {
		e := s.entry(name)
		e.absent, e.badLive = 0, ""
		if !e.settled || !e.live.same(live) {
			wanted[name] = live
		}
	}
	for name, reason := range bad {
		e := s.entry(name)
		e.absent, e.badLive = 0, reason
	}
	for name, e := range s.entries {
		_, isGood := good[name]
		_, isBad := bad[name]
		if isGood || isBad {
			continue
		}
		if e.absent++; e.absent >= removalReads || removeNow {
			delete(s.entries, name)
		}
	}
	return wanted
}

func (s *store) entry(name string) *entry {
	e := s.entries[name]
	if e == nil {
		e = &entry{}
		s.entries[name] = e
	}
	return e
}

// apply takes in one certificate, or why there is none, which it returns if that
// is new. Whatever is wrong, the last good certificate stays.
func (s *store) apply(f fetched, now time.Time) error {
	e := s.entry(f.name)
	before := e.failure
	fails := func(err error, text string) error {
		if e.failure = text; text == before {
			return nil
		}
		return err
	}
	e.live, e.settled, e.gone, e.failure, e.notes = f.live, false, false, "", nil
	switch {
	case f.err != nil:
		return fails(f.err, f.err.Error())
	case f.got.data == nil:
		e.gone = true
		return nil
	}
	// A stored version never changes, so that a bad one stays bad. One that is
	// not there yet, as on a replica that is behind, is asked for again.
	e.settled = !f.behind()
	var (
		c     *certs.Certificate
		notes []string
	)
	if err := panics.Catch(func() (err error) {
		c, notes, err = s.parse(f.got.data)
		return err
	}); err != nil {
		return fails(err, fmt.Sprintf("version %d: %v", f.got.version, err))
	}
	c.Source, c.Name = source, f.name
	if s.defaultName != "" {
		c.Default = f.name == s.defaultName
	}
	e.notes = append(notes, crossCheck(f.name, c, f.live)...)
	switch {
	case f.behind():
		e.notes = append(e.notes, fmt.Sprintf("version %d, which live names, is not there yet; version %d is used", f.live.Version, f.got.version))
	case f.substitute:
		e.notes = append(e.notes, fmt.Sprintf("version %d, which live names, is gone; version %d is used", f.live.Version, f.got.version))
	}
	e.Offer(c, now)
	return nil
}

// due is when time alone changes what is to be served; zero for never.
func (s *store) due(now time.Time) time.Time {
	return reading.Soonest(func(yield func(*reading.Entry) bool) {
		for _, e := range s.entries {
			if !yield(&e.Entry) {
				return
			}
		}
	}, now)
}

// empty says whether nothing was ever found.
func (s *store) empty() bool { return len(s.entries) == 0 }

// collect lists what is to be served, and all that is wrong.
func (s *store) collect(now time.Time) (certificates []*certs.Certificate, problems []certs.Problem) {
	for _, name := range slices.Sorted(maps.Keys(s.entries)) {
		e := s.entries[name]
		e.Advance(now)
		c := e.Current()
		if c != nil && e.gone && c.ValidAt(now) == certs.Expired {
			c = nil
		}
		if c != nil && (len(c.ServerNames) > 0 || c.Default) {
			certificates = append(certificates, c)
		}
		for _, reason := range e.reasons(c, now) {
			problems = append(problems, certs.Problem{Name: shortened(name), Reason: reason})
		}
	}
	return certificates, problems
}

// shortened keeps messages about names that nobody meant short.
func shortened(name string) string {
	if len(name) <= maxName {
		return name
	}
	return strings.ToValidUTF8(name[:maxName], "") + "…"
}

// reasons are the problems of an entry of which c is served.
func (e *entry) reasons(c *certs.Certificate, now time.Time) []string {
	kept := "; nothing is served for it"
	if c != nil {
		kept = "; its last good certificate stays in use until " + c.NotAfter.UTC().Format(time.DateOnly)
	}
	var reasons []string
	switch {
	case e.badLive != "":
		reasons = append(reasons, e.badLive+kept)
	case e.gone:
		reasons = append(reasons, "live names the certificate, but its entry is deleted or was never written"+kept)
	case e.failure != "":
		reasons = append(reasons, e.failure+kept)
	}
	reasons = append(reasons, e.notes...)
	if held := e.Held(now); held != "" {
		reasons = append(reasons, held)
	}
	return reasons
}
