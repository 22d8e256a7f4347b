package dir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/files"
	"relay/internal/panics"
	"relay/internal/problem"
)

// removalDelay is the least time between the two scans that have to agree that
// a file is gone.
const removalDelay = time.Second

// scanner reads all files and keeps the last good content of each.
type scanner struct {
	layout      *layout
	defaultPath string
	retryDelay  time.Duration
	files       map[string]*file
	authorities map[string]*clientAuthority
	passedOver  []passedOver // as of the last scan
	parse       func([]byte) (*certs.Certificate, []string, error)
	logger      *slog.Logger
	// sink has the authorities of an earlier run; nil if nobody has.
	sink certs.AuthoritySink
}

// file is what is known of one certificate file.
type file struct {
	served reading.Served
	// seen is the hash of the content that notes and invalid speak of.
	seen    [sha256.Size]byte
	notes   []string
	invalid error

	// unread is why the latest read gave no content.
	unread       error
	warning      string
	missingSince time.Time
}

// result is what one complete scan gave.
type result struct {
	certificates []*certs.Certificate
	problems     []problem.Problem
	// authorities are those of clients.
	authorities       []*certs.Authority
	authorityProblems []problem.Problem
	// again asks for another scan soon: a file is gone or not finished.
	again bool
}

// scan reads everything once, and what was unfinished a second time after the
// retry delay. An error means that nothing may be concluded.
func (s *scanner) scan(ctx context.Context) (result, error) {
	found, authorities, err := s.list()
	if err != nil {
		return result{}, err
	}
	var unfinished []candidate
	seen := make(map[string]bool, len(found.candidates))
	for _, c := range found.candidates {
		seen[c.path] = true
		if !s.read(c, false) {
			unfinished = append(unfinished, c)
		}
	}
	unfinishedAuthorities := s.readAuthorities(authorities, false)
	// A certificate may have come just before its key.
	incomplete := len(found.passedOver) > 0 && !slices.Equal(found.passedOver, s.passedOver)
	if len(unfinished)+len(unfinishedAuthorities) > 0 || incomplete {
		select {
		case <-ctx.Done():
			return result{}, ctx.Err()
		case <-time.After(s.retryDelay):
		}
	}
	if incomplete {
		if found, authorities, err = s.list(); err != nil {
			return result{}, err
		}
		unfinishedAuthorities = authorities
		for _, c := range found.candidates {
			if !seen[c.path] {
				unfinished = append(unfinished, c)
			}
		}
	}
	for _, c := range unfinished {
		s.read(c, true)
	}
	if err := s.allUnread(found.candidates); err != nil {
		return result{}, err
	}
	s.readAuthorities(unfinishedAuthorities, true)
	now := time.Now()
	s.passedOver = found.passedOver
	gone := s.dropGone(found.candidates, now)
	goneAuthorities := s.dropGoneAuthorities(authorities, now)
	return s.collect(now, gone || goneAuthorities), nil
}

// list lists all paths, certificates and authorities apart.
func (s *scanner) list() (listing, authorityFiles, error) {
	found, err := s.layout.list()
	if err != nil {
		return listing{}, nil, err
	}
	certificates, authorities := s.sortOut(found)
	return certificates, authorities, nil
}

// read takes in one file and says whether there is a final result. Anything
// wrong gets a second chance: the file may be half written.
func (s *scanner) read(c candidate, final bool) bool {
	f := s.files[c.path]
	if f == nil {
		f = &file{}
		s.files[c.path] = f
	}
	content, warning, err := readBundle(c.parts)
	f.unread = err
	if err != nil {
		return final
	}
	f.warning = warning
	hash := sha256.Sum256(content)
	if hash == f.seen {
		return true
	}
	var (
		certificate *certs.Certificate
		notes       []string
	)
	err = panics.Catch(func() (err error) {
		certificate, notes, err = s.parse(content)
		return err
	})
	if err != nil && !final {
		return false
	}
	panics.Log(s.logger, err, "file", c.path)
	f.seen, f.notes, f.invalid = hash, notes, err
	if err == nil {
		s.label(certificate, c.path)
		f.served.Update(certificate, time.Now())
	}
	return true
}

