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
	"relay/internal/problem"
)

// removalReads is how many reads in a row have to agree that a name has left
// "live": one may come from a replica that is behind.
const removalReads = 2

// known is what is known of the names in "live". It does no I/O.
type known struct {
	defaultName string
	names       map[string]*knownName
	parse       func(map[string]json.RawMessage) (*certs.Certificate, []string, error)
}

func newKnown(defaultName string) *known {
	return &known{defaultName: defaultName, names: make(map[string]*knownName), parse: parseCertificate}
}

// knownName is one name, and the certificate that is served for it.
type knownName struct {
	reading.Served
	// live is what "live" said when the certificate was read. If final is true, the
	// certificate is not read again before "live" says something else.
	live  liveEntry
	final bool
	// notes, failure and gone are the outcome of the latest attempt.
	notes   []string
	failure string
	gone    bool
	// invalidLive is why the value in "live" cannot be used.
	invalidLive string
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
func (k *known) update(good map[string]liveEntry, bad map[string]string, removeNow bool) map[string]liveEntry {
	wanted := make(map[string]liveEntry)
	for name, live := range good {
		n := k.name(name)
		n.absent, n.invalidLive = 0, ""
		if !n.final || !n.live.same(live) {
			wanted[name] = live
		}
	}
	for name, reason := range bad {
		n := k.name(name)
		n.absent, n.invalidLive = 0, reason
	}
	for name, n := range k.names {
		_, isGood := good[name]
		_, isBad := bad[name]
		if isGood || isBad {
			continue
		}
		if n.absent++; n.absent >= removalReads || removeNow {
			delete(k.names, name)
		}
	}
	return wanted
}

func (k *known) name(name string) *knownName {
	n := k.names[name]
	if n == nil {
		n = &knownName{}
		k.names[name] = n
	}
	return n
}

// apply takes in one certificate, or why there is none, which it returns if that
// is new. Whatever is wrong, the last good certificate stays.
func (k *known) apply(f fetched, now time.Time) error {
	n := k.name(f.name)
	before := n.failure
	fails := func(err error, text string) error {
		if n.failure = text; text == before {
			return nil
		}
		return err
	}
	n.live, n.final, n.gone, n.failure, n.notes = f.live, false, false, "", nil
	switch {
	case f.err != nil:
		return fails(f.err, f.err.Error())
	case f.got.data == nil:
		n.gone = true
		return nil
	}
	// A stored version never changes, so that a bad one stays bad. One that is
	// not there yet, as on a replica that is behind, is asked for again.
	n.final = !f.behind()
	var (
		c     *certs.Certificate
		notes []string
	)
	if err := panics.Catch(func() (err error) {
		c, notes, err = k.parse(f.got.data)
		return err
	}); err != nil {
		return fails(err, fmt.Sprintf("version %d: %v", f.got.version, err))
	}
	c.Source, c.Name = source, f.name
	if k.defaultName != "" {
		c.Default = f.name == k.defaultName
	}
	n.notes = append(notes, crossCheck(f.name, c, f.live)...)
	switch {
	case f.behind():
		n.notes = append(n.notes, fmt.Sprintf("version %d, which live names, is not there yet; version %d is used", f.live.Version, f.got.version))
	case f.substitute:
		n.notes = append(n.notes, fmt.Sprintf("version %d, which live names, is gone; version %d is used", f.live.Version, f.got.version))
	}
	n.Update(c, now)
	return nil
}

// nextChange is when time alone changes what is to be served; zero for never.
func (k *known) nextChange(now time.Time) time.Time {
	return reading.FirstChange(func(yield func(*reading.Served) bool) {
		for _, n := range k.names {
			if !yield(&n.Served) {
				return
			}
		}
	}, now)
}

// empty says whether nothing was ever found.
func (k *known) empty() bool { return len(k.names) == 0 }

// collect lists what is to be served, and all that is wrong.
func (k *known) collect(now time.Time) (certificates []*certs.Certificate, problems []problem.Problem) {
	for _, name := range slices.Sorted(maps.Keys(k.names)) {
		n := k.names[name]
		n.Advance(now)
		c := n.Current()
		if c != nil && n.gone && c.ValidAt(now) == certs.Expired {
			c = nil
		}
		if c != nil && (len(c.ServerNames) > 0 || c.Default) {
			certificates = append(certificates, c)
		}
		for _, reason := range n.reasons(c, now) {
			problems = append(problems, problem.Problem{Subject: shortened(name), Reason: reason})
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

// reasons are the problems of a name for which c is served.
func (n *knownName) reasons(c *certs.Certificate, now time.Time) []string {
	stays := "; nothing is served for it"
	if c != nil {
		stays = "; its last good certificate stays in use until " + c.NotAfter.UTC().Format(time.DateOnly)
	}
	var reasons []string
	switch {
	case n.invalidLive != "":
		reasons = append(reasons, n.invalidLive+stays)
	case n.gone:
		reasons = append(reasons, "live names the certificate, but its entry is deleted or was never written"+stays)
	case n.failure != "":
		reasons = append(reasons, n.failure+stays)
	}
	reasons = append(reasons, n.notes...)
	if reason := n.WaitingFor(now); reason != "" {
		reasons = append(reasons, reason)
	}
	return reasons
}
