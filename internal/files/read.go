// Package files reads the files that people, tools and volumes give to Relay, and
// tells when they change.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

var (
	// ErrIrregular is the error of what is no regular file, such as a folder or a
	// named pipe.
	ErrIrregular = errors.New("not a regular file")
	// ErrChanging is the error of a file that was written to while it was read.
	ErrChanging = errors.New("the file was being written while it was read")
	// ErrTooLarge is within the error of a file above the limit.
	ErrTooLarge = errors.New("the file is too large")
)

// Read reads what is at a path: at most limit bytes, or it is an error.
func Read(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return read(file, limit)
}

// ReadWhole reads a regular file, and makes sure that nobody wrote to it
// meanwhile. Its mode is returned too.
func ReadWhole(path string, limit int64) ([]byte, fs.FileMode, error) {
	// Opening a named pipe would block without O_NONBLOCK.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = file.Close() }()
	return ReadOpen(file, limit)
}

// ReadOpen is ReadWhole of a file that is open, without blocking. The caller closes it.
func ReadOpen(file *os.File, limit int64) ([]byte, fs.FileMode, error) {
	before, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !before.Mode().IsRegular() {
		return nil, 0, ErrIrregular
	}
	if before.Size() > limit {
		return nil, 0, fmt.Errorf("%w: it has %d bytes, and may have %d", ErrTooLarge, before.Size(), limit)
	}
	content, err := read(file, limit)
	if err != nil {
		return nil, 0, err
	}
	after, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if int64(len(content)) != after.Size() || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return nil, 0, ErrChanging
	}
	return content, before.Mode(), nil
}

func read(file *os.File, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s: %w: it has more than %d bytes", file.Name(), ErrTooLarge, limit)
	}
	return content, nil
}