// label adds what the content cannot say.
func (s *scanner) label(c *certs.Certificate, path string) {
	c.Source, c.Name = source, path
	if s.defaultPath != "" {
		c.Default = path == s.defaultPath || filepath.Join(path, chainFile) == s.defaultPath
		return
	}
	c.Default = c.Default || filepath.Base(path) == defaultFile
}

// allUnread is the error of a store in which there are files but none could be
// read: a failure of the store, not of its entries.
func (s *scanner) allUnread(candidates []candidate) error {
	var last error
	for _, c := range candidates {
		err := s.files[c.path].unread
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		last = err
	}
	if last == nil {
		return nil
	}
	return fmt.Errorf("none of the %d certificate files could be read, the last one: %w", len(candidates), last)
}

// dropGone drops the files that two scans found gone, and reports whether some
// were found gone for the first time.
func (s *scanner) dropGone(candidates []candidate, now time.Time) (again bool) {
	listed := make(map[string]bool, len(candidates))
	for _, c := range candidates {
		listed[c.path] = true
	}
	for path, f := range s.files {
		missing := !listed[path] || errors.Is(f.unread, fs.ErrNotExist)
		switch {
		case !missing:
			f.missingSince = time.Time{}
		case f.served.Current() == nil && !listed[path]:
			delete(s.files, path)
		case f.served.Current() == nil:
			// A configured file that does not exist stays a problem.
		case f.missingSince.IsZero():
			f.missingSince = now
			again = true
		case now.Sub(f.missingSince) < removalDelay:
			again = true
		case listed[path]:
			*f = file{unread: f.unread}
		default:
			delete(s.files, path)
		}
	}
	return again
}

// nextChange is when time alone changes what is to be served; zero for never.
func (s *scanner) nextChange(now time.Time) time.Time {
	first := reading.FirstChange(func(yield func(*reading.Served) bool) {
		for _, f := range s.files {
			if !yield(&f.served) {
				return
			}
		}
	}, now)
	for _, f := range s.authorities {
		if at := f.served.NextChange(); !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (s *scanner) collect(now time.Time, again bool) result {
	r := result{again: again}
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		f := s.files[path]
		f.served.Advance(now)
		if errors.Is(f.unread, files.ErrChanging) {
			r.again = true
		}
		if c := f.served.Current(); c != nil && (len(c.ServerNames) > 0 || c.Default) {
			r.certificates = append(r.certificates, c)
		}
		for _, reason := range f.reasons(now) {
			r.problems = append(r.problems, problem.Problem{Subject: path, Reason: reason})
		}
		if f.warning != "" {
			r.problems = append(r.problems, problem.Problem{Subject: path, Reason: f.warning, Severity: problem.Advice, Action: "let only Relay's user and group read it"})
		}
	}
	r.problems = append(r.problems, passedOverProblems(s.passedOver)...)
	s.collectAuthorities(&r, now)
	return r
}

// reasons are the problems of one file.
func (f *file) reasons(now time.Time) []string {
	inUse := ""
	if f.served.Current() != nil {
		inUse = "; its last good content stays in use"
	}
	var reasons []string
	switch {
	case !f.missingSince.IsZero():
		reasons = append(reasons, "the file is gone; its certificate is dropped when the next scan agrees")
	case f.unread != nil:
		reasons = append(reasons, f.unread.Error()+inUse)
	case f.invalid != nil:
		reasons = append(reasons, f.invalid.Error()+inUse)
	}
	reasons = append(reasons, f.notes...)
	if reason := f.served.WaitingFor(now); reason != "" {
		reasons = append(reasons, reason)
	}
	return reasons
}
