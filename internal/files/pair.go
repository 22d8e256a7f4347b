package files

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// PairCure adds to the error of tls.LoadX509KeyPair what to do, where the error shows it.
func PairCure(err error) error {
	text := err.Error()
	switch {
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%w: give a PEM file", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: let the user that Relay runs as read it", err)
	case strings.Contains(text, "may have been switched"):
		return fmt.Errorf("%w: give the certificate as the one, the key as the other", err)
	case strings.Contains(text, "does not match public key"), strings.Contains(text, "type does not match"):
		return fmt.Errorf("%w: give the key that belongs to the certificate; in a chain, its certificate comes first", err)
	case strings.Contains(text, "failed to find any PEM data"):
		return fmt.Errorf("%w: give PEM files, which begin with -----BEGIN", err)
	}
	return err
}
