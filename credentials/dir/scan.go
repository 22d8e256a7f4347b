package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"relay/credentials"
	"relay/internal/files"
	"relay/internal/problem"
)

const (
	// removalDelay is how long a file has to be gone before its credential is dropped: programs that write files
	// may remove them first.
	removalDelay = time.Second
	// settleTime is how long nobody may have written to a file: before, it may have half of what is meant. Who writes to it
	// all the time is waited for so often, and no more.
	settleTime, settleTries = 200 * time.Millisecond, 5
	// maxEntries bounds what is looked at.
	maxEntries = 20 * credentials.MaxCount
)

// scanner knows the files of a folder. It belongs to Serve's goroutine.
type scanner struct {
	folder string
	known  map[string]*file // by path
	// folders are those that were found, to be watched.
	folders []string
	// settle waits while somebody writes to a file.
	settle func(context.Context) error
	now    func() time.Time
}

func newScanner(folder string) *scanner {
	return &scanner{folder: folder, known: make(map[string]*file), now: time.Now, settle: func(ctx context.Context) error {
		select {
		case <-time.After(settleTime):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
}

// file is what is known of one.
type file struct {
	credential *credentials.Credential // its last good content; nil if there was none
	// problem is why the file cannot be used, and exposed who else can read it.
	problem, exposed string
	missingSince     time.Time
	written          time.Time // as the file system tells
}

// found is what a scan found, by path.
type found struct {
	files map[string]*file
	// unread are the folders that cannot be read, and why.
	unread   map[string]string
	problems []problem.Problem
	folders  []string
	entries  int
}

// scan reads all files. An error means that it is not known what there is. again is set if a later scan has to
// confirm this one.
func (s *scanner) scan(ctx context.Context) (all []*credentials.Credential, problems []problem.Problem, again bool, err error) {
	f, err := s.find(ctx)
	for try := 1; err == nil && try < settleTries && s.unsettled(f); try++ {
		if err = s.settle(ctx); err == nil {
			f, err = s.find(ctx)
		}
	}
	if err != nil {
		return nil, nil, false, err
	}
	s.folders = f.folders
	again = s.update(f, s.now())
	problems = f.problems
	for _, folder := range slices.Sorted(maps.Keys(f.unread)) {
		all = append(all, &credentials.Credential{Source: source, Path: folder + "/"})
		problems = append(problems, problem.Problem{Subject: folder, Reason: "the folder cannot be read: " + f.unread[folder]})
	}
	for _, path := range slices.Sorted(maps.Keys(s.known)) {
		k := s.known[path]
		switch {
		case k.credential == nil:
			all = append(all, &credentials.Credential{Source: source, Path: path})
		default:
			all = append(all, k.credential)
		}
		tell := func(reason string) { problems = append(problems, problem.Problem{Subject: path, Reason: reason}) }
		switch {
		case !k.missingSince.IsZero():
			tell("the file is gone; its credential is dropped when the next scan agrees")
		case k.problem != "" && k.credential != nil:
			tell(k.problem + "; its last good content stays in use")
		case k.problem != "":
			tell(k.problem)
		}
		if k.exposed != "" {
			problems = append(problems, problem.Problem{Subject: path, Reason: k.exposed, Severity: problem.Advice, Action: "let only Relay's user read it"})
		}
	}
	return all, problems, again, nil
}

// find reads what there is.
func (s *scanner) find(ctx context.Context) (*found, error) {
	root, err := os.OpenRoot(s.folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	f := &found{files: make(map[string]*file), unread: make(map[string]string)}
	return f, f.walk(ctx, root, s.folder, "", 0)
}

// unsettled reports whether a file has just been written to, and has something else than what is known.
func (s *scanner) unsettled(f *found) bool {
	now := s.now()
	for path, is := range f.files {
		was := s.known[path]
		if now.Sub(is.written).Abs() < settleTime && (was == nil || is.credential == nil || !is.credential.Equal(was.credential)) {
			return true
		}
	}
	return false
}

// update takes in what was found. What a file was last stays while the file cannot be used.
func (s *scanner) update(f *found, now time.Time) (again bool) {
	for path, k := range s.known {
		if f.files[path] != nil {
			continue
		}
		switch {
		case f.hidden(path):
		case k.credential == nil:
			delete(s.known, path)
		case k.missingSince.IsZero():
			k.missingSince, k.problem, k.exposed, again = now, "", "", true
		case now.Sub(k.missingSince) < removalDelay:
			again = true
		default:
			delete(s.known, path)
		}
	}
	for path, is := range f.files {
		if was := s.known[path]; was != nil && (is.credential == nil || is.credential.Equal(was.credential)) {
			is.credential = was.credential // the same as before, so that all else sees that nothing changed
		}
		s.known[path] = is
	}
	return again
}

// hidden reports whether a file is below a folder that cannot be read.
func (f *found) hidden(path string) bool {
	for folder := range f.unread {
		if strings.HasPrefix(path, folder+"/") {
			return true
		}
	}
	return false
}

// walk finds the files below a folder, which is root. No link leads out of the folder in which the link is: who may
// write to the folder of one app does not get at those of others.
func (f *found) walk(ctx context.Context, root *os.Root, at, path string, depth int) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.folders = append(f.folders, at)
	entries, err := readDir(root)
	if err != nil && depth > 0 {
		f.unread[path] = explain(err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if f.entries += len(entries); f.entries > maxEntries {
		return fmt.Errorf("%s has more than %d entries: is it the folder of credentials?", at, maxEntries)
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") {
			continue // such as ..data of a volume of Kubernetes
		}
		if err := f.visit(ctx, root, at, filepath.ToSlash(filepath.Join(path, name)), name, depth); err != nil {
			return err
		}
	}
	return nil
}

func (f *found) visit(ctx context.Context, root *os.Root, at, path, name string, depth int) error {
	pass := func(reason string) { f.problems = append(f.problems, problem.Problem{Subject: path, Reason: reason}) }
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // it went meanwhile, or a link leads to nothing
	case err != nil:
		// Nobody knows what it is: what is farther away is not taken in its place.
		f.files[path], f.unread[path] = &file{problem: explain(err)}, explain(err)
	case info.IsDir() && (depth >= credentials.MaxDepth || credentials.CheckFolder(name) != nil):
		pass("the folder is passed over: it is too deep, or no app has an id with such a name")
	case info.IsDir():
		below, err := root.OpenRoot(name)
		if err != nil {
			f.unread[path] = explain(err)
			return nil
		}
		defer func() { _ = below.Close() }()
		return f.walk(ctx, below, filepath.Join(at, name), path, depth+1)
	case credentials.CheckName(name) != nil:
		pass("the file is passed over: " + credentials.CheckName(name).Error())
	case len(f.files) >= credentials.MaxCount:
		return fmt.Errorf("%s has more than %d credentials", at, credentials.MaxCount)
	default:
		f.files[path] = read(root, name, path)
	}
	return nil
}

func readDir(root *os.Root) ([]fs.DirEntry, error) {
	folder, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	entries, err := folder.ReadDir(maxEntries + 1)
	if errors.Is(err, io.EOF) {
		err = nil // it is empty
	}
	return entries, err
}

// read reads one file.
func read(root *os.Root, name, path string) *file {
	opened, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &file{problem: explain(err)}
	}
	defer func() { _ = opened.Close() }()
	content, mode, err := files.ReadOpen(opened, credentials.MaxValue)
	var written time.Time
	if info, err := opened.Stat(); err == nil {
		written = info.ModTime()
	}
	if err != nil {
		return &file{problem: explain(err), written: written}
	}
	value := bytes.TrimSuffix(bytes.TrimSuffix(content, []byte("\n")), []byte("\r"))
	if len(value) == 0 {
		return &file{problem: "the file is empty", written: written}
	}
	return &file{
		written:    written,
		credential: &credentials.Credential{Source: source, Path: path, Value: value},
		exposed:    files.Exposed("the file", mode),
	}
}

// explain says why a file cannot be read.
func explain(err error) string {
	var failed *fs.PathError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "Relay's user may not read it"
	case errors.As(err, &failed) && strings.Contains(failed.Err.Error(), "escapes"):
		return "the link leads out of its folder"
	case errors.As(err, &failed):
		return failed.Err.Error()
	}
	return err.Error()
}
