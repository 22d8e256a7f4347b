// Package secret has types for tokens, passwords and keys that no log, page or
// error can show: every way of printing or encoding them gives Redacted. Their
// value is had by a conversion alone, such as string(s), which is easy to find.
//
// Two places need more: the package fmt calls no method of a field that is not
// exported, so that a struct with such a field has to hide itself, and
// encoding/json none of a string that is the key of a map.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands for a secret, also for an empty one.
const Redacted = "REDACTED"

// String is a secret text.
type String string

// Bytes is a secret of bytes.
type Bytes []byte

// Format hides the secret from all verbs of the package fmt, also from those that
// are wrong, such as %d, for which a method String does not help.
func (String) Format(f fmt.State, _ rune) { redact(f) }

// String hides the secret.
func (String) String() string { return Redacted }

// GoString hides the secret.
func (String) GoString() string { return Redacted }

// LogValue hides the secret from the package slog.
func (String) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText hides the secret from encoders.
func (String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON hides the secret.
func (String) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// Format hides the secret from all verbs of the package fmt.
func (Bytes) Format(f fmt.State, _ rune) { redact(f) }

// String hides the secret.
func (Bytes) String() string { return Redacted }

// GoString hides the secret.
func (Bytes) GoString() string { return Redacted }

// LogValue hides the secret from the package slog.
func (Bytes) LogValue() slog.Value { return slog.StringValue(Redacted) }

// MarshalText hides the secret from encoders.
func (Bytes) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON hides the secret.
func (Bytes) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

func redact(w io.Writer) { _, _ = io.WriteString(w, Redacted) }
