// Package terminal writes for people: tables that fit, colours where they are wanted, and
// texts of strangers so that they can do nothing to the terminal.
package terminal

import (
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Clean returns a text that a terminal shows as it is: control characters, such as those that
// begin an escape sequence, characters that turn the direction of what follows, and those that
// nobody sees are written as in Go, such as \x1b and \u202e. So is what is no UTF-8.
func Clean(s string) string {
	if Harmless(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|0x100, 16)[1:])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += size
	}
	return b.String()
}

// Harmless tells whether Clean leaves a text as it is.
func Harmless(s string) bool {
	for i, r := range s {
		if r == utf8.RuneError && strings.HasPrefix(s[i:], "\uFFFD") {
			continue
		}
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return false
		}
	}
	return true
}

// CleanAll cleans all texts in what a pointer points to, such as a decoded answer: in exported
// fields, lists and maps. Bytes stay as they are.
func CleanAll(pointer any) { cleanValue(reflect.ValueOf(pointer).Elem()) }

func cleanValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(Clean(v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			cleanValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				cleanValue(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			cleanValue(v.Index(i))
		}
	case reflect.Map:
		cleanMap(v)
	case reflect.Interface:
		if !v.IsNil() && v.CanSet() {
			v.Set(cleaned(v.Elem()))
		}
	}
}

// cleanMap cleans keys, too.
func cleanMap(v reflect.Value) {
	for _, key := range v.MapKeys() {
		value := v.MapIndex(key)
		v.SetMapIndex(key, reflect.Value{})
		v.SetMapIndex(cleaned(key), cleaned(value))
	}
}

// cleaned returns a copy that is clean.
func cleaned(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	cleanValue(c)
	return c
}
