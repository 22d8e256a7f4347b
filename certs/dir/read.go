package dir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// maxSize bounds a file: the longest real bundles have some ten kilobytes.
const maxSize = 1 << 20

// errChanging means that a file was written to while it was read.
var errChanging = errors.New("the file was being written while it was read")

// readBundle reads the files of one certificate. warning names a file with a
// private key that everyone on the machine can read.
func readBundle(paths []string) (bundle []byte, warning string, err error) {
	for _, path := range paths {
		content, mode, err := readFile(path)
		if err != nil {
			return nil, "", err
		}
		if mode.Perm()&0o004 != 0 && bytes.Contains(content, []byte("PRIVATE KEY-----")) {
			warning = fmt.Sprintf("the private key in %s can be read by everyone on the machine (mode %04o): chmod 0640", path, mode.Perm())
		}
		bundle = append(append(bundle, content...), '\n')
	}
	return bundle, warning, nil
}

func readFile(path string) ([]byte, os.FileMode, error) {
	// Opening a named pipe would block without O_NONBLOCK.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = file.Close() }()
	before, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !before.Mode().IsRegular() {
		return nil, 0, errors.New("not a regular file")
	}
	if before.Size() > maxSize {
		return nil, 0, fmt.Errorf("the file has %d bytes; certificates have at most %d", before.Size(), maxSize)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, 0, err
	}
	after, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if int64(len(content)) != before.Size() || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return nil, 0, errChanging
	}
	return content, before.Mode(), nil
}
