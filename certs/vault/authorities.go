package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/panics"
	"relay/internal/problem"
)

const (
	// authoritiesPath is where the authorities of clients are, beside "live" and "certificates".
	authoritiesPath = "authorities"
	// maxAuthorities bounds their entries, each of which is read at every poll.
	maxAuthorities = 100
	// deniedReads is how many reads pass before a list that Vault's policy denied is asked for
	// again: most policies are from before there were authorities, and each denial is in Vault's
	// audit log.
	deniedReads = 10

	certificatesField = "certificates"
	listsField        = "crl"
)

// authorities are what is known of the authorities in Vault. They belong to Serve's goroutine.
type authorities struct {
	logger *slog.Logger
	// sink has those of an earlier run, until it is told of a complete read.
	sink  certs.AuthoritySink
	names map[string]*knownAuthority
	// complete is true once there was a read that told the sink everything.
	complete bool
	// denied is why Vault lets nobody list them, and skipped how many reads went by since.
	denied  string
	skipped int
	// failure is why the latest read failed.
	failure string
	// left is how many entries there are beyond the limit.
	left int
}

// knownAuthority is one entry.
type knownAuthority struct {
	served  reading.ServedAuthority
	version int
	// failure is why the latest read gave nothing new.
	failure string
	// absent and older count the reads in a row that did not have the entry, or an older one of it.
	absent, older int
}

func newAuthorities(logger *slog.Logger, sink certs.AuthoritySink) *authorities {
	return &authorities{logger: logger, sink: sink, names: make(map[string]*knownAuthority)}
}

// read reads all authorities. An error means that something could not be read, and is to be asked for
// again soon; what is known stays.
func (a *authorities) read(ctx context.Context, c *client, asked bool) (changed bool, err error) {
	if a.denied != "" && !asked && a.skipped < deniedReads {
		a.skipped++
		return false, nil
	}
	changed, err = a.readAll(ctx, c)
	a.skipped, a.failure = 0, ""
	if err != nil && ctx.Err() == nil {
		a.failure = err.Error()
	}
	return changed, err
}

