package sources

import "errors"

// loggedError is an error that the log has already.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }

// Logged marks an error of a Source's Serve as one that the Source has logged, so that
// whoever starts it again does not log it once more.
func Logged(err error) error { return loggedError{err} }

// IsLogged reports whether Logged marked the error, or one in it.
func IsLogged(err error) bool {
	_, is := errors.AsType[loggedError](err)
	return is
}
