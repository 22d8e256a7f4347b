package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// accountKey is where marathon-acme keeps its ACME account key, beside the
// certificates. It is never opened.
const accountKey = "client.key"

// The folders of marathon-acme's storage: its own certificates, and those that
// people put there.
const (
	certsFolder     = "certs"
	unmanagedFolder = "unmanaged-certs"
)

// candidate is one certificate to look for: a PEM file and, for a pair, the
// file of its key.
type candidate struct {
	path  string
	parts []string
	// beside tells that only an authority is read there.
	beside bool
}

// layout finds the candidates. It remembers what the paths were, so that a
// directory that lost its mount is not taken for one that was emptied.
type layout struct {
	paths  []string
	files  map[string]bool
	nested map[string]bool
	// pairs are the folders that are one certificate each.
	pairs map[string]bool
}

func newLayout(paths []string) *layout {
	return &layout{paths: paths, files: make(map[string]bool), nested: make(map[string]bool), pairs: make(map[string]bool)}
}

// listing is what the paths have: certificates to look for, and files that look like
// some but are not read.
type listing struct {
	candidates []candidate
	passedOver []passedOver
}

func (l *listing) add(other listing) {
	l.candidates = append(l.candidates, other.candidates...)
	l.passedOver = append(l.passedOver, other.passedOver...)
}

// list lists all paths. An error means that a directory could not be
// read, and that nothing may be concluded from what is missing.
func (l *layout) list() (listing, error) {
	var (
		all  listing
		errs []error
	)
	for _, path := range l.paths {
		found, err := l.expand(path)
		if err != nil {
			errs = append(errs, err)
		}
		all.add(found)
	}
	if err := errors.Join(errs...); err != nil {
		return listing{}, err
	}
	slices.SortFunc(all.candidates, func(a, b candidate) int { return strings.Compare(a.path, b.path) })
	all.candidates = slices.CompactFunc(all.candidates, func(a, b candidate) bool { return a.path == b.path })
	all.passedOver = withoutRead(all.passedOver, all.candidates)
	return all, nil
}

func (l *layout) expand(path string) (listing, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && l.isFile(path):
		// The scan finds it missing; only its directory has to be there.
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return listing{}, fmt.Errorf("read the directory of a certificate file: %w", err)
		}
	case err != nil:
		return listing{}, fmt.Errorf("read certificates: %w", explainDenied(path, err))
	case info.IsDir():
		return l.directory(path)
	}
	l.files[path] = true
	if filepath.Base(path) == accountKey {
		return listing{passedOver: []passedOver{{path, "marathon-acme's account key is never read"}}}, nil
	}
	if filepath.Base(path) == chainFile {
		if pair := l.pairOf(filepath.Dir(path)); pair != nil {
			return listing{candidates: []candidate{*pair}}, nil
		}
	}
	return listing{candidates: []candidate{{path: path, parts: append([]string{path}, existing(companions(path))...)}}}, nil
}

// isFile tells a missing file from a missing directory.
func (l *layout) isFile(path string) bool {
	return l.files[path] || slices.Contains([]string{".pem", ".crt", ".cer"}, filepath.Ext(path))
}

// directory lists a directory of PEM files, or marathon-acme's storage: the
// folders certs and unmanaged-certs, and default.pem beside them.
func (l *layout) directory(path string) (listing, error) {
	if pair := l.pairOf(path); pair != nil {
		found, err := l.listDirectory(path)
		found = found.withoutPair()
		found.candidates = append(found.candidates, *pair)
		return found, err
	}
	certsDir := filepath.Join(path, certsFolder)
	if info, err := os.Stat(certsDir); err == nil && info.IsDir() && l.pairOf(certsDir) == nil {
		l.nested[path] = true
	}
	if !l.nested[path] {
		return l.listDirectory(path)
	}
	found, err := l.listDirectory(certsDir)
	if err != nil {
		return listing{}, err
	}
	unmanaged, err := l.listDirectory(filepath.Join(path, unmanagedFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return listing{}, err
	}
	found.add(unmanaged)
	if main := filepath.Join(path, defaultFile); len(existing([]string{main})) == 1 {
		found.candidates = append(found.candidates, candidate{path: main, parts: []string{main}})
	}
	found.add(l.besideFolders(path))
	return found, nil
}

// listDirectory finds *.pem, with *.pem.key if there is one, and pairs of *.crt and
// *.key. Hidden files and other names are left alone: writers put their
// unfinished files there.
// A folder with fullchain.pem and privkey.pem is one certificate.
func (l *layout) listDirectory(dir string) (listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return listing{}, fmt.Errorf("list certificates: %w", explainDenied(dir, err))
	}
	present := make(map[string]bool, len(entries))
	for _, entry := range entries {
		present[filepath.Join(dir, entry.Name())] = true
	}
	found, entries := l.pairFolders(dir, entries)
	if above := aboveLive(dir); above != nil {
		found.passedOver = append(found.passedOver, above...)
		entries = slices.DeleteFunc(entries, func(entry fs.DirEntry) bool { return entry.IsDir() })
	}
	var rest []fs.DirEntry
	for _, entry := range entries {
		name := entry.Name()
		path := filepath.Join(dir, name)
		extension := filepath.Ext(name)
		if entry.IsDir() || strings.HasPrefix(name, ".") || extension != ".pem" && extension != ".crt" {
			rest = append(rest, entry)
			continue
		}
		parts := []string{path}
		for _, key := range companions(path) {
			if present[key] {
				parts = append(parts, key)
			}
		}
		if extension == ".pem" || len(parts) > 1 {
			found.candidates = append(found.candidates, candidate{path: path, parts: parts})
		} else {
			rest = append(rest, entry)
		}
	}
	found.passedOver = append(found.passedOver, passOver(dir, rest, present)...)
	return found, nil
}

// companions are the files that may hold the key of a certificate file.
func companions(path string) []string {
	key := path + ".key"
	if base, ok := strings.CutSuffix(path, ".crt"); ok {
		key = base + ".key"
	}
	if filepath.Base(key) == accountKey {
		return nil
	}
	return []string{key}
}

func existing(paths []string) []string {
	return slices.DeleteFunc(paths, func(path string) bool {
		_, err := os.Lstat(path)
		return errors.Is(err, fs.ErrNotExist)
	})
}

// watched are the directories in which a change may matter.
func (l *layout) watched() []string {
	var dirs []string
	for _, path := range l.paths {
		dirs = append(dirs, filepath.Dir(path))
		if !l.files[path] {
			for _, dir := range []string{path, filepath.Join(path, certsFolder), filepath.Join(path, unmanagedFolder)} {
				dirs = append(append(dirs, dir), foldersIn(dir)...)
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
