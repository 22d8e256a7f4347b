// Package crypt checks passwords against hashes as crypt(3), htpasswd and Envoy know them.
package crypt

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	sha "github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"
	"golang.org/x/crypto/bcrypt"
)

// MaxPassword is how long a password may be, in bytes: a longer one fits no hash. What a check of SHA-crypt
// takes grows with it.
const MaxPassword = 256

// MaxCost is what one check may take, of the longest password: who sets a hash must not burn the CPU of others.
const MaxCost = time.Second

// Hash is what a password is checked against.
type Hash struct {
	cost time.Duration // of a short password
	// grows is set if a long password costs more.
	grows   bool
	matches func(password []byte) bool
}

// Cost is about how long a check of a password takes on a core of a server, or a little more. It is the same on every machine.
func (h Hash) Cost(password string) time.Duration {
	if h.grows {
		return h.cost * time.Duration(64+min(len(password), MaxPassword)) / 64
	}
	return h.cost
}

// Matches reports whether a password is the one of the hash. It takes about Cost.
func (h Hash) Matches(password string) bool {
	return h.matches != nil && usable(password) && h.matches([]byte(password))
}

// bcryptBytes is how many bytes of a password count to bcrypt.
const bcryptBytes = 72

// Canonical is the part of a password that counts to a hash. Passwords with the same are the same to it.
func Canonical(hash, password string) string {
	switch {
	case strings.HasPrefix(hash, "$2"):
		return password[:min(len(password), bcryptBytes)]
	case desHash.MatchString(hash):
		return canonicalDES(password)
	}
	return password
}

// longest is as long as a password may be.
var longest = strings.Repeat("x", MaxPassword)

// usable reports whether a text may be a password. To crypt(3) a password ends with the first NUL, and
// https://www.rfc-editor.org/rfc/rfc7617 allows no control characters.
func usable(password string) bool {
	return len(password) <= MaxPassword && !strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// kinds are the kinds of hashes, by how they begin.
var kinds = []struct {
	prefix string
	parse  func(hash string) (Hash, error)
}{
	{"{SHA}", parseSHA1},
	{"$5$", parseSHA256}, {"$6$", parseSHA512},
	{"$2a$", parseBcrypt}, {"$2b$", parseBcrypt}, {"$2y$", parseBcrypt},
	{"$1$", parseMD5}, {"$apr1$", parseMD5},
	{"$y$", parseYescrypt},
}

// Parse understands a hash. Its error never has the hash in it, as that is a secret.
func Parse(hash string) (Hash, error) {
	for _, kind := range kinds {
		if strings.HasPrefix(hash, kind.prefix) {
			h, err := kind.parse(hash)
			if err == nil && h.Cost(longest) > MaxCost {
				return Hash{}, errors.New("has a password hash that takes too long to check: 1000000 rounds of $5$ and $6$ are allowed, and a cost of 14 of $2y$")
			}
			return h, err
		}
	}
	switch {
	case desHash.MatchString(hash):
		return parseDES(hash)
	case strings.HasPrefix(hash, "$"), strings.HasPrefix(hash, "{"):
		return Hash{}, errors.New("has a password hash of an unknown kind: make one that begins with $6$, $5$, $2y$, $y$ or {SHA}, such as with mkpasswd -m sha-512")
	}
	return Hash{}, errors.New("has no password hash, and a password itself must not stand there: make a hash of it, such as with mkpasswd -m sha-512")
}

// errMalformed is of hashes that no password fits, in crypt(3) neither.
var errMalformed = errors.New("has a password hash that is malformed: no password fits it")

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func parseSHA1(hash string) (Hash, error) {
	want, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(hash, "{SHA}"))
	if err != nil || len(want) != sha1.Size {
		return Hash{}, errMalformed
	}
	return Hash{cost: time.Microsecond, matches: func(password []byte) bool {
		sum := sha1.Sum(password)
		return subtle.ConstantTimeCompare(sum[:], want) == 1
	}}, nil
}

// The form of SHA-crypt: https://www.akkadia.org/drepper/SHA-crypt.txt. A hash that crypt(3) would write in
// another way, as it cuts the salt or changes the rounds, fits no password there.
var shaHash = regexp.MustCompile(`^\$[56]\$(?:rounds=([1-9][0-9]{3,8})\$)?([^$:\x00-\x20\x7f]{0,16})\$([./0-9A-Za-z]+)$`)

const defaultRounds = 5000

func parseSHA256(hash string) (Hash, error) {
	return parseSHACrypt(hash, 43, 200*time.Nanosecond, func(password, salt []byte, rounds int) string {
		return string(sha.KeySHACrypt(sha256.New, password, salt, rounds))
	})
}

func parseSHA512(hash string) (Hash, error) {
	return parseSHACrypt(hash, 86, 200*time.Nanosecond, func(password, salt []byte, rounds int) string {
		return string(sha.KeySHACrypt(sha512.New, password, salt, rounds))
	})
}

func parseSHACrypt(hash string, size int, round time.Duration, key func(password, salt []byte, rounds int) string) (Hash, error) {
	m := shaHash.FindStringSubmatch(hash)
	if m == nil || len(m[3]) != size {
		return Hash{}, errMalformed
	}
	rounds := defaultRounds
	if m[1] != "" {
		rounds, _ = strconv.Atoi(m[1])
	}
	salt, want := m[2], m[3]
	return Hash{cost: time.Duration(rounds) * round, grows: true, matches: func(password []byte) bool {
		return same(key(password, []byte(salt), rounds), want)
	}}, nil
}

var bcryptHash = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./0-9A-Za-z]{53}$`)

func parseBcrypt(hash string) (Hash, error) {
	m := bcryptHash.FindStringSubmatch(hash)
	if m == nil {
		return Hash{}, errMalformed
	}
	cost, _ := strconv.Atoi(m[1])
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return Hash{}, errMalformed
	}
	return Hash{cost: 50 * time.Microsecond << cost, matches: func(password []byte) bool {
		return bcrypt.CompareHashAndPassword([]byte(hash), password[:min(len(password), bcryptBytes)]) == nil
	}}, nil
}

var yescryptHash = regexp.MustCompile(`^\$y\$j([./0-9A-Za-z])([./0-9A-Za-z])\$[./0-9A-Za-z]{1,86}\$[./0-9A-Za-z]{43}$`)

// maxYescrypt is how many bytes of memory one check may take.
const maxYescrypt = 32 << 20

func parseYescrypt(hash string) (Hash, error) {
	m := yescryptHash.FindStringSubmatch(hash)
	if m == nil {
		return Hash{}, errors.New("has a password hash of yescrypt with parameters other than those that mkpasswd sets")
	}
	n, r := strings.Index(alphabet, m[1])+1, strings.Index(alphabet, m[2])+1
	if n < 10 || n > 18 || r > 32 || 128*r<<n > maxYescrypt {
		return Hash{}, errors.New("has a password hash of yescrypt that takes too much memory to check, or too little: use the parameters that mkpasswd sets")
	}
	return Hash{cost: time.Duration(r<<n) * 250 * time.Nanosecond, matches: func(password []byte) bool {
		got, err := yescrypt.Hash(password, []byte(hash))
		return err == nil && same(string(got), hash)
	}}, nil
}
