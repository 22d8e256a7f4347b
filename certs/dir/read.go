package dir

import (
	"bytes"

	"relay/internal/files"
)

// maxSize bounds a file: the longest real bundles have some ten kilobytes.
const maxSize = 1 << 20

// readBundle reads the files of one certificate. warning names a file with a
// private key that everyone on the machine can read.
func readBundle(paths []string) (bundle []byte, warning string, err error) {
	for _, path := range paths {
		content, mode, err := files.ReadWhole(path, maxSize)
		if err != nil {
			return nil, "", explainDenied(path, err)
		}
		if exposed := files.Exposed(path, mode); exposed != "" && bytes.Contains(content, []byte("PRIVATE KEY-----")) {
			warning = "the private key in " + exposed
		}
		bundle = append(append(bundle, content...), '\n')
	}
	return bundle, warning, nil
}
