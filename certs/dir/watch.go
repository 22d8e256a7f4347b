package dir

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// matters sorts out what others write to the same folders, which may be as busy as
// /tmp.
func (l *layout) matters(event fsnotify.Event) bool {
	name := filepath.Base(event.Name)
	switch filepath.Ext(name) {
	case ".pem", ".crt", ".key", ".cer":
		return true
	}
	// Kubernetes swaps all files of a volume by renaming the link ..data.
	return strings.HasPrefix(name, "..") || name == certsFolder || name == unmanagedFolder || slices.Contains(l.paths, event.Name)
}
