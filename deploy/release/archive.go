package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// writeTar writes the files of a folder below another name. Their order, times and owners
// are always the same.
func writeTar(file, base, dir string, date time.Time) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	compressed, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, compressed.Close()) }()
	out := tar.NewWriter(compressed)
	defer func() { err = errors.Join(err, out.Close()) }()
	// In the order of names.
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		header := &tar.Header{Name: path.Join(base, name), Mode: 0o644, ModTime: date, Format: tar.FormatUSTAR}
		if d.IsDir() && header.Name == "." {
			return nil
		}
		if d.IsDir() {
			header.Typeflag, header.Name, header.Mode = tar.TypeDir, header.Name+"/", 0o755
			return out.WriteHeader(header)
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if name == "relay" {
			header.Mode = 0o755
		}
		header.Size = int64(len(text))
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		_, err = out.Write(text)
		return err
	})
}

// compress is gzip -9n: without name and time.
func compress(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

// writeSums writes SHA256SUMS of this version's files, for sha256sum --check.
func (s sources) writeSums(dir string) error {
	var names []string
	for _, pattern := range []string{"relay-" + s.version + "-*", "relay_" + s.debianVersion() + "_*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	var out bytes.Buffer
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(text), filepath.Base(name))
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), out.Bytes(), 0o644)
}
