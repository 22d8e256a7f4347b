package statuspage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// What is in the file. A record is JSON, under the name of the service or the id of the incident.
const (
	storeName     = "statuspage.db"
	storeFormat   = "relay-statuspage 1"
	damagedSuffix = ".damaged"
	storeMode     = 0o600
	// maxStore bounds the file, in bytes: what is kept needs a few of these MB.
	maxStore = 64 << 20
	// storeWait is how long another process may hold the file before it is said.
	storeWait = 200 * time.Millisecond
)

var (
	aboutBucket, servicesBucket, incidentsBucket = []byte("about"), []byte("services"), []byte("incidents")
	formatKey                                    = []byte("format")
)

// errDamaged is of a file that cannot be used, and never will.
var errDamaged = errors.New("the file is damaged, or is none of the status page")

// store is the file. The Monitor has all of it in memory: it is read once.
type store struct {
	path string
	db   *bbolt.DB
	file *os.File
}

// saved is what the file has.
type saved struct {
	services  map[string]record
	incidents map[string]incident
	// unsound says which entries were left out, and why.
	unsound []string
}

// openStore opens the file, makes one if there is none, and reads all of it. Any damage is found here: then the error is
// errDamaged.
func openStore(dir string) (*store, saved, error) {
	s := &store{path: filepath.Join(dir, storeName)}
	found := saved{services: make(map[string]record), incidents: make(map[string]incident)}
	empty := false
	err := s.guarded(func() error {
		var err error
		s.db, err = bbolt.Open(s.path, storeMode, &bbolt.Options{
			Timeout: storeWait, FreelistType: bbolt.FreelistMapType, MaxSize: maxStore, NoStatistics: true,
			OpenFile: func(name string, flag int, mode fs.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				s.file = f
				return f, err
			},
		})
		if err != nil {
			return err
		}
		err = s.db.View(func(tx *bbolt.Tx) error {
			first, _ := tx.Cursor().First()
			empty = first == nil
			return nil
		})
		if err == nil && empty {
			err = s.db.Update(begin)
		}
		if err != nil {
			return err
		}
		return s.db.View(found.read)
	})
	if err == nil {
		return s, found, nil
	}
	s.drop()
	if !empty { // or else the disk is full, most likely, and nothing is lost
		err = cause(err)
	}
	return nil, saved{}, fmt.Errorf("%s: %w", s.path, err)
}

// cause tells a file that can be used later, or by another user, from one that never will.
func cause(err error) error {
	_, system := errors.AsType[syscall.Errno](err)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return errors.New("another process uses it: each needs a --state-dir of its own")
	case system, errors.Is(err, errDamaged):
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// guarded makes errors of what a damaged file does: bbolt panics, and to read a file that was cut short is a fault, as the file is
// mapped.
func (s *store) guarded(use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errDamaged, p)
		}
	}()
	return use()
}

// begin makes the buckets of a new file.
func begin(tx *bbolt.Tx) error {
	for _, name := range [][]byte{servicesBucket, incidentsBucket, aboutBucket} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(aboutBucket).Put(formatKey, []byte(storeFormat))
}

// read reads all of the file.
func (f *saved) read(tx *bbolt.Tx) error {
	about, services, incidents := tx.Bucket(aboutBucket), tx.Bucket(servicesBucket), tx.Bucket(incidentsBucket)
	if about == nil || services == nil || incidents == nil {
		return fmt.Errorf("%w: a part of it is missing", errDamaged)
	}
	if got := about.Get(formatKey); string(got) != storeFormat {
		return fmt.Errorf("%w: its format is %.40q, and this Relay reads %q", errDamaged, got, storeFormat)
	}
	return errors.Join(readAll(services, f.services, f), readAll(incidents, f.incidents, f))
}

// entry is what the file has many of.
type entry interface {
	// sound says what is wrong with one that was read, under its key.
	sound(key string) error
}

// readAll reads a bucket. An entry that is not sound costs only itself.
func readAll[T entry](bucket *bbolt.Bucket, into map[string]T, f *saved) error {
	return bucket.ForEach(func(key, value []byte) error {
		var v T
		err := json.Unmarshal(value, &v)
		if err == nil {
			err = v.sound(string(key))
		}
		if err != nil {
			f.unsound = append(f.unsound, fmt.Sprintf("%.60q: %v", key, err))
			return nil
		}
		into[string(key)] = v
		return nil
	})
}

// changes are entries as JSON by their keys; those that are nil are removed.
type changes struct{ services, incidents map[string][]byte }

// write makes all changes in one step: a crash leaves all of them or none.
func (s *store) write(c changes) error {
	err := s.guarded(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			return errors.Join(writeAll(tx.Bucket(servicesBucket), c.services), writeAll(tx.Bucket(incidentsBucket), c.incidents))
		})
	})
	if errors.Is(err, bolterrors.ErrMaxSizeReached) { // what is kept is never as much: what the file says of its size is wrong
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if errors.Is(err, errDamaged) {
		s.drop()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	return nil
}

func writeAll(bucket *bbolt.Bucket, entries map[string][]byte) error {
	for key, value := range entries {
		err := error(nil)
		if value == nil {
			err = bucket.Delete([]byte(key))
		} else {
			err = bucket.Put([]byte(key), value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close ends the use of the file.
func (s *store) close() error { return s.guarded(s.db.Close) }

// drop gives up a file that panicked: its locks in this process may be held for good, so that only what holds the file for
// others is let go.
func (s *store) drop() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// setAside gives a damaged file another name, so that people can look at it and a new one can begin. There is at most one.
func setAside(dir string) (string, error) {
	path := filepath.Join(dir, storeName)
	return path + damagedSuffix, os.Rename(path, path+damagedSuffix)
}
