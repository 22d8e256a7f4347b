package marathon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// message is one message of an event stream: the "event" field, which may be
// empty, and the lines of "data".
type message struct {
	name string
	data []byte
}

var errEventTooLong = errors.New("event is longer than the limit")

// eventReader splits an event stream into messages by the rules of the HTML
// standard ("Server-sent events", parsing an event stream): a line ends with
// CR, LF or CRLF, a blank line ends a message, and what the end of the stream
// cuts off is dropped. A CR ends its line at once, and the LF that may follow
// in a later packet is swallowed then.
//
// A line is read once, however many packets it comes in, so a message of many
// megabytes costs time in proportion to its size.
type eventReader struct {
	r       *bufio.Reader
	limit   int // bytes of one message
	skipLF  bool
	line    []byte
	size    int
	started bool
}

func newEventReader(r io.Reader, limit int) *eventReader {
	return &eventReader{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// next returns the next message that has data. The error is io.EOF when the
// stream has ended, whether or not a message was cut off, for a stream that
// is not chunked cannot tell.
func (e *eventReader) next() (message, error) {
	var m message
	hasData := false
	e.size = 0
	for {
		line, err := e.readLine()
		if err != nil {
			return message{}, err
		}
		if !e.started {
			e.started = true
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // a byte order mark is not part of the first line
		}
		if len(line) == 0 {
			if hasData {
				return m, nil
			}
			m, e.size = message{}, 0
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			m.name = string(value)
		case "data":
			if hasData {
				m.data = append(m.data, '\n')
			}
			m.data = append(m.data, value...)
			hasData = true
		}
	}
}

// readLine returns the next line without its end; it is valid until the next call.
func (e *eventReader) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		if e.r.Buffered() == 0 {
			if _, err := e.r.Peek(1); err != nil {
				return nil, err
			}
		}
		chunk, _ := e.r.Peek(e.r.Buffered())
		if e.skipLF {
			e.skipLF = false
			if chunk[0] == '\n' {
				_, _ = e.r.Discard(1)
				continue
			}
		}
		end := bytes.IndexAny(chunk, "\r\n")
		part := chunk
		if end >= 0 {
			part = chunk[:end]
		}
		if e.size += len(part); e.size > e.limit {
			return nil, fmt.Errorf("%w of %d bytes", errEventTooLong, e.limit)
		}
		e.line = append(e.line, part...)
		if end < 0 {
			_, _ = e.r.Discard(len(chunk))
			continue
		}
		e.skipLF = chunk[end] == '\r'
		_, _ = e.r.Discard(end + 1)
		return e.line, nil
	}
}
