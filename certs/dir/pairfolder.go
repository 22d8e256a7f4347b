package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files of a certificate in a folder of its own, as certbot and dehydrated
// keep it. The chain is in chainFile; the others repeat parts of it.
const (
	chainFile   = "fullchain.pem"
	chainsKey   = "privkey.pem"
	leafFile    = "cert.pem"
	issuersFile = "chain.pem"

	// The folders of certbot's own directory.
	liveFolder    = "live"
	archiveFolder = "archive"
	renewalFolder = "renewal"

	// maxPairFolders bounds how many folders of a directory are looked into for a
	// certificate, and are watched.
	maxPairFolders = 5000
)

// pairIn finds the certificate in a folder of its own. Without both files there is
// none, and lack says what is missing; an error means that nobody knows.
func (l *layout) pairIn(folder string) (found *candidate, lack string, err error) {
	parts := []string{filepath.Join(folder, chainFile), filepath.Join(folder, chainsKey)}
	var there [2]bool
	for i, part := range parts {
		switch _, err := os.Lstat(part); {
		case err == nil:
			there[i] = true
		case l.pairs[folder] && !errors.Is(err, fs.ErrNotExist):
			there[i] = true // its read says why it fails
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotFolder):
			return nil, "", err
		}
	}
	switch {
	case there[0] && there[1]:
		l.pairs[folder] = true
		return &candidate{path: folder, parts: parts}, "", nil
	case there[0]:
		return nil, fmt.Sprintf("its %s has no %s beside it", chainFile, chainsKey), nil
	case there[1]:
		return nil, fmt.Sprintf("its %s has no %s beside it", chainsKey, chainFile), nil
	}
	delete(l.pairs, folder)
	return nil, "", nil
}

// pairOf is the certificate in a folder of its own, or nil.
func (l *layout) pairOf(folder string) *candidate {
	pair, _, err := l.pairIn(folder)
	if err != nil {
		return nil // the read of the folder says why
	}
	return pair
}

// pairFolders finds the certificates in folders of their own. The entries left are
// the others.
func (l *layout) pairFolders(dir string, entries []fs.DirEntry) (found listing, left []fs.DirEntry) {
	var unreadable []passedOver
	looked := 0
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasPrefix(entry.Name(), ".") || !isFolder(path, entry) {
			left = append(left, entry)
			continue
		}
		if looked++; looked > maxPairFolders {
			found.passedOver = append(found.passedOver, passedOver{path, fmt.Sprintf("only %d directories are looked into", maxPairFolders)})
			continue
		}
		switch pair, lack, err := l.pairIn(path); {
		case err != nil:
			unreadable = append(unreadable, passedOver{path, reasonOf(err)})
		case pair != nil:
			found.candidates = append(found.candidates, *pair)
		case lack != "":
			found.passedOver = append(found.passedOver, passedOver{path, lack})
		default:
			left = append(left, entry)
		}
	}
	// Elsewhere it is somebody else's, such as lost+found.
	if len(found.candidates) > 0 || filepath.Base(dir) == liveFolder {
		found.passedOver = append(found.passedOver, unreadable...)
	}
	return found, left
}

// ofPair reports whether a file is part of the certificate that a folder is of
// itself, or repeats a part of it.
func ofPair(path string) bool {
	return slices.Contains([]string{chainFile, chainsKey, leafFile, issuersFile}, filepath.Base(path))
}

// withoutPair leaves out the files of the certificate that the folder is of itself.
func (l listing) withoutPair() (kept listing) {
	for _, c := range l.candidates {
		if !ofPair(c.path) {
			kept.candidates = append(kept.candidates, c)
		}
	}
	for _, p := range l.passedOver {
		if !ofPair(p.path) {
			kept.passedOver = append(kept.passedOver, p)
		}
	}
	return kept
}

// aboveLive says what to write in place of certbot's own directory; empty for
// another one.
func aboveLive(dir string) []passedOver {
	for _, folder := range []string{liveFolder, archiveFolder, renewalFolder} {
		if info, err := os.Stat(filepath.Join(dir, folder)); err != nil || !info.IsDir() {
			return nil
		}
	}
	live := filepath.Join(dir, liveFolder)
	return []passedOver{{live, "certbot's certificates are one level below: write " + live + " in place of " + dir}}
}

// foldersIn are the folders of a directory in which a certificate may be or come.
func foldersIn(dir string) (folders []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // the scan says why
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if len(folders) < maxPairFolders && !strings.HasPrefix(entry.Name(), ".") && isFolder(path, entry) {
			folders = append(folders, path)
		}
	}
	return folders
}
