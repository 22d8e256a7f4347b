package device

import (
	"encoding/binary"
	"encoding/hex"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"relay/internal/secret"
)

// values are what stands for the placeholders of a run: id, nonce, secret, callback.
type values map[string]string

// placeholder is what a text that is sent may have in braces.
var placeholder = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9]*\}`)

// fill returns a text with its placeholders replaced; each value goes through encode.
func (v values) fill(text string, encode func(string) string) string {
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		if value, known := v[name[1:len(name)-1]]; known {
			return encode(value)
		}
		return name
	})
}

func asItIs(value string) string { return value }

// forURL encodes a value so that it is the same text in a path and in a query.
func forURL(value string) string { return strings.ReplaceAll(url.QueryEscape(value), "+", "%20") }

// bytes returns a message to send. {xHH} is a byte; {length8}, {length16} and {length32} are the number of all bytes
// that follow, the highest byte first.
func (v values) bytes(text string) []byte {
	// From the end, so that what follows a length is known.
	var message []byte
	at := placeholder.FindAllStringIndex(text, -1)
	end := len(text)
	for n := len(at) - 1; n >= 0; n-- {
		message = append([]byte(text[at[n][1]:end]), message...)
		end = at[n][0]
		message = append(v.value(text[end:at[n][1]], len(message)), message...)
	}
	return append([]byte(text[:end]), message...)
}

// value is what stands for a placeholder that so many bytes follow.
func (v values) value(name string, follow int) []byte {
	switch name {
	case "{length8}":
		return []byte{byte(follow)}
	case "{length16}":
		return binary.BigEndian.AppendUint16(nil, uint16(follow))
	case "{length32}":
		return binary.BigEndian.AppendUint32(nil, uint32(follow))
	}
	if strings.HasPrefix(name, "{x") && len(name) == 5 {
		if b, err := hex.DecodeString(name[2:4]); err == nil {
			return b
		}
	}
	return []byte(v.fill(name, asItIs))
}

// mask takes all values out of a text.
func (v values) mask(text string) string {
	for _, name := range []string{"callback", "token", "secret", "nonce", "id"} {
		if value := v[name]; value != "" {
			text = strings.ReplaceAll(text, value, "{"+name+"}")
			text = strings.ReplaceAll(text, forURL(value), "{"+name+"}")
		}
	}
	return secret.Mask(text)
}

// word is what may be an id or a token, if it is long or has a digit.
var word = regexp.MustCompile(`[A-Za-z0-9_.:/+=@{}-]{4,}`)

// shown describes what came from the other side. Words that may be ids or tokens are left out.
func (v values) shown(came []byte) string {
	const most = 80
	text := v.mask(string(came[:min(len(came), 1024)]))
	text = word.ReplaceAllStringFunc(text, func(w string) string {
		plain := strings.Trim(w, "{}")
		if _, masked := v[plain]; masked || len(w) <= 24 && !strings.ContainsFunc(w, unicode.IsDigit) {
			return w
		}
		return "…"
	})
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return `"` + text + `"`
}
