package files

import (
	"errors"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"relay/internal/panics"
)

// Watcher tells that something changed in one of its folders; what it was, a read
// finds out. Where the system cannot watch, as on network volumes or when there are
// too many watches, it tells nothing: whoever uses it polls as well.
type Watcher struct {
	notify  *fsnotify.Watcher // nil if the system has none
	matters func(fsnotify.Event) bool
	changed chan struct{}
	failed  chan error
	done    chan struct{}
	logger  *slog.Logger
	warned  bool
}

// NewWatcher returns a Watcher of no folder. It goes by events for which matters,
// which runs on a goroutine of its own.
func NewWatcher(matters func(fsnotify.Event) bool, logger *slog.Logger) *Watcher {
	w := &Watcher{
		matters: matters, changed: make(chan struct{}, 1), failed: make(chan error, 1),
		done: make(chan struct{}), logger: logger,
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		logger.Warn("changes of files are found by polling only", "event", "files_polled", "error", err)
		close(w.done)
		return w
	}
	w.notify = notify
	go w.run()
	return w
}

// run merges events until the Watcher is closed or fails.
func (w *Watcher) run() {
	defer close(w.done)
	if err := panics.Catch(func() error { w.merge(); return nil }); err != nil {
		w.failed <- err
	}
}

// merge puts all events into one slot: a lost event costs nothing as long as one
// is left.
func (w *Watcher) merge() {
	for {
		select {
		case event, ok := <-w.notify.Events:
			if !ok {
				return
			}
			if !w.matters(event) {
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

// Add watches the folders that exist. Adding one again is cheap, and finds one
// that was replaced by another of the same name.
func (w *Watcher) Add(folders ...string) {
	if w.notify == nil {
		return
	}
	for _, folder := range folders {
		err := w.notify.Add(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) && !w.warned {
			w.warned = true
			w.logger.Warn("changes of files are found by polling only", "event", "files_polled", "folder", folder, "error", err)
		}
	}
}

// Changed gets a value after changes.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Clear forgets the changes up to now: a read that follows sees them.
func (w *Watcher) Clear() {
	select {
	case <-w.changed:
	default:
	}
}

// Failed gets why no more changes are found: a panic.
func (w *Watcher) Failed() <-chan error { return w.failed }

// Close ends the Watcher.
func (w *Watcher) Close() {
	if w.notify != nil {
		_ = w.notify.Close()
	}
	<-w.done
}
