package dir

import (
	"os"
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
	// A folder may become one certificate.
	if event.Has(fsnotify.Create) && slices.Contains(l.paths, filepath.Dir(event.Name)) {
		if info, err := os.Stat(event.Name); err == nil && info.IsDir() {
			return true
		}
	}
	// Kubernetes swaps all files of a volume by renaming the link ..data.
	return strings.HasPrefix(name, "..") || name == certsFolder || name == unmanagedFolder || slices.Contains(l.paths, event.Name)
}
