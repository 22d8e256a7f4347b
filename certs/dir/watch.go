package dir

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"relay/internal/panics"
)

// watcher tells that something changed in one of the directories; what it was
// the scan finds out. Where the system cannot watch, polling has to do.
type watcher struct {
	notify  *fsnotify.Watcher
	paths   []string
	changed chan struct{}
	done    chan struct{}
	// failed has why no more changes are found.
	failed chan error
	logger *slog.Logger
	warned bool
}

func newWatcher(paths []string, logger *slog.Logger) *watcher {
	w := &watcher{paths: paths, changed: make(chan struct{}, 1), done: make(chan struct{}), failed: make(chan error, 1), logger: logger}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		logger.Warn("changes of certificate files are found by polling only", "err", err)
		close(w.done)
		return w
	}
	w.notify = notify
	go w.run(w.matters)
	return w
}

// run forwards until the watcher is closed or fails.
func (w *watcher) run(matters func(path string) bool) {
	defer close(w.done)
	if err := panics.Catch(func() error { w.forward(matters); return nil }); err != nil {
		w.failed <- err
	}
}

// forward merges all events into one slot: a lost event costs nothing as long
// as one is left.
func (w *watcher) forward(matters func(path string) bool) {
	for {
		select {
		case event, ok := <-w.notify.Events:
			if !ok {
				return
			}
			if !matters(event.Name) {
				continue
			}
		case _, ok := <-w.notify.Errors:
			// An overflow: something changed, what it was does not matter.
			if !ok {
				return
			}
		}
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// matters sorts out what others write to the same directory, which may be as
// busy as /tmp.
func (w *watcher) matters(path string) bool {
	name := filepath.Base(path)
	switch filepath.Ext(name) {
	case ".pem", ".crt", ".key", ".cer":
		return true
	}
	// Kubernetes swaps all files of a volume by renaming the link ..data.
	return strings.HasPrefix(name, "..") || name == certsFolder || name == unmanagedFolder || slices.Contains(w.paths, path)
}

// add watches the directories that exist. Adding one again is cheap and finds
// one that was replaced by another of the same name.
func (w *watcher) add(dirs []string) {
	if w.notify == nil {
		return
	}
	for _, dir := range dirs {
		err := w.notify.Add(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) && !w.warned {
			w.warned = true
			w.logger.Warn("changes of certificate files are found by polling only", "dir", dir, "err", err)
		}
	}
}

// clear forgets the changes up to now: the scan that follows sees them.
func (w *watcher) clear() {
	select {
	case <-w.changed:
	default:
	}
}

func (w *watcher) events() <-chan struct{} { return w.changed }

func (w *watcher) close() {
	if w.notify != nil {
		_ = w.notify.Close()
	}
	<-w.done
}
