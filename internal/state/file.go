// Package state saves what a source said last, so that a restarted Relay can
// serve it while the source cannot be read.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A file is one line, then the body:
//
//	relay-state FORMAT CONTENT CIPHER TIME BYTES SHA-256
//
// CONTENT says what was saved, CIPHER is "none" or "aes-256-gcm", TIME is when
// (RFC 3339), BYTES the length of the body. The checksum is of the line up to
// it and the body; encryption authenticates the line up to BYTES too.
const (
	magic     = "relay-state"
	format    = 1
	none      = "none"
	aesGCM    = "aes-256-gcm"
	maxHeader = 512
	filePerm  = 0o600
)

// File is where one kind of state is saved.
type File struct {
	Path string
	// Content tells files apart, such as "apps-marathon"; it has no space.
	Content string
	// Key encrypts the file; nil leaves it readable.
	Key *Key
}

// Save replaces the file in one step: whoever reads it, or finds it after a
// crash, has the old or the new content. Only the owner may read it.
func (f File) Save(at time.Time, body []byte) error {
	if err := f.write(f.encode(at, body)); err != nil {
		return fmt.Errorf("cannot save the state: %w", err)
	}
	return nil
}

func (f File) encode(at time.Time, body []byte) []byte {
	cipher := none
	stamp := at.UTC().Format(time.RFC3339Nano)
	if f.Key != nil {
		cipher = aesGCM
		body = f.Key.aead.Seal(nil, nil, body, []byte(f.bound(format, cipher, stamp)))
	}
	head := f.bound(format, cipher, stamp) + " " + strconv.Itoa(len(body))
	return append([]byte(head+" "+checksum(head, body)+"\n"), body...)
}

// bound is what encryption ties the body to.
func (f File) bound(format int, cipher, stamp string) string {
	return fmt.Sprintf("%s %d %s %s %s", magic, format, f.Content, cipher, stamp)
}

func checksum(head string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(head))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

func (f File) write(data []byte) (err error) {
	dir := filepath.Dir(f.Path)
	temporary := filepath.Join(dir, "."+filepath.Base(f.Path)+".new")
	// One that a crash left behind may have another owner or mode.
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary)
		}
	}()
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, f.Path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the rename last through a power failure.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load returns what was saved last, and when. The error is fs.ErrNotExist when
// nothing was; any other says why the file is refused, as a whole.
func (f File) Load() (body []byte, at time.Time, err error) {
	data, err := os.ReadFile(f.Path)
	if err == nil {
		body, at, err = f.decode(data)
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("the saved state in %s is not used: %w", f.Path, err)
	}
	return body, at, nil
}

func (f File) decode(data []byte) ([]byte, time.Time, error) {
	var at time.Time
	line, _, ok := bytes.Cut(data[:min(len(data), maxHeader)], []byte("\n"))
	if !ok {
		return nil, at, errors.New("it is cut short or no saved state")
	}
	body := data[len(line)+1:]
	fields := strings.Split(string(line), " ")
	if len(fields) < 2 || fields[0] != magic {
		return nil, at, errors.New("it is no saved state")
	}
	// The format decides what the rest of the line means.
	if fields[1] != strconv.Itoa(format) {
		return nil, at, fmt.Errorf("it has format %.20q, this Relay reads %d: it was saved by another version", fields[1], format)
	}
	if len(fields) != 7 {
		return nil, at, errors.New("it is damaged: its first line is incomplete")
	}
	content, cipher, stamp, size, sum := fields[2], fields[3], fields[4], fields[5], fields[6]
	if size != strconv.Itoa(len(body)) {
		return nil, at, fmt.Errorf("it is cut short or damaged: %d bytes, want %.20s", len(body), size)
	}
	if sum != checksum(string(line[:len(line)-len(sum)-1]), body) {
		return nil, at, errors.New("it is damaged: the checksum differs")
	}
	if content != f.Content {
		return nil, at, fmt.Errorf("it holds %.40q, want %q", content, f.Content)
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return nil, at, errors.New("it is damaged: its time cannot be read")
	}
	body, err = f.open(cipher, stamp, body)
	return body, at, err
}

func (f File) open(cipher, stamp string, body []byte) ([]byte, error) {
	switch {
	case cipher == none && f.Key == nil:
		return body, nil
	case cipher == none:
		return nil, errors.New("it is not encrypted, and there is a key: whoever wrote it did not have that")
	case cipher != aesGCM:
		return nil, fmt.Errorf("its cipher %.20q is not known", cipher)
	case f.Key == nil:
		return nil, errors.New("it is encrypted, and there is no key: give --state-key-file")
	}
	plain, err := f.Key.aead.Open(nil, nil, body, []byte(f.bound(format, cipher, stamp)))
	if err != nil {
		return nil, errors.New("it was encrypted with another key, or changed by somebody without it")
	}
	return plain, nil
}
