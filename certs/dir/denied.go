package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// errNotFolder is the error of a path that leads through a file.
var errNotFolder = syscall.ENOTDIR

// reasonOf is an error without the path that is named anyway.
func reasonOf(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}

// explainDenied adds to an error what Relay may not read, and what to do: of a link, as
// certbot makes them, it is often a directory that the link does not show.
func explainDenied(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	what, right := blocker(path)
	return fmt.Errorf("%w: give the user that Relay runs as (uid %d) the right to %s %s", err, os.Geteuid(), right, what)
}

// blocker finds what on the way to a file may not be entered; or it is the file.
func blocker(path string) (what, right string) {
	const maxLinks = 40
	for range maxLinks {
		directory := filepath.Dir(path)
		if blocked := blockedDirectory(directory); blocked != "" {
			return "the directory " + blocked, "enter"
		}
		target, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(directory, target)
		}
		path = target
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return "the directory " + path, "list"
	}
	return path, "read"
}

// blockedDirectory is the first directory on the way into one that may not be entered.
func blockedDirectory(path string) string {
	steps := strings.Split(path, string(filepath.Separator))
	for i := range steps {
		directory := strings.Join(steps[:i+1], string(filepath.Separator))
		if directory == "" {
			directory = string(filepath.Separator)
		}
		if _, err := os.Lstat(filepath.Join(directory, "none")); errors.Is(err, fs.ErrPermission) {
			return directory
		}
	}
	return ""
}