func (a *authorities) readAll(ctx context.Context, c *client) (changed bool, err error) {
	listed, err := c.list(ctx, authoritiesPath)
	before := a.denied
	a.denied = ""
	if isForbidden(err) {
		err = fmt.Errorf("%w: give Relay's policy the right to list %s, and to read what is in it", err, authoritiesPath)
	}
	// A right that was taken away since is no answer: who was let in would be locked out.
	if isForbidden(err) && len(a.names) == 0 && len(certs.Saved(a.sink, source)) == 0 {
		a.denied, a.complete = err.Error(), true
		if before == "" {
			a.logger.Info("Vault does not let authorities of clients be listed: only TCP services that ask for certificates need any", "event", "authorities_denied", "reason", a.denied)
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	listed = slices.DeleteFunc(listed, func(name string) bool { return strings.HasSuffix(name, "/") })
	slices.Sort(listed)
	a.left = max(0, len(listed)-maxAuthorities)
	listed = listed[:len(listed)-a.left]
	there := make(map[string]bool)
	var failed []error
	for _, name := range listed {
		present, news, err := a.readOne(ctx, c, name)
		there[name] = present || err != nil
		changed = changed || news
		if err != nil {
			failed = append(failed, err)
		}
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	changed = a.dropAbsent(there) || changed
	if err := errors.Join(failed...); err != nil {
		return changed, fmt.Errorf("%d of %d authorities could not be read: %w", len(failed), len(listed), err)
	}
	a.complete = true
	return changed, nil
}

// readOne reads an entry. present is false if it is deleted. Only what a further attempt may mend is
// an error.
func (a *authorities) readOne(ctx context.Context, c *client, name string) (present, changed bool, err error) {
	n := a.names[name]
	if n == nil {
		n = &knownAuthority{}
	}
	if err := checkAuthorityName(name); err != nil {
		n.failure = err.Error()
		a.names[name] = n
		return true, false, nil
	}
	entry, err := c.readKV(ctx, authoritiesPath+"/"+name, 0)
	switch {
	case isForbidden(err):
		changed = n.useSaved(certs.Saved(a.sink, source), name)
		n.failure, err = fmt.Sprintf("%v: give Relay's policy the right to read it", err), nil
	case err != nil:
		return false, false, err
	case entry.data == nil:
		return false, false, nil
	case entry.version < n.version && n.older < suspiciousReads:
		n.older++
		n.failure = fmt.Sprintf("it has version %d, but had %d before: %v", entry.version, n.version, errSuspicious)
	default:
		changed = entry.version != n.version
		n.version, n.older = entry.version, 0
		n.failure = errorText(panics.Catch(func() error { return n.update(name, entry) }))
	}
	a.names[name] = n
	return true, changed, err
}

// useSaved takes in what was saved of an entry of which nothing was read, as a Relay that runs keeps
// what it has. The others need not wait for this one.
func (n *knownAuthority) useSaved(saved []*certs.Authority, name string) (changed bool) {
	i := slices.IndexFunc(saved, func(s *certs.Authority) bool { return s.Name == name })
	if i < 0 || n.served.Current() != nil {
		return false
	}
	n.served.Update(reading.AuthorityText{Source: source, Name: name, Certificates: saved[i].Certificates, Revoked: saved[i].Revoked}, time.Now())
	return true
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// update takes in the fields of an entry.
func (n *knownAuthority) update(name string, entry kvEntry) error {
	text := reading.AuthorityText{Source: source, Name: name}
	for field, into := range map[string]*[]byte{certificatesField: &text.Certificates, listsField: &text.Revoked} {
		value, ok := entry.data[field]
		if !ok {
			continue
		}
		var content *string
		if json.Unmarshal(value, &content) != nil || content == nil {
			return fmt.Errorf("version %d: the field %q is not a string", entry.version, field)
		}
		*into = []byte(*content)
	}
	if text.Certificates == nil {
		return fmt.Errorf("version %d: the entry has no field %q", entry.version, certificatesField)
	}
	n.served.Update(text, time.Now())
	return nil
}

// dropAbsent drops the entries that enough reads did not have.
func (a *authorities) dropAbsent(there map[string]bool) (dropped bool) {
	enough := removalReads
	if len(there) == 0 {
		enough += suspiciousReads // as after a restore, or from a replica that is behind
	}
	for name, n := range a.names {
		if there[name] {
			n.absent = 0
		} else if n.absent++; n.absent >= enough || n.served.Current() == nil {
			delete(a.names, name)
			dropped = true
		}
	}
	return dropped
}

// nextChange is when time alone changes what is to be served; zero for never.
func (a *authorities) nextChange() (first time.Time) {
	for _, n := range a.names {
		if at := n.served.NextChange(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

// collect lists what is to be served, and all that is wrong.
func (a *authorities) collect(now time.Time) (all []*certs.Authority, problems []problem.Problem) {
	tell := func(subject, reason string) {
		problems = append(problems, problem.Problem{Subject: subject, Reason: reason})
	}
	for _, name := range slices.Sorted(maps.Keys(a.names)) {
		n := a.names[name]
		n.served.Advance(now)
		stays := "; nobody is let in by it"
		if current := n.served.Current(); current != nil {
			all = append(all, current)
			stays = "; what was read of it last stays in use"
		}
		subject := authoritiesPath + "/" + shortened(name)
		switch {
		case n.absent > 0:
			tell(subject, "it is gone; it is dropped when further reads agree")
		case n.failure != "":
			tell(subject, n.failure+stays)
		default:
			for _, reason := range n.served.Reasons() {
				tell(subject, reason)
			}
		}
	}
	if a.failure != "" {
		stays := "; what was read of them last stays in use"
		if !a.complete {
			stays = "; until they are read, nobody is let in but by saved ones"
		}
		tell(authoritiesPath, a.failure+stays)
	}
	if a.left > 0 {
		tell(authoritiesPath, fmt.Sprintf("%d more are not read: at most %d are", a.left, maxAuthorities))
	}
	return all, problems
}

// deniedProblem tells who needs an authority that nobody may list them. It is no matter for others.
func (a *authorities) deniedProblem() []problem.Problem {
	if a.denied == "" {
		return nil
	}
	return []problem.Problem{{Subject: authoritiesPath, Reason: a.denied, Severity: problem.Advice}}
}

// checkAuthorityName refuses names that would lead the request to another path.
func checkAuthorityName(name string) error {
	switch {
	case name == "" || name == "." || strings.Contains(name, "..") || strings.Contains(name, "/"):
		return errors.New("its name is not one path segment")
	case len(name) > maxName || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("its name is longer than %d bytes, or has control characters", maxName)
	}
	return nil
}
