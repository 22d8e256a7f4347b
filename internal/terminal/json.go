package terminal

import (
	"bytes"
	"io"
	"strconv"
	"unicode/utf8"
)

// CleanJSON returns the same JSON, with what could do something to a terminal escaped in its
// texts. Control characters are escaped in JSON anyway; this is for the others that Clean
// escapes. JSON has no such characters outside of texts.
func CleanJSON(text []byte) []byte {
	return escaped(text, func(r rune) string {
		high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
		return `\u` + strconv.FormatInt(int64(high), 16) + `\u` + strconv.FormatInt(int64(low), 16)
	})
}

// CleanYAML is CleanJSON for YAML whose texts that are not Harmless are in double quotes.
func CleanYAML(text []byte) []byte {
	return escaped(text, func(r rune) string { return `\U` + strconv.FormatInt(int64(r)|0x1_0000_0000, 16)[1:] })
}

// escaped escapes odd characters; long does it for those that have more than four digits.
func escaped(text []byte, long func(rune) string) []byte {
	if bytes.IndexFunc(text, odd) < 0 {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case !odd(r):
			b.WriteRune(r)
		case r > 0xffff:
			b.WriteString(long(r))
		default:
			b.WriteString(`\u` + strconv.FormatInt(int64(r)|0x10000, 16)[1:])
		}
	}
	return b.Bytes()
}

// odd tells what is escaped: all that is not shown, but for the white space of JSON.
func odd(r rune) bool {
	return r != '\n' && r != '\r' && r != '\t' && r != utf8.RuneError && !strconv.IsPrint(r)
}

// JSONWriter cleans JSON that is written in pieces, as CleanJSON does. What follows after a
// character that is not complete has to be written too, or is lost.
func JSONWriter(w io.Writer) io.Writer { return &jsonWriter{w: w} }

type jsonWriter struct {
	w io.Writer
	// begun is the beginning of a character.
	begun []byte
}

// Write implements io.Writer.
func (j *jsonWriter) Write(p []byte) (int, error) {
	text := append(j.begun, p...)
	end := len(text)
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		if c := text[len(text)-back]; utf8.RuneStart(c) {
			if !utf8.FullRune(text[len(text)-back:]) {
				end = len(text) - back
			}
			break
		}
	}
	j.begun = bytes.Clone(text[end:])
	if _, err := j.w.Write(CleanJSON(text[:end])); err != nil {
		return 0, err
	}
	return len(p), nil
}
