// Package credentials says what a credential is that an app names, such as the secret of a client of a provider
// of identities: a store (Vault, a folder) has it, and the app's labels have its name alone.
package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"relay/internal/problem"
	"relay/internal/secret"
)

const (
	// MaxValue bounds a credential, in bytes.
	MaxValue = 64 << 10
	// MaxCount bounds how many a store may have.
	MaxCount = 1000
	// MaxDepth bounds the folders above a credential.
	MaxDepth = 16
	// maxName bounds the name by which an app means a credential, and maxSegment a folder above one, in bytes.
	maxName, maxSegment = 64, 255
)

// Credential is one value that nobody is to see. It is never modified once handed to a Sink.
type Credential struct {
	// Source is "vault" or "dir".
	Source string
	// Path is where the store has it: folders and a name, such as "shop/web/oidc". One that ends with a slash is a folder
	// of which nobody knows what is in it.
	Path string
	// Value is empty if the store has something there that cannot be used, such as an empty file. What is farther away
	// is not taken in its place.
	Value secret.Bytes
}

// Equal reports whether both are the same, of the same store.
func (c *Credential) Equal(other *Credential) bool {
	return c == other || c != nil && other != nil && c.Source == other.Source && c.Path == other.Path && bytes.Equal(c.Value, other.Value)
}

// Sink takes what a store reads. SyncCredentials is called after each complete, successful read, with all
// credentials of that store and all that is wrong with others, whose subject is their path. A failed read does
// not call it. The first call tells that the store has synced. It returns as soon as the change is noted.
type Sink interface {
	SyncCredentials(source string, all []*Credential, problems []problem.Problem)
}

// CheckName says why a name cannot be that of a credential; nil if it can. No name leads to another folder.
func CheckName(name string) error {
	switch {
	case name == "" || len(name) > maxName:
		return fmt.Errorf("the name of a credential has 1 to %d characters", maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !isNameRune(r) }):
		return fmt.Errorf("%.80q is no name of a credential: it may have a-z, 0-9, dots, dashes and underscores", name)
	case strings.HasPrefix(name, "."):
		return fmt.Errorf("%q is no name of a credential: it begins with a dot", name)
	}
	return nil
}

func isNameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}

// CheckFolder says why a folder of a store cannot be the name of one of an app's groups; nil if it can.
func CheckFolder(name string) error {
	switch {
	case name == "" || len(name) > maxSegment || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("its name is empty, or longer than %d bytes", maxSegment)
	case strings.HasPrefix(name, "."):
		return errors.New("its name begins with a dot")
	}
	return nil
}

// Paths returns where a credential may be that an app means by a name, the nearest first: in the folder that
// has the id of the app, then in those above it. So an app names none of another tenant: only those of its own
// folders, and of the root, which are for all. There are none for an id that leads to another folder, or a
// name that is none.
func Paths(app, name string) []string {
	if CheckName(name) != nil {
		return nil
	}
	var paths []string
	if folder := strings.TrimPrefix(app, "/"); folder != "" {
		for segment := range strings.SplitSeq(folder, "/") {
			if CheckFolder(segment) != nil {
				return nil
			}
		}
		for ; folder != ""; folder = parent(folder) {
			paths = append(paths, folder+"/"+name)
		}
	}
	return append(paths, name)
}

func parent(folder string) string { return folder[:max(0, strings.LastIndexByte(folder, '/'))] }

// Set has credentials by their path.
type Set map[string]*Credential

// Find returns the credential that an app means by a name: the nearest one; nil if there is none, or the nearest
// cannot be used.
func (s Set) Find(app, name string) *Credential {
	for _, path := range Paths(app, name) {
		if found := s[path]; found != nil {
			if len(found.Value) == 0 {
				return nil
			}
			return found
		}
		if s[path[:len(path)-len(name)]] != nil {
			return nil
		}
	}
	return nil
}
