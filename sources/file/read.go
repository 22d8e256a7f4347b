package file

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"relay/internal/files"
	"relay/sources"
)

// maxFileSize bounds what is read into memory, in bytes.
const maxFileSize = 16 << 20

// Load reads the file or folder at path once. The error joins everything that
// is wrong in it, the Problems of the apps included, each with file and line;
// the apps that can be served are returned beside it.
func Load(path string) ([]*sources.App, error) {
	r := newReader(path)
	err := r.read(true)
	apps := r.merge()
	errs := []error{err}
	for _, app := range apps {
		for _, p := range app.Problems {
			errs = append(errs, fmt.Errorf("%s (app %s, %s)", p.Reason, app.ID, p.Subject))
		}
	}
	return apps, errors.Join(errs...)
}

// reader holds the last good content of each file.
type reader struct {
	path  string
	files map[string]*content
}

type content struct {
	sum  [sha256.Size]byte
	defs []definition
	// gone is set when one read did not find the file.
	gone bool
}

func newReader(path string) *reader {
	return &reader{path: path, files: map[string]*content{}}
}

// errGone asks for a second look: an editor that replaces a file may take the
// old one away before it puts the new one there.
var errGone = errors.New("is no longer there; its apps are kept until a second look agrees")

// read brings files up to date. A file that cannot be read or parsed keeps its
// last good content and is part of the error. A file that is gone is dropped
// by the second read that does not find it, or at once when sure is set.
func (r *reader) read(sure bool) error {
	names, err := list(r.path)
	if err != nil {
		return err
	}
	var errs []error
	present := make(map[string]bool, len(names))
	for _, name := range names {
		present[name] = true
		if err := r.readFile(name); err != nil {
			errs = append(errs, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		f := r.files[name]
		switch {
		case present[name]:
			f.gone = false
		case f.gone || sure:
			delete(r.files, name)
		default:
			f.gone = true
			errs = append(errs, fmt.Errorf("%s: %w", name, errGone))
		}
	}
	return errors.Join(errs...)
}

// readFile keeps the content of one file if it is new and good.
func (r *reader) readFile(name string) error {
	data, err := readWhole(name)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	if old := r.files[name]; old != nil && old.sum == sum {
		return nil
	}
	defs, err := parse(name, data)
	if err != nil {
		return err
	}
	r.files[name] = &content{sum: sum, defs: defs}
	return nil
}

// list returns the files at path, sorted. A folder without any is an error: it
// is more likely a volume that is not mounted than the wish to serve nothing.
func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("apps: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("apps: %w", err)
	}
	var names []string
	for _, e := range entries {
		if isAppsFile(e.Name()) && !e.IsDir() {
			names = append(names, filepath.Join(path, e.Name()))
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("apps: no *.yaml or *.yml file in %s: write one with \"apps: []\" if there are no apps", path)
	}
	return names, nil
}

func isAppsFile(base string) bool {
	ext := filepath.Ext(base)
	return !strings.HasPrefix(base, ".") && (ext == ".yaml" || ext == ".yml")
}

// readWhole reads a regular file that nobody writes to meanwhile.
func readWhole(name string) ([]byte, error) {
	data, _, err := files.ReadWhole(name, maxFileSize)
	switch {
	case errors.Is(err, files.ErrIrregular):
		return nil, &Error{File: name, Reason: "is not a regular file"}
	case errors.Is(err, files.ErrTooLarge):
		return nil, &Error{File: name, Reason: fmt.Sprintf("is larger than %d MiB: split it into several files", maxFileSize>>20)}
	case errors.Is(err, files.ErrChanging):
		return nil, &Error{File: name, Reason: "changed while it was read"}
	case err != nil:
		return nil, fmt.Errorf("apps: %w", err)
	}
	return data, nil
}

// merge returns the apps of all files. Of an id that several files define, the
// first file name wins and the app says so.
func (r *reader) merge() []*sources.App {
	var apps []*sources.App
	index := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		for _, d := range r.files[name].defs {
			i, dup := index[d.app.ID]
			if !dup {
				index[d.app.ID] = len(apps)
				apps = append(apps, d.app)
				continue
			}
			if len(apps[i].Problems) < sources.MaxProblems {
				winner := *apps[i]
				winner.Problems = append(slices.Clip(winner.Problems), duplicate(d.file, d.line))
				apps[i] = &winner
			}
		}
	}
	return apps
}
