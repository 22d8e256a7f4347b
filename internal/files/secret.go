package files

import (
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"relay/internal/secret"
)

// MaxSecret bounds the files of secrets, in bytes: keys and accounts have some
// kilobytes.
const MaxSecret = 1 << 20

// Secret reads a file that holds a token or a password, on one line; white space
// around it does not belong to it. No error has a part of the content.
func Secret(path string) (secret.String, error) {
	content, err := Read(path, MaxSecret)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(content))
	switch {
	case text == "":
		return "", fmt.Errorf("%s is empty", path)
	case strings.ContainsFunc(text, unicode.IsControl):
		return "", fmt.Errorf("%s holds more than one line", path)
	}
	return secret.String(text), nil
}

// Exposed says that everyone on the machine can read a file that holds a secret,
// and what to do; it is empty if not.
func Exposed(path string, mode fs.FileMode) string {
	if mode.Perm()&0o004 == 0 {
		return ""
	}
	return fmt.Sprintf("%s can be read by everyone on the machine (mode %04o): chmod 0640", path, mode.Perm())
}
