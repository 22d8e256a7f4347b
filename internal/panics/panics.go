// Package panics makes errors of panics. It is for code whose panic would end the process, or cost
// more than the one thing that the code is about.
package panics

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Error is a panic. Its text has the value. The stack is for the log alone.
type Error struct {
	Value any
	Stack []byte
}

func (e *Error) Error() string {
	return fmt.Sprintf("a bug in Relay was hit (%v): please report it with the log", e.Value)
}

// Catch calls f and returns its error, or an *Error if it panics.
func Catch(f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &Error{Value: value, Stack: debug.Stack()}
		}
	}()
	return f()
}

// Is reports whether err is a panic.
func Is(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// Log logs err with its stack if it is a panic, and reports whether it is one.
func Log(log *slog.Logger, err error, attrs ...any) bool {
	bug, ok := errors.AsType[*Error](err)
	if ok {
		log.With(attrs...).Error("recovered from a panic", "event", "panic", "error", fmt.Sprint(bug.Value), "stack", string(bug.Stack))
	}
	return ok
}
