package sources

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"relay/internal/crypt"
	"relay/internal/secret"
)

// BasicAuth lets in some users with their passwords.
type BasicAuth struct {
	Realm string
	// User is the first user.
	User string
	// Hash is that of the user's password: one that the package crypt knows.
	Hash secret.String
	// More are further users.
	More []User `json:",omitempty"`
}

// User is somebody who is let in with a password.
type User struct {
	Name string
	// Hash is that of the password: one that the package crypt knows.
	Hash secret.String
}

// MaxUsers is how many users a port may have.
const MaxUsers = 100

// Users are all users, in order.
func (a *BasicAuth) Users() []User {
	return append([]User{{a.User, a.Hash}}, a.More...)
}

// EnvoyChecks reports whether Envoy itself can check all passwords: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/basic_auth_filter.
// Relay checks those of all others.
func (a *BasicAuth) EnvoyChecks() bool {
	for _, u := range a.Users() {
		if !strings.HasPrefix(string(u.Hash), "{SHA}") || !envoyUser.MatchString(u.Name) {
			return false
		}
	}
	return true
}

var (
	envoyUser  = regexp.MustCompile(`^[!"$-9;-~][!-9;-~]{0,254}$`)
	validRealm = regexp.MustCompile(`^[ !#-\[\]-~]{0,100}$`)
)

// DefaultRealm is that of a port which names none that can be used.
const DefaultRealm = "Restricted"

// NewBasicAuth returns what lets in some users. If that cannot be, reason says why, to follow the name of a setting, and has
// no hash in it: the port has to be closed then. A realm that browsers cannot be told is replaced by DefaultRealm.
func NewBasicAuth(realm string, users []User) (auth *BasicAuth, reason string) {
	switch {
	case len(users) == 0:
		return nil, "names no user"
	case len(users) > MaxUsers:
		return nil, fmt.Sprintf("has more than %d users", MaxUsers)
	}
	seen := make(map[string]bool, len(users))
	for _, u := range users {
		if !validUser(u.Name) {
			return nil, "has a user name that cannot be checked: use letters, digits and hyphens"
		}
		if seen[u.Name] {
			return nil, "names a user twice"
		}
		seen[u.Name] = true
		if _, err := crypt.Parse(string(u.Hash)); err != nil {
			return nil, err.Error()
		}
	}
	if realm == "" || !ValidRealm(realm) {
		realm = DefaultRealm
	}
	auth = &BasicAuth{Realm: realm, User: users[0].Name, Hash: users[0].Hash}
	if len(users) > 1 {
		auth.More = append(auth.More, users[1:]...)
	}
	return auth, ""
}

// ValidRealm reports whether browsers can be told a realm.
func ValidRealm(realm string) bool { return validRealm.MatchString(realm) }

// validUser reports whether a user can log in by that name: a colon ends it (https://www.rfc-editor.org/rfc/rfc7617).
func validUser(name string) bool {
	return name != "" && len(name) <= 255 && utf8.ValidString(name) && name[0] != '#' &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == ':' || r == ' ' || !unicode.IsPrint(r) })
}
