package api

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// Value is a number that may be unknown: NaN, which is null in JSON.
type Value float64

// Unknown is the Value of what is not known.
func Unknown() Value { return Value(math.NaN()) }

// Known reports whether the value is known.
func (v Value) Known() bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }

// MarshalJSON writes a number in as few digits as tell it, or null.
func (v Value) MarshalJSON() ([]byte, error) { return v.append(nil), nil }

func (v Value) append(b []byte) []byte {
	if !v.Known() {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, math.Round(float64(v)*1e6)/1e6, 'f', -1, 64)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Value) UnmarshalJSON(text []byte) error {
	if bytes.Equal(text, []byte("null")) {
		*v = Unknown()
		return nil
	}
	return json.Unmarshal(text, (*float64)(v))
}

// Values are numbers in a row, any of which may be unknown.
type Values []Value

// MarshalJSON writes the list; an empty one is [].
func (v Values) MarshalJSON() ([]byte, error) {
	text := make([]byte, 0, 2+8*len(v))
	text = append(text, '[')
	for i, one := range v {
		if i > 0 {
			text = append(text, ',')
		}
		text = one.append(text)
	}
	return append(text, ']'), nil
}
