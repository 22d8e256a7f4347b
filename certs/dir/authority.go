package dir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relay/certs"
	"relay/certs/internal/reading"
	"relay/internal/files"
	"relay/internal/panics"
	"relay/internal/problem"
)

// The files of an authority of clients, and of its revocation lists, are named so. But a file with a
// private key is a certificate, whatever its name: marathon-acme writes that of example.ca
// to example.ca.pem.
const (
	authoritySuffix = ".ca.pem"
	listSuffix      = ".crl.pem"
)

// clientAuthority is what is known of an authority.
type clientAuthority struct {
	// name is what apps call it.
	name   string
	served reading.ServedAuthority
	// unread is why the latest read gave no content.
	unread       error
	missingSince time.Time
}

// authorityFiles are the authorities among the candidates: the path of each, and that of its lists,
// which is empty if there is none.
type authorityFiles map[string]string

// sortOut parts authorities and lists from certificates.
func (s *scanner) sortOut(found listing) (certificates listing, authorities authorityFiles) {
	authorities = make(authorityFiles)
	lists := make(map[string]bool)
	certificates.passedOver = found.passedOver
	for _, c := range found.candidates {
		isAuthority, isList := strings.HasSuffix(c.path, authoritySuffix), strings.HasSuffix(c.path, listSuffix)
		switch {
		case !isAuthority && !isList:
			certificates.candidates = append(certificates.candidates, c)
		case s.isCertificate(c) && c.beside:
			certificates.passedOver = append(certificates.passedOver, passedOver{c.path, besideReason})
		case s.isCertificate(c):
			certificates.candidates = append(certificates.candidates, c)
		case isList:
			lists[c.path] = true
		default:
			authorities[c.path] = ""
		}
	}
	for path := range authorities {
		list := strings.TrimSuffix(path, authoritySuffix) + listSuffix
		if lists[list] || len(existing([]string{list})) > 0 {
			authorities[path] = list
			delete(lists, list)
		}
	}
	for path := range lists {
		reason := "its authority is not beside it: " + strings.TrimSuffix(filepath.Base(path), listSuffix) + authoritySuffix
		certificates.passedOver = append(certificates.passedOver, passedOver{path, reason})
	}
	slices.SortFunc(certificates.passedOver, func(a, b passedOver) int { return strings.Compare(a.path, b.path) })
	return certificates, authorities
}

// isCertificate tells a certificate from an authority or a list: it has a private key. What a file
// was once it stays until it is gone, so that half of it is not taken for the other.
func (s *scanner) isCertificate(c candidate) bool {
	if f := s.files[c.path]; f != nil && f.served.Current() != nil {
		return true
	}
	if f := s.authorities[c.path]; f != nil && f.served.Current() != nil {
		return false
	}
	if len(c.parts) > 1 {
		return true
	}
	content, _, err := files.ReadWhole(c.path, certs.MaxRevocationText)
	return err == nil && bytes.Contains(content, []byte("PRIVATE KEY-----"))
}

// readAuthorities takes in all authorities, and returns those for which there is no final result.
func (s *scanner) readAuthorities(all authorityFiles, final bool) (unfinished authorityFiles) {
	unfinished = make(authorityFiles)
	for path, list := range all {
		f := s.authorities[path]
		if f == nil {
			f = &clientAuthority{name: strings.TrimSuffix(filepath.Base(path), authoritySuffix)}
			s.authorities[path] = f
		}
		err := panics.Catch(func() error { return f.read(path, list) })
		if f.unread = err; err != nil {
			panics.Log(s.logger, err, "file", path)
			if final {
				f.useSaved(s.sink)
			}
		}
		if !final && (err != nil || len(f.served.Reasons()) > 0) {
			unfinished[path] = list
		}
	}
	return unfinished
}

func (f *clientAuthority) read(path, list string) error {
	text := reading.AuthorityText{Source: source, Name: f.name}
	var err error
	if text.Certificates, _, err = files.ReadWhole(path, maxSize); err != nil {
		return explainDenied(path, err)
	}
	if bytes.Contains(text.Certificates, []byte("PRIVATE KEY-----")) {
		return errors.New("it has a private key, which is of no use here: leave it out")
	}
	if list != "" {
		switch text.Revoked, _, err = files.ReadWhole(list, certs.MaxRevocationText); {
		case errors.Is(err, fs.ErrNotExist):
			text.Revoked = nil
		case err != nil:
			return fmt.Errorf("%s: %w", filepath.Base(list), explainDenied(list, err))
		}
	}
	f.served.Update(text, time.Now())
	return nil
}

// useSaved takes in what an earlier run saved of an authority whose files are there and cannot be
// read, as a Relay that runs keeps what it has. The others need not wait for this one.
func (f *clientAuthority) useSaved(sink certs.AuthoritySink) {
	var failed *fs.PathError
	if f.served.Current() != nil || !errors.As(f.unread, &failed) || errors.Is(f.unread, fs.ErrNotExist) {
		return
	}
	saved := certs.Saved(sink, source)
	if i := slices.IndexFunc(saved, func(s *certs.Authority) bool { return s.Name == f.name }); i >= 0 {
		f.served.Update(reading.AuthorityText{Source: source, Name: f.name, Certificates: saved[i].Certificates, Revoked: saved[i].Revoked}, time.Now())
	}
}

// dropGoneAuthorities drops the authorities whose files two scans found gone, and reports whether some
// were found gone for the first time.
func (s *scanner) dropGoneAuthorities(listed authorityFiles, now time.Time) (again bool) {
	for path, f := range s.authorities {
		_, there := listed[path]
		switch {
		case there && !errors.Is(f.unread, fs.ErrNotExist):
			f.missingSince = time.Time{}
		case f.served.Current() == nil && !there:
			delete(s.authorities, path)
		case f.served.Current() == nil:
			// A configured file that does not exist stays a problem.
		case f.missingSince.IsZero():
			f.missingSince, again = now, true
		case now.Sub(f.missingSince) < removalDelay:
			again = true
		case there:
			*f = clientAuthority{name: f.name, unread: f.unread}
		default:
			delete(s.authorities, path)
		}
	}
	return again
}

// collectAuthorities adds the authorities to a result.
func (s *scanner) collectAuthorities(r *result, now time.Time) {
	paths := make(map[string]string) // by name
	for _, path := range slices.Sorted(maps.Keys(s.authorities)) {
		f := s.authorities[path]
		f.served.Advance(now)
		tell := func(reason string) {
			r.authorityProblems = append(r.authorityProblems, problem.Problem{Subject: path, Reason: reason})
		}
		if errors.Is(f.unread, files.ErrChanging) {
			r.again = true
		}
		for _, reason := range f.reasons() {
			tell(reason)
		}
		current := f.served.Current()
		if current == nil {
			continue
		}
		if other := paths[current.Name]; other != "" {
			tell(fmt.Sprintf("another file has the name %.100q: %s is used", current.Name, other))
			continue
		}
		paths[current.Name] = path
		r.authorities = append(r.authorities, current)
	}
}

// reasons are the problems of one authority.
func (f *clientAuthority) reasons() []string {
	stays := "; nobody is let in by it"
	if f.served.Current() != nil {
		stays = "; its last good content stays in use"
	}
	switch {
	case !f.missingSince.IsZero():
		return []string{"the file is gone; its authorities are dropped when the next scan agrees"}
	case f.unread != nil:
		return []string{f.unread.Error() + stays}
	}
	reasons := f.served.Reasons()
	if f.served.Current() == nil && len(reasons) > 0 {
		reasons[0] += " (a certificate to serve has its private key in the same file, or in one with .key added)"
	}
	return reasons
}
