package web

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Dir is a folder with the files of the page, for a web server. Each file is replaced in one step: whoever reads it, or
// finds it after a crash, has the old or the new one. Files of others are left alone.
type Dir struct {
	path string

	trouble atomic.Pointer[string] // nil for none

	mu sync.Mutex // held while files are written
	// written are the files as they were written last, claimed tells that the folder is known to be the page's.
	written map[string]*File
	claimed bool
}

const (
	// claim is the file that says that the folder is for a status page. Without it a folder that has an index.html
	// belongs to somebody else.
	claim     = ".status-page"
	claimText = "A status page writes this folder: index.html, status.json, feed.atom, feed.rss and incidents/.\n"
	// newSuffix ends the names of files that are being written; they begin with a dot.
	newSuffix = ".new"
	folder    = "incidents"
)

// NewDir returns a Dir. It is neither made nor looked at before the first Write.
func NewDir(path string) *Dir { return &Dir{path: path} }

// Trouble says why the last Write failed; empty if it did not.
func (d *Dir) Trouble() string {
	if text := d.trouble.Load(); text != nil {
		return *text
	}
	return ""
}

// HasPage reports whether there is a page in the folder, such as that of a run before.
func (d *Dir) HasPage() bool {
	_, err := os.Stat(filepath.Join(d.path, "index.html"))
	return err == nil
}

// Write makes the folder have this content: it writes what differs, the first page last, and then removes incidents that
// are gone. What was done before it failed stays, and the next Write goes on.
func (d *Dir) Write(content Content) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.write(content)
	text := ""
	if err != nil {
		text = err.Error()
		d.written, d.claimed = nil, false // look at all of it again
	}
	d.trouble.Store(&text)
	return err
}

func (d *Dir) write(content Content) error {
	root, err := os.OpenRoot(d.path)
	if info, bad := os.Stat(d.path); bad == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file: give a folder", d.path)
	}
	if err != nil {
		return cure(err)
	}
	defer func() { _ = root.Close() }()
	if !d.claimed {
		if err := claimDir(root, content); err != nil {
			return cure(err)
		}
		d.claimed = true
	}
	err = root.Mkdir(folder, 0o755)
	if err == nil {
		err = root.Chmod(folder, 0o755) // whatever the umask is
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return cure(err)
	}
	for _, name := range inOrder(content) {
		if d.written[name] == content[name] && exists(root, name) {
			continue
		}
		if same(root, name, content[name].Body) {
			continue
		}
		if err := replace(root, name, content[name].Body); err != nil {
			return cure(err)
		}
	}
	d.written = maps.Clone(content)
	return cure(removeGone(root, content))
}

// inOrder returns the names of files so that links lead to what is there already: the first page is the last.
func inOrder(content Content) []string {
	names := slices.Sorted(maps.Keys(content))
	first := func(name string) bool { return name == "index.html" }
	if i := slices.IndexFunc(names, first); i >= 0 {
		names = append(slices.Delete(names, i, i+1), "index.html")
	}
	return names
}

// claimDir makes sure that the folder is the page's: it has the claim, or none of the files that the page would write.
func claimDir(root *os.Root, content Content) error {
	if exists(root, claim) {
		return nil
	}
	for name := range content {
		if exists(root, name) {
			return fmt.Errorf("the folder has files of something else, such as %s: give the status page a folder of its own", name)
		}
	}
	return replace(root, claim, []byte(claimText))
}

func exists(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil
}

// same reports whether a file has this body already.
func same(root *os.Root, name string, body []byte) bool {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(body)) {
		return false
	}
	f, err := root.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	have, err := io.ReadAll(io.LimitReader(f, int64(len(body))+1))
	return err == nil && bytes.Equal(have, body)
}

// replace writes a file beside the old one, and puts it in its place when it is whole and on the disk.
func replace(root *os.Root, name string, body []byte) (err error) {
	temporary := path.Join(path.Dir(name), "."+path.Base(name)+newSuffix)
	// One that a crash left behind may have another owner or mode.
	if err := root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temporary)
		}
	}()
	_, err = f.Write(body)
	if err == nil {
		err = f.Chmod(0o644) // the web server reads it, whatever the umask is
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := root.Rename(temporary, name); err != nil {
		return err
	}
	return syncDir(root, path.Dir(name))
}

// syncDir makes a rename last through a power failure.
func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// removeGone removes the pages of incidents that are not shown any more, and what a crash left of them. Files that do not
// begin as such a page does are of somebody else.
func removeGone(root *os.Root, content Content) error {
	dir, err := root.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		id, isPage := strings.CutSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "."), newSuffix), ".html")
		full := path.Join(folder, name)
		if _, stays := content[full]; stays || !isPage || !fileName.MatchString(id) || !entry.Type().IsRegular() {
			continue
		}
		left := strings.HasPrefix(name, ".") && strings.HasSuffix(name, newSuffix)
		if left || begins(root, full, incidentMark) {
			if err := root.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func begins(root *os.Root, name, mark string) bool {
	f, err := root.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	have := make([]byte, len(mark))
	_, err = io.ReadFull(f, have)
	return err == nil && string(have) == mark
}

// cure adds to an error what to do.
func cure(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make the folder, or mount what it is on", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: let the user that the program runs as write there", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: make room", err)
	}
	return err
}
